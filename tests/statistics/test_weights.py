"""Whether importance weights can be used, against direct formulas and arviz."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from arviz_stats.base.array import BaseArray
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.logprobs.error_rates import MIN_WEIGHTS, WEIGHTS_RATE
from repro_gate.statistics.permutation import Floats
from repro_gate.statistics.weights import (
    MIN_KHAT_ITEMS,
    Weights,
    ruinous_items,
    tilted_mean,
    weights_of,
)

ratios = st.lists(st.floats(-30, 30), min_size=1, max_size=30)


@given(ratios)
def test_the_diagnostics_are_their_formulas(found: list[float]) -> None:
    """Of weights that a float can hold, computed from themselves."""
    result, weights = weights_of(found), np.exp(found)

    assert result.items == len(found)
    assert result.effective_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert result.largest_share == pytest.approx(weights.max() / weights.sum())
    assert result.mean_weight == pytest.approx(weights.mean())
    assert (result.khat, result.khat_bar) == (None, None)


@pytest.mark.parametrize("worst", [116.2, 1e4])
def test_weights_beyond_every_float_are_told(worst: float) -> None:
    """A ratio of 116.2 nats is an ordinary float; one of 10,000 is none, and nothing breaks."""
    result = weights_of([worst, 0.0, 0.5, -1.0])

    assert result.effective_size == pytest.approx(1.0)
    assert result.largest_share == pytest.approx(1.0)
    assert math.log(result.mean_weight) == pytest.approx(worst - math.log(4)) or worst == 1e4
    assert math.isinf(result.mean_weight) == (worst == 1e4)
    (mean, share) = result.problems()
    assert mean.startswith("the mean weight is ")
    assert share == "one item has 100 % of the whole weight"


def test_equal_weights_are_the_best() -> None:
    """A target that is the base has all its items."""
    assert weights_of([0.0] * 200) == Weights(
        items=200,
        effective_size=200,
        largest_share=1 / 200,
        mean_weight=1,
        mean_p=1,
        khat=None,
        khat_bar=None,
    )


@pytest.mark.parametrize("items", [100, 225, 226, 1000])
def test_the_shape_of_the_tail_is_what_arviz_fits(items: int) -> None:
    """It is given log-likelihoods there, whose negatives are the logarithms of the weights."""
    found = np.random.default_rng(0).normal(0, 1.5, items)
    library: Any = BaseArray()
    _, khat = library.psislw(-found)

    assert weights_of(found.tolist()).khat == pytest.approx(float(khat))


@pytest.mark.parametrize(("shape", "is_usable"), [(0.2, True), (1.0, False)])
def test_weights_of_a_known_tail_have_its_shape(shape: float, *, is_usable: bool) -> None:
    """The exponential of an exponential variable is Pareto; from 0.7 on nothing converges."""
    found = shape * np.random.default_rng(0).exponential(1, 4000)
    result = weights_of(found.tolist())

    # Three standard errors of a tail of 189.
    assert result.khat == pytest.approx(shape, abs=3 * (1 + shape) / math.sqrt(189))
    assert any("k-hat" in problem for problem in result.problems()) is not is_usable


def test_a_heavy_tail_of_small_weights_does_no_harm() -> None:
    """Items that are improbable under the target have no weight, however many they are."""
    # The mean of exp(-x) of an exponential x is a half.
    found = math.log(2) - np.random.default_rng(0).exponential(1, 4000)
    result = weights_of(found.tolist())

    assert result.khat is not None
    assert result.khat < 0
    assert result.problems() == []


def test_the_bar_is_at_most_seven_tenths() -> None:
    """However many items there are."""
    assert weights_of(np.random.default_rng(0).normal(0, 1, 20_000).tolist()).khat_bar == 0.7


def test_too_few_items_have_no_tail() -> None:
    """99 weights are too few, and 100 are enough."""
    found = np.random.default_rng(0).normal(0, 1, MIN_KHAT_ITEMS).tolist()

    assert weights_of(found[1:]).khat is None
    assert weights_of(found).khat is not None
    assert weights_of(found).khat_bar == 0.5


@pytest.mark.parametrize(
    "found",
    [
        [0.0] * 199 + [1.0],
        [0.0] * 150 + [1.0] * 50,
        [-900.0 + step for step in range(199)] + [0.0],
    ],
    ids=["one item", "two values", "all but one are 0 beside it"],
)
def test_a_tail_without_a_fit_has_no_khat(found: list[float]) -> None:
    """Too few weights are larger than the rest, or they have no shape."""
    result = weights_of(found)

    assert (result.khat, result.khat_bar) == (None, None)


def test_calls_to_one_and_the_same_model_can_be_unusable() -> None:
    """Nine in ten repeat and the others are off by 1.56 nats: k-hat passes, and the size is small.

    So it is in a public sample of 1,000 such pairs: k-hat 0.49, and 21 % of its size.
    """
    generator = np.random.default_rng(4)
    found = np.where(generator.random(1000) < 0.9, 0.0, generator.normal(0, 1.56, 1000))
    result = weights_of(found.tolist())

    assert result.khat is not None
    assert result.khat_bar == pytest.approx(1 - 1 / 3)
    assert 0.4 < result.khat < 1 - 1 / 3
    assert result.effective_size < 0.3 * result.items


def test_each_problem_has_its_figure() -> None:
    """In our own words, and none of weights that can be used."""
    good = Weights(
        items=1000,
        effective_size=900,
        largest_share=0.01,
        mean_weight=1.0,
        mean_p=1.0,
        khat=0.1,
        khat_bar=0.667,
    )
    bad = Weights(
        items=1000,
        effective_size=99.94,
        largest_share=0.501,
        mean_weight=1.0,
        mean_p=1.0,
        khat=0.7,
        khat_bar=0.667,
    )

    assert good.problems() == []
    assert bad.problems() == [
        "the effective sample size is only 99.9 of 1000 items",
        "one item has 50 % of the whole weight",
        "k-hat is 0.70, above its bar of 0.67",
    ]


@pytest.mark.parametrize(
    ("center", "items", "is_found"),
    [
        (116.2, 1, True),
        (116.2, 150, True),
        (-65.2, 150, True),
        (-65.2, MIN_WEIGHTS, True),
        (-65.2, MIN_WEIGHTS - 1, False),
        (3.0, 150, True),
        (-3.0, 150, True),
        (0.0, 150, False),
        (-0.125, 150, False),
        (5.0, 1, False),
        (-65.2, 1, False),
    ],
)
def test_a_distant_mean_weight_is_a_problem(center: float, items: int, *, is_found: bool) -> None:
    """Of log-ratios that are all alike: exp(116.2) is too large even for a single item."""
    found = np.random.default_rng(1).normal(center, 0.5, items)
    problems = weights_of(found.tolist()).mean_problems()

    assert bool(problems) is is_found
    assert all("that of responses drawn from the base policy is 1" in one for one in problems)


def test_a_weight_as_large_as_the_share_allows_is_no_evidence_of_small_ones() -> None:
    """One item of 200 that has all the weight makes up for the others."""
    assert weights_of([-65.2] * 199 + [math.log(10)]).mean_p == 1.0


_USABLE: Mapping[str, Callable[[np.random.Generator, int], Floats]] = {
    "a clone that repeats itself in nine of ten draws": lambda generator, items: (
        mixture(generator, items) - mixture(generator, items)
    ),
    "one in ten has all the weight": lambda generator, items: np.where(
        generator.random(items) < 0.1, math.log(10), -700.0
    ),
    "as wide a lognormal as may be": lambda generator, items: generator.normal(
        -math.log(10) / 2, math.sqrt(math.log(10)), items
    ),
    "a clone with as much noise as may be": lambda generator, items: generator.normal(
        0, math.sqrt(math.log(10)), items
    ),
}


def mixture(generator: np.random.Generator, items: int) -> Floats:
    """Return the noise of single draws: a tenth of them is off by about a nat."""
    off = generator.random(items) < 0.1
    return np.where(off, generator.normal(0, 1.56, items), 0.0)


@pytest.mark.parametrize("items", [1, 5, 51, 150, 1000])
@pytest.mark.parametrize("name", _USABLE)
def test_usable_weights_are_seldom_called_too_far_from_one(name: str, items: int) -> None:
    """In at most 1 % of 1,000 samples, within five standard errors, whatever their number."""
    generator = np.random.default_rng(items)
    found = [
        weights_of(_USABLE[name](generator, items).tolist()).mean_p <= WEIGHTS_RATE
        for _ in range(1000)
    ]

    assert np.mean(found) <= WEIGHTS_RATE + 5 * math.sqrt(WEIGHTS_RATE / 1000)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=200))
def test_the_p_value_of_the_mean_is_a_probability(found: list[float]) -> None:
    """For any weights, and it does not depend on their order."""
    p_value = weights_of(found).mean_p

    assert 0 < p_value <= 1
    assert weights_of(found[::-1]).mean_p == pytest.approx(p_value)


def test_the_items_that_ruin_the_effective_size_are_named() -> None:
    """The largest weight first, also one that is hidden by a larger one."""
    calm = [0.1 * math.sin(item) for item in range(50)]

    assert ruinous_items(calm) == ()
    assert ruinous_items([*calm, 5.0, 60.0]) == (51, 50)


def test_no_few_items_ruin_weights_that_are_bad_altogether() -> None:
    """Without more than a fifth of the items there would be little left to estimate from."""
    assert ruinous_items([float(item) for item in range(50)]) == ()
    assert ruinous_items([0.0, 900.0]) == ()
    assert ruinous_items([0.0, 0.0, 0.0, 0.0, 900.0]) == (4,)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=100))
def test_what_is_left_has_half_of_its_effective_size(found: list[float]) -> None:
    """And with one ruinous item more it would not have it."""
    ruinous = ruinous_items(found)
    for count in range(len(ruinous) + 1):
        rest = [ratio for item, ratio in enumerate(found) if item not in ruinous[:count]]
        is_good = weights_of(rest).effective_size >= 0.5 * len(rest) * (1 - 1e-9)
        assert is_good or count < len(ruinous) or not ruinous


def test_the_mean_under_the_weights_is_that_of_the_target() -> None:
    """Of a Gaussian policy whose mean moves by 1 it is the divergence of 1/2."""
    drawn = np.random.default_rng(1).normal(0, 1, 200_000)

    assert tilted_mean((drawn - 0.5).tolist()) == pytest.approx(0.5, abs=0.02)
    assert tilted_mean([-900.0, 900.0]) == 900.0
