"""What `explain` costs, over checking the cell that it explains, as ratios measured in one run.

    python -m benchmarks.explain [--rounds N]

A cell of the embedded suite drifts from a golden that has another token. Prints the wall time of
each command without that of a process that does nothing, over that of `check --only` of the cell:
* explain: from the report folder;
* pack: the same, which also writes a pack;
* from: from the pack.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.workplace import local_environment
from repro_gate.adapters.files.snapshots import golden_text, parse_golden

_ROOT: Final = Path(__file__).resolve().parents[1]
_MATRIX: Final = "repro-gate.toml"
_CELL: Final = "tiny-phi3--bread-recipe--seed42"
_PACK: Final = "cell.zip"
_CHECK: Final = ("check", "--quiet", "--only", _CELL, "--fail-on", "never", "--suite", "embedded")
_EXPLAIN: Final = {
    "explain": ("explain", _CELL),
    "pack": ("explain", _CELL, "--pack", _PACK),
    "from": ("explain", "--from", _PACK),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _drift(folder)
        for number in range(rounds + 1):
            for command, seconds in _measure(folder).items():
                # The first round compiles modules.
                found[command] += [seconds] if number else []
    start, check = (statistics.median(found.pop(each)) for each in ("start", "check"))
    for command, values in found.items():
        seconds = statistics.median(values)
        ratio = (seconds - start) / check
        print(f"{command} {ratio:.2f} ({seconds:.3f} s, start {start:.3f} s, check {check:.3f} s)")


def _drift(folder: Path) -> None:
    """Make a folder with the matrix of this repository, and a golden of the cell to drift from."""
    shutil.copy(_ROOT / _MATRIX, folder)
    _run(folder, "update-snapshots", "--yes", "--only", _CELL, "--suite", "embedded")
    (file,) = folder.glob(f"snapshots/goldens/*/{_CELL}.json")
    golden = parse_golden(file.read_bytes(), file, file.parent.name, _CELL)
    first, second, *rest = golden.generation.tokens
    generation = replace(golden.generation, tokens=(second, first, *rest))
    file.write_text(golden_text(replace(golden, generation=generation)), "utf-8")


def _measure(folder: Path) -> dict[str, float]:
    """Return the wall time of each command, in seconds."""
    (folder / _PACK).unlink(missing_ok=True)
    start = _timed([sys.executable, "-c", "pass"], folder)
    commands = {"check": _CHECK, **_EXPLAIN}
    return {"start": start} | {name: _run(folder, *words) for name, words in commands.items()}


def _run(folder: Path, *arguments: str) -> float:
    # Without -P a checkout in the working directory would be measured.
    return _timed([sys.executable, "-P", "-m", "repro_gate", *arguments], folder)


def _timed(command: Sequence[str], folder: Path) -> float:
    started = time.perf_counter()
    # Another process may write the usual cache meanwhile.
    env = local_environment(REPRO_GATE_CACHE=str(folder / "cache"))
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return seconds


if __name__ == "__main__":
    main()
