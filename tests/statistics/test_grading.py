"""The test of whether cells are further from their goldens than harmless changes move them."""

import math
import operator
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from repro_gate.core.tokens.grade import ALPHA, POWER, detection_factor, min_cells
from repro_gate.statistics.grading import CellDistances, compare, sign_flip_p_values
from repro_gate.statistics.permutation import Floats

REPORTS = 2000


def p_of(*shifts: float) -> float:
    """Return the p-value of some cells."""
    (found,) = sign_flip_p_values(np.asarray([[shift] for shift in shifts]))
    return found


def distances_of(cells: int, *, further: float, generator: np.random.Generator) -> Floats:
    """Return the mean distances of cells x reports: few tokens differ, by very different amounts.

    Args:
        cells: of 25 tokens each.
        further: the distance that each cell is moved by.
        generator: of the random numbers.
    """
    shape = (25, cells, REPORTS)
    drawn = np.minimum(0.5, generator.exponential(0.15, shape))
    means: Floats = np.where(generator.random(shape) < 0.05, drawn, 0.0).mean(axis=0)
    return means + further


@pytest.mark.parametrize(
    ("shifts", "p"),
    [
        # Of the sums +-0.3 +-0.1 +-0.2 two are at least 0.4: those of + - + and + + +.
        ((0.3, -0.1, 0.2), 2 / 8),
        ((0.3, 0.1, 0.2), 1 / 8),
        ((-0.3, -0.1, -0.2), 1.0),
        ((0.0, 0.0), 1.0),
        ((0.2,), 1 / 2),
        # The sums of equal numbers tie: 1 + 4 of 16 are at least 2 of 3 differences ahead.
        ((0.1, 0.1, 0.1, -0.1), 5 / 16),
    ],
)
def test_all_signs_are_counted(shifts: tuple[float, ...], p: float) -> None:
    """By hand; the observed signs are among them."""
    assert p_of(*shifts) == p


@given(st.lists(st.integers(-500, 500), min_size=1, max_size=8))
def test_it_is_the_enumeration(thousandths: list[int]) -> None:
    """Of whole numbers, whose sums are exact."""
    signs = product((1, -1), repeat=len(thousandths))
    sums = [sum(map(operator.mul, thousandths, row)) for row in signs]

    expected = sum(each >= sum(thousandths) for each in sums) / len(sums)
    assert p_of(*(each / 1000 for each in thousandths)) == expected


def test_many_cells_are_sampled() -> None:
    """With the one observed; the same cells always have the same p-value."""
    exact = p_of(*[0.1] * 9, *[-0.1] * 7)
    sampled = p_of(*[0.1] * 9, *[-0.1] * 7, 0.0)

    assert p_of(*[0.1] * 17) == 1 / 100_001
    assert sampled == pytest.approx(exact, abs=0.005)
    assert sampled == p_of(*[0.1] * 9, *[-0.1] * 7, 0.0)


def test_more_cells_than_a_chunk_are_sampled_row_by_row() -> None:
    """However many there are."""
    assert len(set(sign_flip_p_values(np.full((300, 2), 0.1)))) == 1


@pytest.mark.parametrize("cells", [7, 10, 12])
def test_a_harmless_change_is_seldom_beyond_rounding(cells: int) -> None:
    """Not more often than at the level: 2 observations of one distribution, 2,000 times."""
    generator = np.random.default_rng(cells)
    observed, harmless = (distances_of(cells, further=0.0, generator=generator) for _ in range(2))

    alarms = sum(p <= ALPHA for p in sign_flip_p_values(observed - harmless))

    assert alarms <= stats.binom.ppf(0.999, REPORTS, ALPHA)


@pytest.mark.parametrize("cells", [7, 8, 10, 13])
def test_the_detectable_shift_is_detected(cells: int) -> None:
    """In about 80 of 100 reports, as stated; by a tenth of it, hardly ever."""
    generator = np.random.default_rng(cells)
    noise = generator.normal(0, 0.02, (cells, REPORTS))
    shift = detection_factor(cells, tests=1) * 0.02

    detected = [
        np.mean([p <= ALPHA for p in sign_flip_p_values(noise + part * shift)]) for part in (1, 0.1)
    ]

    assert 0.7 <= detected[0] <= 0.88
    assert detected[1] < 0.05


@pytest.mark.parametrize("cells", [9, 20, 51])
def test_the_factor_is_that_of_a_t_test(cells: int) -> None:
    """At the largest level that the signs of so many cells can reach."""
    level = math.floor(ALPHA * 2**cells) / 2**cells if cells < 50 else ALPHA
    degrees = cells - 1

    expected = (stats.t.ppf(1 - level, degrees) + stats.t.ppf(POWER, degrees)) / math.sqrt(cells)
    assert detection_factor(cells, tests=1) == pytest.approx(expected, rel=0.001)


def test_the_fewest_cells_have_to_agree() -> None:
    """Each of 7 differences has to be positive, in 80 % of reports."""
    factor = detection_factor(7, tests=1)

    assert (min_cells(1), min_cells(2)) == (7, 8)
    assert stats.norm.cdf(factor) ** 7 == pytest.approx(POWER)


def test_it_has_to_be_beyond_every_harmless_change() -> None:
    """The largest p-value counts, and the farthest change for what is detectable."""
    observed = tuple(0.1 + 0.001 * place for place in range(8))
    near, far = (0.01,) * 8, tuple(0.095 + 0.003 * place for place in range(8))
    distances = CellDistances(observed=observed, variants={"near": near, "far": far})

    (found,) = compare([distances])

    assert found.by_variant["near"] == 1 / 256
    assert found.p_value == found.by_variant["far"] > 0.5
    spread = np.std(np.subtract(observed, far), ddof=1)
    assert found.detectable_shift == pytest.approx(detection_factor(8, tests=1) * spread)


def test_a_nearer_change_that_varies_more_is_what_is_hard_to_detect() -> None:
    """By the difference of the means less; a drift has to be beyond that one too."""
    steady, varying = (0.1,) * 8, (0.0, 0.19) * 4
    variants = {"steady": steady, "varying": varying}

    (found,) = compare([CellDistances(observed=(0.1,) * 8, variants=variants)])
    (alone,) = compare([CellDistances(observed=(0.1,) * 8, variants={"steady": steady})])

    spread = np.std(varying, ddof=1)
    assert found.detectable_shift == pytest.approx(detection_factor(8, tests=1) * spread - 0.005)
    assert alone.detectable_shift == 0


def test_the_change_itself_is_no_further_than_its_reference() -> None:
    """Its distances differ by the digits that a reference does not have."""
    exact = tuple(0.0123456789 + cell / 70 for cell in range(14))
    rounded = tuple(distance - 4e-7 * (place % 2) for place, distance in enumerate(exact))
    (found,) = compare([CellDistances(observed=exact, variants={"same": rounded})])

    assert (found.p_value, found.detectable_shift) == (1.0, 0.0)


def test_the_grades_of_a_report_are_corrected_together() -> None:
    """Holm: the smaller of two p-values is doubled, and the other is not below it."""
    beyond = CellDistances(observed=(0.1,) * 8, variants={"x": (0.0,) * 8})
    near = CellDistances(observed=(0.0,) * 6, variants={"x": (0.0,) * 6})

    first, second = compare([beyond, near])

    assert (first.p_value, second.p_value, first.tests) == (2 / 256, 1.0, 2)
    assert second.detectable_shift is None
    assert compare([]) == ()
