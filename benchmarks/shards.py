"""What working side by side saves, as ratios measured in one run.

    python -m benchmarks.shards [--rounds N] [--times N]

Runs the embedded matrix of this repository `--times` as often as its suite says (10 by default, so
30 cells x 100 runs), and prints, one line each:
* devices/one: wall time of two engines of one process (`--devices cpu,cpu`) over that of one;
* shards/one: wall time of two shards, started together, and of their merge, over that of one;
* the same two for the matrix as it is, where starting the engines is most of the time.

Each ratio is the median over the rounds, in which the three take turns. Every report must have the
same of every cell, or the program fails.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_RUNS = 10
_GATE = (sys.executable, "-m", "repro_gate")
_QUIET = ("--quiet", "--fail-on", "never")


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for times in (arguments.times, 1):
            _measure(Path(folder), runs=_RUNS * times, rounds=arguments.rounds)


def _measure(folder: Path, *, runs: int, rounds: int) -> None:
    devices: list[float] = []
    shards: list[float] = []
    cells = 0
    for number in range(rounds):
        one_s, one = _one(folder / "one", runs)
        two_s, two = _one(folder / "two", runs, "--devices", "cpu,cpu")
        parts_s, merged = _shards(folder, runs)
        _require_same(one, two)
        _require_same(one, merged)
        cells = sum(one["counts"]["tokens"].values())
        devices.append(two_s / one_s)
        shards.append(parts_s / one_s)
        times = f"one {one_s:.2f} s, devices {two_s:.2f} s, shards {parts_s:.2f} s"
        print(f"  round {number + 1}: {times}", flush=True)
    what = f"{cells} cells x {runs} runs, the same report"
    print(f"devices/one {statistics.median(devices):.3f} ({what})")
    print(f"shards/one {statistics.median(shards):.3f} ({what})")


def _one(output: Path, runs: int, *options: str) -> tuple[float, Any]:
    began = time.monotonic()
    subprocess.run(_check(output, runs, *options), cwd=_ROOT, check=True, capture_output=True)
    return time.monotonic() - began, _report(output)


def _shards(folder: Path, runs: int) -> tuple[float, Any]:
    began = time.monotonic()
    outputs = [folder / f"shard-{index}" for index in (1, 2)]
    children = [
        subprocess.Popen(
            _check(output, runs, "--shard", f"{index}/2"),
            cwd=_ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for index, output in enumerate(outputs, start=1)
    ]
    codes = [child.wait() for child in children]
    if any(codes):
        raise SystemExit("a shard failed")
    merge = [*_GATE, "merge", *map(str, outputs), *_QUIET, "--output", str(folder / "merged")]
    subprocess.run(merge, cwd=_ROOT, check=True, capture_output=True)
    return time.monotonic() - began, _report(folder / "merged")


def _check(output: Path, runs: int, *options: str) -> Sequence[str]:
    suite = ("--suite", "embedded", "--runs", str(runs))
    return [*_GATE, "check", *suite, *_QUIET, "--output", str(output), *options]


def _report(output: Path) -> Any:
    return json.loads((output / "report.json").read_text("utf-8"))


def _require_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    # Each engine makes controls of its own, and no two runs take the same time.
    reports = [each["result"]["report"] for each in (one, other)]
    for part in ("cells", "engines", "models", "suites"):
        if reports[0][part] != reports[1][part]:
            raise SystemExit(f"the reports differ in {part!r}")
    for part in ("outcome", "exit_code", "counts"):
        if one[part] != other[part]:
            raise SystemExit(f"the reports differ in {part!r}")


if __name__ == "__main__":
    main()
