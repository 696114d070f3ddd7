"""The stratified test over all cells, in one look and in two."""

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from repro_gate.core.logprobs.error_rates import WHOLE_SAMPLES, suite_level
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import SuiteTest, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Equivalence, Evidence
from repro_gate.statistics.cell import is_suspicious
from repro_gate.statistics.permutation import Floats, two_samples
from repro_gate.statistics.suite import WholeLook, WholeSuite

SEED = "0123456789abcdef"
USUAL = Tolerance()
CALIBRATION, NEW = 10, 5


def noisy(generator: np.random.Generator, *, count: int, shift: float = 0.0) -> Floats:
    """Return draws of three tokens of a service that never repeats itself."""
    return generator.normal(-14 + shift / 3, 0.1, (count, 3))


def look_at(*cells: tuple[Floats, Floats], second_look: bool = True, seed: str = SEED) -> WholeLook:
    """Return a look at some cells."""
    look = WholeLook(seed=seed, second_look=second_look)
    for calibration, new in cells:
        look.add(calibration, new)
    return look


def pairs(
    count: int, *, shift: Callable[[int], float], seed: int = 0
) -> list[tuple[Floats, Floats]]:
    """Return calibration and new draws of so many cells, each moved by its own amount."""
    generator = np.random.default_rng(seed)
    return [
        (
            noisy(generator, count=CALIBRATION),
            noisy(generator, count=NEW, shift=shift(place)),
        )
        for place in range(count)
    ]


def repeating(*, off: float = 0.0) -> tuple[Floats, Floats]:
    """Return draws of a service that always repeats itself, and is away by now."""
    return np.full((CALIBRATION, 2), -7.0), np.full((NEW, 2), -7.0 - off / 2)


def test_distances_of_all_cells_are_seen_where_no_cell_shows_one() -> None:
    """Tokens that move apart leave every sum as it was."""
    generator = np.random.default_rng(5)
    look = WholeLook(seed=SEED, second_look=True)
    for _ in range(40):
        calibration = generator.normal(-4, 1, (CALIBRATION, 12))
        new = generator.normal(-4, 1, (NEW, 12)) + np.tile([0.4, -0.4], 6)
        look.add(calibration, new, by_distance=True)
    result = look.result(USUAL)

    assert result.verdict is SuiteVerdict.DRIFT
    assert result.typical_shift == pytest.approx(0.6, abs=0.2)


def test_a_shift_of_every_cell_is_seen_where_no_cell_shows_it() -> None:
    """Half a standard deviation, up or down, in each of sixty cells."""
    cells = pairs(60, shift=lambda place: 0.13 * (-1) ** place, seed=3)
    result = look_at(*cells).result(USUAL)

    assert result.verdict is SuiteVerdict.DRIFT
    assert result.p_value <= 3 * suite_level(USUAL)
    # By chance alone a cell in thirty is suspicious.
    assert sum(is_suspicious(*cell) for cell in cells) < 12


def test_a_suite_that_has_not_changed_alarms_no_more_often_than_stated() -> None:
    """Of 300 suites at most 5 % are suspicious, within five standard errors."""
    suites = 300
    found = [
        look_at(*pairs(4, shift=lambda _: 0.0, seed=seed), seed=f"{seed:08x}").is_suspicious
        for seed in range(suites)
    ]

    assert np.mean(found) <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / suites)


def test_single_p_values_are_no_smaller_than_their_level() -> None:
    """Each of the three is at most 10 % in at most 10 % of the suites, within five errors."""
    suites, generator = 300, np.random.default_rng(77)
    found: list[list[float]] = []
    for seed in range(suites):
        suite = WholeSuite(seed=seed)
        for _ in range(3):
            pooled = np.where(generator.random((9, 2)) < 0.6, 0.0, generator.normal(size=(9, 2)))
            suite.add(two_samples(pooled[:6], pooled[6:]))
        found.append(list(suite.p_values().values()))

    shares = (np.array(found) <= 0.1).mean(axis=0)
    assert shares.max() <= 0.1 + 5 * math.sqrt(0.1 * 0.9 / suites)


def test_the_smallest_p_value_is_that_of_one_division() -> None:
    """Of 20,000 with the observed one; a sample is never as sure as 0."""
    suite = WholeSuite(seed=1)
    for _ in range(20):
        suite.add(two_samples(*repeating(off=0.5)))

    assert suite.p_values() == dict.fromkeys(Evidence, 1 / (WHOLE_SAMPLES + 1))


def test_cells_that_always_repeat_say_nothing() -> None:
    """They count, and every division of them is alike."""
    suite = WholeSuite(seed=1)
    suite.add(two_samples(*repeating()))

    assert suite.cells == 1
    assert suite.p_values() == dict.fromkeys(Evidence, 1.0)


def test_the_same_draws_give_the_same_p_values() -> None:
    """The seed of the sampled divisions comes from the draws, not from the clock."""
    cells = pairs(5, shift=lambda _: 0.1)

    assert look_at(*cells).result(USUAL) == look_at(*cells).result(USUAL)
    assert look_at(*cells).result(USUAL).p_value != pytest.approx(
        look_at(*cells, seed="fedcba9876543210").result(USUAL).p_value, abs=1e-12
    )


def test_memory_does_not_grow_with_the_number_of_cells() -> None:
    """A thousand cells need no more than a hundred, but for one number each."""

    def peak(count: int) -> int:
        suite = WholeSuite(seed=1)
        suite.add(two_samples(*repeating(off=0.5)))
        generator = np.random.default_rng(0)
        tracemalloc.start()
        for _ in range(count):
            suite.add(two_samples(noisy(generator, count=4), noisy(generator, count=2)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(1000) <= 1.02 * peak(100)


def test_a_suite_without_cells_is_not_tested() -> None:
    """And nothing is claimed of it."""
    assert look_at().result(USUAL) == SuiteTest(
        verdict=SuiteVerdict.NOT_TESTED,
        cells=0,
        left_out=0,
        p_value=1.0,
        evidence=Evidence.EXACT_REPEATS,
        typical_shift=0.0,
        second_look=True,
        mean_shift=0.0,
        mean_shift_bound=math.inf,
        equivalence=Equivalence.NOT_SHOWN,
    )


def test_a_cell_without_new_draws_is_left_out() -> None:
    """There is nothing to test."""
    calibration, _ = repeating()

    assert look_at((calibration, np.empty((0, 2)))).result(USUAL).cells == 0


def test_a_suite_that_repeats_itself_is_identical() -> None:
    """Every draw of every cell repeats a calibration draw."""
    result = look_at(*[repeating()] * 3, second_look=False).result(USUAL)

    assert (result.verdict, result.equivalence) == (SuiteVerdict.AGREES, Equivalence.IDENTICAL)
    assert (result.mean_shift, result.mean_shift_bound, result.p_value) == (0.0, 0.0, 1.0)


def test_one_draw_that_does_not_repeat_makes_it_equivalent_at_most() -> None:
    """What is claimed then comes from two one-sided tests over the cells."""
    calibration, new = repeating()
    new = new - np.array([[0.01]] + [[0.0]] * (NEW - 1))
    result = look_at(*[repeating()] * 3, (calibration, new), second_look=False).result(USUAL)

    assert result.equivalence is Equivalence.EQUIVALENT
    assert result.mean_shift == pytest.approx(-0.004 / 4)


def test_noise_that_hides_the_floor_shows_nothing() -> None:
    """Agreement is then no claim of equivalence."""
    result = look_at(*pairs(2, shift=lambda _: 0.0), second_look=False).result(USUAL)

    assert (result.verdict, result.equivalence) == (SuiteVerdict.AGREES, Equivalence.NOT_SHOWN)


def test_a_first_look_is_never_drift() -> None:
    """It is suspicious, and a second one has to confirm it."""
    first = look_at(*[repeating(off=0.5)] * 20, second_look=False)

    assert first.is_suspicious
    assert first.result(USUAL).verdict is SuiteVerdict.AGREES


@pytest.mark.parametrize(
    ("off", "verdict"), [(0.05, SuiteVerdict.CHANGED), (0.5, SuiteVerdict.DRIFT)]
)
def test_the_floor_separates_a_change_from_drift(off: float, verdict: SuiteVerdict) -> None:
    """Both are certain."""
    result = look_at(*[repeating(off=off)] * 20).result(USUAL)

    assert result.verdict is verdict
    assert result.typical_shift == pytest.approx(off)
    assert result.p_value == pytest.approx(3 / (WHOLE_SAMPLES + 1))
    assert result.mean_shift == pytest.approx(-off)


def test_a_second_look_that_is_not_significant_agrees() -> None:
    """However far the cells seem to have moved."""
    calibration, new = repeating(off=0.5)
    result = look_at((calibration, new[:2])).result(USUAL)

    assert result.p_value > 3 * suite_level(USUAL)
    assert (result.verdict, result.typical_shift) == (SuiteVerdict.AGREES, 0.5)


def test_a_single_cell_is_bounded_by_its_own_draws() -> None:
    """Over the cells there is no variance yet."""
    generator = np.random.default_rng(0)
    calibration, new = noisy(generator, count=10), noisy(generator, count=5)

    assert look_at((calibration, new)).result(USUAL).mean_shift_bound < 1.0
