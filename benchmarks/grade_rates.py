"""How often a drift is graded wrongly: by simulation.

    python -m benchmarks.grade_rates [--reports N]

Simulates the distances of cells of 25 tokens: few tokens are not drawn again, by very different
distances, and prompts differ in how many these are. Prints for each number of cells
* how many of 100 harmless changes are graded as beyond rounding, with the exact (Clopper-Pearson)
  interval: beside one recorded change of the same kind, beside three, and with normal distances;
* how many of 100 changes that are further by the shift which a report states as detectable are
  detected, with normal distances and with those above;
* the grades, in percent, of a harmless change, and of one that is further by 0.05 (as a KV cache of
  q4_0 is) and by 0.16 (as weights of 4 bits are).

The same arguments give the same numbers.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.stats import binomtest

from repro_gate.core.tokens.grade import (
    ALPHA,
    LARGEST_SHIFT,
    POWER,
    Grade,
    GradeWord,
    VariantDistance,
    detection_factor,
)
from repro_gate.core.tokens.verification import MAX_DISTANCE
from repro_gate.statistics.grading import sign_flip_p_values
from repro_gate.statistics.permutation import Floats

CELLS = (7, 10, 15, 40)
TOKENS = 25
FURTHER = (0.0, LARGEST_SHIFT, 0.16)
_SEED = 20_261_130

Draw: TypeAlias = Callable[[np.random.Generator, int, int], Floats]
"""Returns cells x reports: distances under a harmless change."""


def sparse(generator: np.random.Generator, cells: int, reports: int) -> Floats:
    """Return distances as real models have them: most tokens are drawn again."""
    shape = (TOKENS, cells, reports)
    missed = generator.random(shape) < generator.uniform(0.02, 0.2, (cells, reports))
    far = np.minimum(MAX_DISTANCE, generator.exponential(0.1, shape))
    means: Floats = np.where(missed, far, 0.0).mean(axis=0)
    return means


def normal(generator: np.random.Generator, cells: int, reports: int) -> Floats:
    """Return distances as the stated power assumes them."""
    return generator.normal(0.1, 0.01, (cells, reports))


def grades(observed: Floats, variants: Sequence[Floats]) -> list[Grade]:
    """Return the grade of each report; all are cells x reports."""
    cells = len(observed)
    p_values = np.max([sign_flip_p_values(observed - under) for under in variants], axis=0)
    spread = (observed - variants[0]).std(axis=0, ddof=1)
    factor = detection_factor(cells, tests=1)
    return [
        Grade(
            suite="simulated",
            model="simulated",
            cells=cells,
            tokens=cells * TOKENS,
            distance=0.0,
            variants=(VariantDistance(name="harmless", distance=0.0, p_value=float(p)),),
            p_value=float(p),
            tests=1,
            detectable_shift=float(factor * each),
        )
        for p, each in zip(p_values, spread, strict=True)
    ]


def beyond(found: Sequence[Grade]) -> int:
    """Return how many are beyond rounding."""
    return sum(grade.word is GradeWord.BEYOND for grade in found)


def false_alarms(draw: Draw, *, cells: int, variants: int, reports: int) -> str:
    """Return how many of 100 harmless changes are beyond rounding, with the interval."""
    generator = np.random.default_rng([_SEED, cells, variants])
    observed, *under = (draw(generator, cells, reports) for _ in range(1 + variants))
    count = beyond(grades(observed, under))
    low, high = binomtest(count, reports).proportion_ci()
    return f"{100 * count / reports:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def detected(draw: Draw, *, cells: int, reports: int) -> str:
    """Return how many of 100 changes by the detectable shift are detected."""
    generator = np.random.default_rng([_SEED, cells])
    observed, under = (draw(generator, cells, reports) for _ in range(2))
    spread = float((observed - under).std())
    found = grades(observed + detection_factor(cells, tests=1) * spread, [under])
    return f"{100 * beyond(found) / reports:.0f}"


def words(further: float, *, cells: int, reports: int) -> str:
    """Return the grades, in percent, of a change that is further than a harmless one."""
    generator = np.random.default_rng([_SEED, cells])
    observed, under = (sparse(generator, cells, reports) for _ in range(2))
    counts = Counter(grade.word for grade in grades(observed + further, [under]))
    return ", ".join(
        f"{100 * counts[word] / reports:.0f} {word}" for word in GradeWord if counts[word]
    )


def _print_tables(reports: int) -> None:
    print(f"{reports} reports; level {100 * ALPHA:g} %, power {100 * POWER:g} %\n")
    print("| cells | false alarms | beside three | normal | detected, normal | detected |")
    print("|---|---|---|---|---|---|")
    for cells in CELLS:
        alarms = [
            false_alarms(draw, cells=cells, variants=variants, reports=reports)
            for draw, variants in ((sparse, 1), (sparse, 3), (normal, 1))
        ]
        shares = [detected(draw, cells=cells, reports=reports) for draw in (normal, sparse)]
        print(f"| {' | '.join([str(cells), *alarms, *shares])} |")
    print("\n| cells | further by | grades in percent |\n|---|---|---|")
    for cells in CELLS:
        for further in FURTHER:
            print(f"| {cells} | {further:g} | {words(further, cells=cells, reports=reports)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rates of wrong grades, by simulation")
    parser.add_argument("--reports", type=int, default=10_000)
    _print_tables(parser.parse_args().reports)
