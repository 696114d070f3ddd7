"""What the answers of real servers depend on: the table of modes for several of their settings.

    python -m benchmarks.served_modes [--vllm FOLDER]

Runs checks of a tiny model at llama-server, and prints docs/examples/servers/report.md. With
the folder of a program `vllm`, as `make served` has it, a small model at vLLM too; this takes
minutes. Returns 1 if what must hold does not.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.contract.served.workspaces import (
    ServedWorkspace,
    llama_server,
    matrix_of,
    vllm,
    write_programs,
)
from tests.fakes.hf_folder import write_folder

_MODES: Final = {
    "alone": "bits",
    "concurrent-8": "any",
    "mixed-6": "any",
    "after-prefix": "any",
    "repeat": "any",
    "restart": "bits",
}
_LLAMA_SERVER: Final = (
    ("-np", "1"),
    ("-np", "4"),
    ("-np", "4", "-kvu"),
    ("-np", "8"),
    ("-np", "8", "-kvu"),
    ("-np", "8", "-fa", "off", "-ctk", "f32", "-ctv", "f32"),
)
_VLLM: Final = (("--dtype", "float32"), ("--dtype", "bfloat16"))
_PAGE: Final = """# What the answers of servers depend on

The table that a check prints, for servers on a CPU with one thread and models with random weights:
3 prompts with 2 seeds at temperature 0.7. `python -m benchmarks.served_modes --vllm FOLDER` prints
this page. Where `result` is `-`, nothing was required, and answers differ or the mode was not
proven.
"""


def main() -> int:
    """Print the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vllm", type=Path)
    given = parser.parse_args()
    print(_PAGE)
    codes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        write_programs(Path(folder))
        for options in _LLAMA_SERVER:
            matrix = matrix_of(llama_server(*options), _MODES, max_tokens=160)
            codes.append(_print(f"llama-server {' '.join(options)}", matrix, Path(folder)))
    for options in _VLLM if given.vllm else ():
        matrix = matrix_of(vllm(*options), _MODES, source="small-qwen2")
        codes.append(_print(f"vllm serve {' '.join(options)}", matrix, given.vllm))
    return int(any(codes))


def _print(title: str, matrix: str, programs: Path) -> int:
    """Record, check, print the table, and return the exit code of the check."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = ServedWorkspace(folder=folder, cache=folder / ".cache", programs=programs)
        write_folder(folder / "small-qwen2")
        (folder / "repro-gate.toml").write_text(matrix, "utf-8")
        workspace.run_slowly("update-snapshots", "--yes")
        ran = workspace.run_slowly("check")
    lines = ran.out.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("modes ")]
    table = lines[starts[0] + 1 :][: len(_MODES) + 1] if starts else lines
    print(f"## `{title}`\n\n```text", *(line.strip() for line in table), "```\n", sep="\n")
    return ran.code


if __name__ == "__main__":
    sys.exit(main())
