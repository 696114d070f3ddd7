"""What the pages quote of a drift: SmolLM2 after its KV cache became 8-bit.

    python -m benchmarks.drift_example FOLDER

Records goldens and references of its suite on this machine, changes one setting, and writes what
each command prints to a new file in FOLDER. SmolLM2 must be in the model cache: `repro-gate models
fetch smollm2-135m`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.workplace import local_environment
from repro_gate.adapters.files.results import read_report
from repro_gate.core.comments import CiRun, CommentState, Marker, RunId
from repro_gate.reports.github.comment import render_comment

ROOT: Final = Path(__file__).resolve().parents[1]
SUITE: Final = "release-smollm2"
CELL: Final = "smollm2-135m--once-upon-a-time--seed42"
COMMANDS: Final = {
    "check": ("check", "--suite", SUITE),
    "explain": ("explain", CELL),
    "attribute": ("explain", CELL, "--attribute"),
    "update": ("update-snapshots", "--suite", SUITE, "--only", CELL),
}
"""What is printed after the change, by its name; all but the first need the report of the first."""
_MATRIX: Final = "repro-gate.toml"
_TABLE: Final = "[engines.small.settings]"
_RUN: Final = CiRun(
    id=RunId(17204881234, 1),
    repository="octo-org/serving",
    head_sha="8f3c2a91d04be7756a1c0f29e8d3b4a5c6d7e8f9",
    head_owner="octo-org",
    head_branch="faster-kernels",
    server_url="https://github.com",
)


def main() -> None:
    """Write the files."""
    kept = Path(sys.argv[1])
    kept.mkdir()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / _MATRIX, folder)
        for command in ("update-snapshots", "record-reference"):
            printed(folder, command, "--suite", SUITE, "--yes")
        change(folder)
        for command, arguments in COMMANDS.items():
            (kept / f"{command}.txt").write_text(printed(folder, *arguments), "utf-8")
        (kept / "comment.txt").write_text(comment(folder), "utf-8")


def change(folder: Path) -> None:
    """Give the engine of SmolLM2 a KV cache of 8 bits."""
    file = folder / _MATRIX
    head, table, rest = file.read_text("utf-8").partition(_TABLE)
    changed = rest.replace('kv_type = "f16"', 'kv_type = "q8_0"', 1)
    file.write_text(f"{head}{table}{changed}", "utf-8")


def printed(folder: Path, *arguments: str) -> str:
    """Return what a command prints on stdout."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "repro_gate", *arguments],
        cwd=folder,
        env=local_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    ).stdout


def comment(folder: Path) -> str:
    """Return the comment on the last check of a folder."""
    result = read_report(folder / ".repro-gate")
    marker = Marker(name="repro-gate", run=_RUN.id, state=CommentState.FAILED)
    return render_comment(result, marker=marker, run=_RUN, artifact_url=None)


if __name__ == "__main__":
    main()
