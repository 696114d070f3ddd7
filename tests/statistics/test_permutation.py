"""The ways in which draws can be divided: all of them, or a sample."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from repro_gate.core.logprobs.baseline import DECIMALS, RESOLUTION_NATS
from repro_gate.core.logprobs.verdicts import Evidence
from repro_gate.statistics.permutation import (
    Floats,
    TwoSamples,
    contributions,
    corrections,
    holm,
    labelings,
    p_values,
    repeats_across,
    same_pairs,
    standardised,
    two_samples,
)


def test_all_divisions_are_there_once() -> None:
    """They are the combinations of the new ones."""
    ways = labelings(3, 2, limit=100)

    assert ways.is_complete
    assert [tuple(np.flatnonzero(row).tolist()) for row in ways.rows] == [
        *combinations(range(5), 2)
    ]


@pytest.mark.parametrize(("limit", "is_complete"), [(252, True), (251, False)])
def test_too_many_are_sampled(limit: int, *, is_complete: bool) -> None:
    """The limit itself is not too many."""
    ways = labelings(5, 5, limit=limit)

    assert (ways.is_complete, len(ways.rows)) == (is_complete, limit)


def test_a_sample_calls_as_many_draws_new() -> None:
    """Each of its rows is a division of the same sizes, and hardly any two are alike."""
    ways = labelings(30, 10, limit=1000)

    assert ways.rows.shape == (1000, 40)
    assert set(ways.rows.sum(axis=1).tolist()) == {10}
    assert len(np.unique(ways.rows, axis=0)) == 1000


def test_a_sample_calls_every_draw_new_as_often() -> None:
    """Each is new in a quarter of the rows, within five standard errors."""
    share = labelings(30, 10, limit=20_000).rows.mean(axis=0)

    assert np.abs(share - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 20_000)


def test_a_sample_is_the_same_every_time() -> None:
    """The same draws give the same report."""
    first = labelings(12, 12, limit=500)
    labelings.cache_clear()
    second = labelings(12, 12, limit=500)

    assert first is not second
    assert (first.rows == second.rows).all()


def test_chunks_are_all_the_rows() -> None:
    """They come a few thousand at a time, as numbers, in order."""
    ways = labelings(9, 9, limit=10**6)
    chunks = list(ways.chunks())

    assert len(chunks) > 1
    assert (np.concatenate(chunks) == ways.rows).all()


def test_the_p_value_of_a_sample_counts_the_observed_one() -> None:
    """Of all divisions the observed one is among them already."""
    assert labelings(3, 2, limit=100).p_value(1) == 1 / 10
    assert labelings(12, 12, limit=500).p_value(0) == 1 / 501


families = st.lists(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1), min_size=3, max_size=12)


# Few, because theirs collects garbage at every call.
@settings(max_examples=12)
@given(families, st.integers(0, 12))
def test_it_is_what_statsmodels_computes(found: list[float], absent: int) -> None:
    """Tests that were not needed count as 1: they are as many as there are, all the same."""
    _, theirs, *_ = multipletests([*found, *[1.0] * absent], method="holm")
    ours = holm(dict(enumerate(found)), tests=len(found) + absent)

    assert ours == pytest.approx(dict(enumerate(theirs[: len(found)])))


def test_nothing_found_is_nothing_to_correct() -> None:
    """A suite without a suspicion has no p-values."""
    assert holm({}, tests=60) == {}


def test_the_smallest_is_multiplied_by_the_number_of_tests() -> None:
    """And each of the others by one less than the one before it."""
    assert holm({"b": 0.02, "a": 0.001, "c": 0.9}, tests=4) == pytest.approx(
        {"a": 0.004, "b": 0.06, "c": 1.0}
    )


few_values = st.sampled_from([-5.0, -2.0, -1.0, -0.5, 0.0])
SAME = 1.0


def of_sums(calibration: list[float], new: list[float]) -> TwoSamples:
    """Return draws of a single token."""
    return two_samples(np.array(calibration)[:, np.newaxis], np.array(new)[:, np.newaxis])


@st.composite
def tiny_samples(draw: st.DrawFn) -> TwoSamples:
    """Draw samples that are small enough for every division to be looked at by hand."""
    tokens = draw(st.integers(1, 3))
    rows = st.lists(few_values, min_size=tokens, max_size=tokens)
    calibration, new = (draw(st.lists(rows, min_size=2, max_size=5)) for _ in range(2))
    return two_samples(np.array(calibration), np.array(new))


def by_hand(samples: TwoSamples, statistic: Callable[[Floats, Floats], float]) -> float:
    """Return the share of all divisions whose statistic is at least that of the observed one."""
    pooled, n = samples.pooled, len(samples.pooled)
    observed = statistic(pooled[: samples.calibration], pooled[samples.calibration :])
    values = [
        statistic(np.delete(pooled, new, axis=0), pooled[list(new)])
        for new in combinations(range(n), samples.new)
    ]
    return sum(value >= observed - 1e-9 for value in values) / len(values)


def fewest_exact_repeats(calibration: Floats, new: Floats) -> float:
    """Return minus the number of pairs that are the same."""
    return -float(sum(bool((one == other).all()) for one in calibration for other in new))


def distance_of_sums(calibration: Floats, new: Floats) -> float:
    """Return how far apart the means of the sums are."""
    return abs(float(new.sum(axis=1).mean() - calibration.sum(axis=1).mean()))


def furthest_token(calibration: Floats, new: Floats) -> float:
    """Return the largest distance of the means of a token, in its own standard deviations."""
    spread = np.concatenate([calibration, new]).std(axis=0)
    distance = np.abs(new.mean(axis=0) - calibration.mean(axis=0))
    return float((distance[spread > 0] / spread[spread > 0]).max(initial=0.0))


@given(tiny_samples())
def test_the_p_values_are_those_of_counting(samples: TwoSamples) -> None:
    """Each is the share of all divisions that are at least as extreme."""
    assert p_values(samples) == pytest.approx(
        {
            Evidence.EXACT_REPEATS: by_hand(samples, fewest_exact_repeats),
            Evidence.SUM: by_hand(samples, distance_of_sums),
            Evidence.TOKENS: by_hand(samples, furthest_token),
        }
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_p_value_of_the_sum_is_what_scipy_computes(seed: int) -> None:
    """The exact two-sample test of a difference of means, two-sided."""
    generator = np.random.default_rng(seed)
    calibration = generator.normal(-40, 1, 7)
    new = generator.normal(-40 + seed / 4, 1, 4)

    theirs = stats.permutation_test(
        (calibration, new),
        lambda x, y, axis: np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)),
        permutation_type="independent",
        alternative="greater",
        n_resamples=10**6,
        vectorized=True,
    )
    ours = p_values(of_sums(calibration.tolist(), new.tolist()))

    assert ours[Evidence.SUM] == pytest.approx(theirs.pvalue)


def test_ten_new_draws_that_repeat_nothing() -> None:
    """All of 10 at one value against all of 10 at another: two divisions of C(20, 10)."""
    found = p_values(of_sums([-42.0] * 10, [-42.5] * 10))

    assert found == pytest.approx(dict.fromkeys(Evidence, 2 / math.comb(20, 10)))


def test_five_new_draws_of_which_none_is_on_the_atom() -> None:
    """With 5 against 10 only one division leaves all that are alike together."""
    found = p_values(of_sums([-42.0] * 10, [-42.5] * 5))

    assert found[Evidence.EXACT_REPEATS] == pytest.approx(1 / math.comb(15, 5))


def test_draws_off_the_atom_that_are_all_different() -> None:
    """Of 10 on the atom and 5 singles the divisions with no pair across leave the atom whole."""
    found = p_values(of_sums([-42.0] * 10, [-43.0, -44.0, -45.0, -46.0, -47.0]))

    assert found[Evidence.EXACT_REPEATS] == pytest.approx(1 / math.comb(15, 5))


def test_draws_that_all_repeat_are_no_evidence() -> None:
    """When nothing varies, every division gives the same."""
    assert p_values(of_sums([-42.0] * 10, [-42.0] * 5)) == dict.fromkeys(Evidence, SAME)


def test_one_token_against_another_shows_in_the_tokens_alone() -> None:
    """A sum that stays as it was hides what single tokens show."""
    generator = np.random.default_rng(1)
    calibration, new = generator.normal(-2, 0.01, (10, 3)), generator.normal(-2, 0.01, (10, 3))
    new += [0.5, -0.5, 0.0]
    found = p_values(two_samples(calibration, new))

    assert found[Evidence.TOKENS] == 2 / math.comb(20, 10)
    assert found[Evidence.SUM] > 0.05


def test_tokens_that_move_apart_show_in_their_distance() -> None:
    """S of LT: neither the sum nor a single token need show it."""
    generator = np.random.default_rng(2)
    calibration, new = generator.normal(-4, 1, (10, 20)), generator.normal(-4, 1, (10, 20))
    new += np.tile([0.8, -0.8], 10)
    samples = two_samples(calibration, new, by_distance=True)
    found = p_values(samples)

    assert found[Evidence.SUM] == 2 / math.comb(20, 10)
    assert p_values(two_samples(calibration, new))[Evidence.SUM] > 0.05
    assert found[Evidence.TOKENS] > 10 * found[Evidence.SUM]


def test_the_distance_is_that_of_lt() -> None:
    """The p-value is the share of divisions with at least as large an S, computed from its text."""
    generator = np.random.default_rng(4)
    pooled = generator.normal(-4, 1, (8, 3))

    def s_of(new: tuple[int, ...]) -> float:
        is_new = np.isin(np.arange(8), new)
        return float(np.abs(pooled[is_new].mean(axis=0) - pooled[~is_new].mean(axis=0)).mean())

    every = [s_of(new) for new in combinations(range(8), 3)]
    share = np.mean([value >= s_of((5, 6, 7)) - 1e-12 for value in every])
    found = p_values(two_samples(pooled[:5], pooled[5:], by_distance=True))

    assert found[Evidence.SUM] == pytest.approx(share)


def test_rounding_on_either_side_of_a_boundary_is_no_difference() -> None:
    """Calibration draws are rounded and new ones are not: that alone must never be a difference."""
    truth = np.array([-1.0000005, -2.3456784999, -0.1234565001])
    calibration = np.repeat(truth.round(DECIMALS)[np.newaxis], 10, axis=0)
    new = np.repeat(truth[np.newaxis], 10, axis=0)
    for sample in (calibration, new):
        sample[-1] -= 0.5

    assert not (calibration == new).any(axis=1).all()
    assert p_values(two_samples(calibration, new)) == dict.fromkeys(Evidence, SAME)


def test_a_sum_is_as_it_was_when_its_tokens_moved_against_each_other() -> None:
    """The rounding of those that moved does not add up to a difference of the sums."""
    truth = -1 - np.random.default_rng(0).exponential(1, 40)
    calibration = np.repeat(truth.round(DECIMALS)[np.newaxis], 10, axis=0)
    new = np.repeat(truth[np.newaxis], 10, axis=0)
    new[:, ::2] += np.tile([0.5, -0.5], 10)
    found = p_values(two_samples(calibration, new))

    assert found[Evidence.SUM] == SAME
    assert found[Evidence.TOKENS] == 2 / math.comb(20, 10)


@pytest.mark.parametrize("total", [-1.0, -1e4])
def test_the_smallest_shift_that_counts_has_the_p_value_of_a_large_one(total: float) -> None:
    """However large the sums are, the last digits of their means are not what decides."""
    calibration = np.full((10, 40), total / 40)
    new = calibration + np.eye(40)[3] * 3 * RESOLUTION_NATS

    assert p_values(two_samples(calibration, new)) == dict.fromkeys(Evidence, 2 / math.comb(20, 10))


@given(st.floats(-100, -1), st.floats(0.05, 0.45))
def test_values_within_the_resolution_are_equal(value: float, part: float) -> None:
    """Wherever they lie, two values that differ by less than counts have the same place."""
    near, far = value + part * RESOLUTION_NATS, value + 0.5
    columns = standardised(np.array([[value], [near], [far], [value]]))

    assert columns[0].tolist() == columns[1].tolist() == columns[3].tolist()
    assert columns[2, 0] > columns[0, 0]


def test_values_beyond_the_resolution_are_not_equal() -> None:
    """The smallest difference that counts is seen."""
    columns = standardised(np.array([[-1.0], [-1.0 + 2 * RESOLUTION_NATS], [-1.0]]))

    assert columns[1, 0] > columns[0, 0] == columns[2, 0]


def test_what_does_not_vary_is_left_out() -> None:
    """A token that is always the same has no standard deviation to be measured in."""
    columns = standardised(np.array([[-1.0, -2.0], [-1.0, -4.0]]))

    assert columns.tolist() == [[1.0, 0.0, 1.0], [-1.0, 0.0, -1.0]]


def test_tests_that_cannot_reject_need_no_correction() -> None:
    """Where no two draws are the same exact repeats give 1 whatever happens."""
    without = corrections(of_sums([-1.0, -2.0], [-3.0, -4.0]))
    with_pairs = corrections(of_sums([-1.0, -2.0], [-1.0, -4.0]))

    others = [Evidence.SUM, Evidence.TOKENS]
    assert sum(1 / without[evidence] for evidence in others) == pytest.approx(1)
    assert sum(1 / with_pairs[evidence] for evidence in Evidence) == pytest.approx(1)


def test_sampled_divisions_give_nearly_the_exact_p_value() -> None:
    """They have the +1 of a sample, and are the same every time."""
    generator = np.random.default_rng(5)
    samples = of_sums(generator.normal(0, 1, 10).tolist(), generator.normal(1, 1, 10).tolist())
    exact, sampled = p_values(samples), p_values(samples, limit=50_000)

    assert sampled == p_values(samples, limit=50_000)
    for evidence in Evidence:
        assert (sampled[evidence] * 50_001) == pytest.approx(round(sampled[evidence] * 50_001))
        # Five standard errors of a share of 50,000.
        error = 5 * math.sqrt(exact[evidence] * (1 - exact[evidence]) / 50_000) + 1 / 50_001
        assert abs(sampled[evidence] - exact[evidence]) <= error


def test_the_p_value_of_a_sample_is_never_0() -> None:
    """The observed division counts as one of them."""
    samples = of_sums([-1.0] * 30, [-9.0] * 30)

    assert p_values(samples, limit=999)[Evidence.SUM] == 1 / 1000


def test_p_values_of_a_service_that_has_not_changed_are_not_too_small() -> None:
    """Of 2,000 pairs of samples of the same service a share of at most p has a p-value of p.

    The bounds are five standard errors wide, and the seed is fixed.
    """
    generator, cells = np.random.default_rng(11), 2000
    found: dict[Evidence, list[float]] = {evidence: [] for evidence in Evidence}
    for _ in range(cells):
        # One token repeats nine times in ten, and another never.
        pooled = np.where(generator.random((9, 2)) < [0.9, 0], 0.0, generator.normal(size=(9, 2)))
        for evidence, p in p_values(TwoSamples(pooled=pooled, new=4)).items():
            found[evidence].append(p)

    for level in (0.01, 0.05, 0.1, 0.2, 0.5):
        most = level + 5 * math.sqrt(level * (1 - level) / cells)
        for values in found.values():
            assert np.mean(np.array(values) <= level) <= most


@given(tiny_samples())
def test_what_a_cell_adds_to_the_whole_orders_its_divisions_as_its_own_test(
    samples: TwoSamples,
) -> None:
    """The share of divisions with at least the observed contributions equals the p-values."""
    observed, possible = contributions(
        samples, labelings(samples.calibration, samples.new, limit=10**6)
    )
    found = p_values(samples)

    for place, evidence in enumerate((Evidence.EXACT_REPEATS, Evidence.SUM)):
        extreme = (possible[:, place] >= observed[place] - 1e-9).mean()
        assert found[evidence] == pytest.approx(extreme)


@given(tiny_samples())
def test_a_cell_adds_about_1_by_chance(samples: TwoSamples) -> None:
    """Over all its divisions the squares of what varies are 1 in the mean, and no value is below 0.

    The share of pairs that do not coincide is a share.
    """
    _, possible = contributions(samples, labelings(samples.calibration, samples.new, limit=10**6))
    varies = (standardised(samples.pooled) != 0).any(axis=0)

    assert possible.min() >= 0
    assert possible[:, 0].max() <= 1
    assert possible[:, 1].mean() == pytest.approx(float(varies[0]), abs=1e-9)
    assert possible[:, 2].mean() == pytest.approx(float(varies[1:].any()), abs=1e-9)


def test_groups_of_equal_draws_count_like_pairs() -> None:
    """The shorter way is taken only where equality divides the draws into groups."""
    chain = np.array([[0.0], [0.6e-5], [1.2e-5], [5.0]])
    grouped = np.array([[0.0], [0.0], [5.0], [5.0]])
    rows = labelings(2, 2, limit=100).rows.astype(np.float64)

    for pooled in (chain, grouped):
        same = same_pairs(pooled)
        by_pairs = ((rows @ same) * (1 - rows)).sum(axis=1)
        assert repeats_across(rows, same).tolist() == by_pairs.tolist()
