"""What verifying and grading cost a check in which every cell drifts, as ratios of one run.

    python -m benchmarks.grading_cost [--rounds N] [--runs N ...]

Checks the 15 cells of the release suite on SmolLM2 without flash attention, against goldens that
have it: with an engine that verifies tokens, and with one that refuses to, so that nothing can be
graded. Prints the CPU time of all processes of the first check over that of the second, for the 10
runs of the suite and for fewer.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.causes import smollm2
from benchmarks.planted import Expected, Planted, digest, matrix
from benchmarks.workplace import Workplace

_SUITE: Final = ("--suite", "release")
_RUNS: Final = (10, 3)
_DRIFTS: Final = 15


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, nargs="+", default=_RUNS)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    model = smollm2()
    sha256 = digest(model)
    graded, ungraded = (matrix(_drift(fault), sha256=sha256) for fault in ({}, {"verify": False}))
    with tempfile.TemporaryDirectory() as folder:
        workplace = Workplace(Path(folder), model)
        workplace.record(matrix(sha256=sha256), *_SUITE)
        for runs in arguments.runs:
            seconds = [
                (
                    _cpu_s(workplace, graded, runs, is_graded=True),
                    _cpu_s(workplace, ungraded, runs, is_graded=False),
                )
                for _ in range(rounds)
            ]
            ratios = sorted(with_grade / without for with_grade, without in seconds)
            means = (statistics.mean(each) for each in zip(*seconds, strict=True))
            print(
                f"runs {runs}: graded/ungraded {statistics.median(ratios):.3f} "
                f"({', '.join(f'{ratio:.3f}' for ratio in ratios)}); "
                f"CPU {' and '.join(f'{mean:.1f} s' for mean in means)}"
            )


def _drift(fault: dict[str, Any]) -> Planted:
    return Planted(
        name="no flash attention",
        settings={"flash_attention": False},
        fault=fault,
        expected=Expected(tokens=True, logits=True),
    )


def _cpu_s(workplace: Workplace, document: str, runs: int, *, is_graded: bool) -> float:
    """Return the CPU time of a check in which every cell drifts, and is graded or not."""
    report, seconds = workplace.check(document, *_SUITE, "--runs", str(runs))
    graded = [grade.p_value is not None for grade in report.grades]
    if report.counts["drift"] != _DRIFTS or graded != [is_graded]:
        raise SystemExit(f"expected {_DRIFTS} drifts, found {report.counts}, {report.grades}")
    return seconds


if __name__ == "__main__":
    main()
