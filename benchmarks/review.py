"""A session of `repro-gate review` at a pseudo-terminal, recorded.

    python -m benchmarks.review [--model FILE]

Records goldens of SmolLM2-135M, changes the type of its KV cache and the definition of one prompt,
checks, and reviews the changes: every screen with the key that is pressed there. Prints
docs/examples/review/report.md.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.causes import smollm2
from benchmarks.workplace import local_environment
from repro_gate.reports.text.markdown import document, fence
from tests.fakes.keyboards import Keyboard

_GATE: Final = (sys.executable, "-P", "-m", "repro_gate")
_COLUMNS: Final = 80
_LINES: Final = 44
SESSIONS: Final = ("?xmnrAq", "aA")
"""The keys of each session; the second one resumes the first."""
_MATRIX: Final = """\
schema = "repro-gate/matrix/v1"
default_suites = ["english"]

[engines.cpu]
kind = "llama_cpp"
settings = {{ n_ctx = 256, n_batch = 256, threads = 1, flash_attention = true, kv_type = "{kv}" }}

[models.smollm2]
engine = "cpu"
source = "model.gguf"

[variants.no-flash-attention]
settings = {{ flash_attention = false }}

[sampler]
top_k = 40
top_p = 0.95
min_p = 0.05

[prompts]
moon = {{ text = "The moon is", temperature = 0.7, max_tokens = 24 }}
bread = {{ text = "To bake bread, you need", temperature = 0.7, max_tokens = 24 }}
rain = {{ text = "When it rains in London,", temperature = 0.7, max_tokens = 24 }}
river = {{ text = "The longest river of Africa is", temperature = 0.7, max_tokens = {limit} }}

[suites.english]
runs = 2
seeds = [1, 2, 3]
prompts = {{ smollm2 = ["moon", "bread", "rain", "river"] }}
"""
_BEFORE: Final = {"kv": "f16", "limit": "24"}
_AFTER: Final = {"kv": "q4_0", "limit": "20"}
_PAGE: Final = """\
Goldens of SmolLM2-135M were recorded on a CPU. Then the KV cache became `q4_0` instead of `f16`,
and the prompt `river` got 20 tokens instead of 24. After `repro-gate check`, the changes were
reviewed at a terminal of 80 columns and 44 lines.

`python -m benchmarks.review` records this page."""


def main() -> None:
    """Record the sessions and print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path)
    model = parser.parse_args().model or smollm2()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.gguf").symlink_to(model.resolve())
        _run(folder, _BEFORE, ("update-snapshots", "--yes"), ("record-reference", "--yes"))
        _run(folder, _AFTER, ("check", "--quiet", "--fail-on", "never"))
        blocks = [
            block for keys in SESSIONS for block in session(folder, keys, local_environment())
        ]
    print(document([["# A recorded review"], [_PAGE], *blocks]), end="")


def _run(folder: Path, values: Mapping[str, str], *commands: Sequence[str]) -> None:
    (folder / "repro-gate.toml").write_text(_MATRIX.format(**values), encoding="utf-8")
    for command in commands:
        subprocess.run(
            [*_GATE, *command],
            cwd=folder,
            env=local_environment(),
            stdout=subprocess.DEVNULL,
            check=True,
        )


def session(folder: Path, keys: str, env: Mapping[str, str]) -> Iterator[Sequence[str]]:
    """Yield each screen of a session, and the key that is pressed there."""
    yield ["```sh", "repro-gate review", "```"]
    with Keyboard(
        [*_GATE, "review"],
        folder=folder,
        env={**env, "TERM": "dumb"},
        columns=_COLUMNS,
        lines=_LINES,
    ) as keyboard:
        for key in keys:
            yield _shown(keyboard.wait_for("[q]uit"))
            yield [f"Key: `{key}`"]
            keyboard.press(key)
        code = keyboard.end()
    yield _shown(keyboard.screens[-1])
    yield [f"Exit code: {code}"]


def _shown(screen: str) -> Sequence[str]:
    return fence(screen.strip("\n").split("\n"), "text")


if __name__ == "__main__":
    main()
