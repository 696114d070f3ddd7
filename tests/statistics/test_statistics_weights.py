"""Whether importance weights can be used, against direct formulas and arviz."""

import math
from typing import Any

import numpy as np
import pytest
from arviz_stats.base.array import BaseArray
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.statistics.weights import FEWEST_FOR_KHAT, Weights, weights_of

ratios = st.lists(st.floats(-30, 30), min_size=1, max_size=30)


@given(ratios)
def test_the_diagnostics_are_their_formulas(found: list[float]) -> None:
    """Of weights that a float can hold, computed from themselves."""
    said, weights = weights_of(found), np.exp(found)

    assert said.items == len(found)
    assert said.effective_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert said.largest_share == pytest.approx(weights.max() / weights.sum())
    assert said.mean_weight == pytest.approx(weights.mean())
    assert (said.khat, said.khat_bar) == (None, None)


@pytest.mark.parametrize("worst", [116.2, 1e4])
def test_weights_beyond_every_float_are_told(worst: float) -> None:
    """A ratio of 116.2 nats is an ordinary float; one of 10,000 is none, and nothing breaks."""
    said = weights_of([worst, 0.0, 0.5, -1.0])

    assert said.effective_size == pytest.approx(1.0)
    assert said.largest_share == pytest.approx(1.0)
    assert math.log(said.mean_weight) == pytest.approx(worst - math.log(4)) or worst == 1e4
    assert math.isinf(said.mean_weight) == (worst == 1e4)
    assert said.problems() == ["one item has 100 % of the whole weight"]


def test_equal_weights_are_the_best() -> None:
    """A target that is the base has all its items."""
    assert weights_of([0.0] * 200) == Weights(
        items=200,
        effective_size=200,
        largest_share=1 / 200,
        mean_weight=1,
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
    said = weights_of(found.tolist())

    # Three standard errors of a tail of 189.
    assert said.khat == pytest.approx(shape, abs=3 * (1 + shape) / math.sqrt(189))
    assert any("k-hat" in problem for problem in said.problems()) is not is_usable


def test_a_heavy_tail_of_small_weights_does_no_harm() -> None:
    """Items that the target hardly ever says have no weight, however many they are."""
    found = -np.random.default_rng(0).exponential(1, 4000)
    said = weights_of(found.tolist())

    assert said.khat is not None
    assert said.khat < 0
    assert said.problems() == []


def test_the_bar_is_at_most_seven_tenths() -> None:
    """However many items there are."""
    assert weights_of(np.random.default_rng(0).normal(0, 1, 20_000).tolist()).khat_bar == 0.7


def test_too_few_items_have_no_tail() -> None:
    """99 weights say nothing of it, and 100 say something."""
    found = np.random.default_rng(0).normal(0, 1, FEWEST_FOR_KHAT).tolist()

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
def test_a_tail_that_cannot_be_fitted_is_not_said(found: list[float]) -> None:
    """Too few weights are larger than the rest, or they have no shape."""
    said = weights_of(found)

    assert (said.khat, said.khat_bar) == (None, None)


def test_calls_to_one_and_the_same_model_can_be_unusable() -> None:
    """Nine in ten repeat and the others are off by 1.56 nats: k-hat passes, and the size is small.

    So it is in a public sample of 1,000 such pairs: k-hat 0.49, and 21 % of its size.
    """
    generator = np.random.default_rng(4)
    found = np.where(generator.random(1000) < 0.9, 0.0, generator.normal(0, 1.56, 1000))
    said = weights_of(found.tolist())

    assert said.khat is not None
    assert said.khat_bar == pytest.approx(1 - 1 / 3)
    assert 0.4 < said.khat < 1 - 1 / 3
    assert said.effective_size < 0.3 * said.items


def test_each_problem_is_told_with_its_figure() -> None:
    """In our own words, and none of weights that can be used."""
    good = Weights(
        items=1000,
        effective_size=900,
        largest_share=0.01,
        mean_weight=1.0,
        khat=0.1,
        khat_bar=0.667,
    )
    bad = Weights(
        items=1000,
        effective_size=99.94,
        largest_share=0.501,
        mean_weight=1.0,
        khat=0.7,
        khat_bar=0.667,
    )

    assert good.problems() == []
    assert bad.problems() == [
        "the effective sample size is only 99.9 of 1000 items",
        "one item has 50 % of the whole weight",
        "k-hat is 0.70, above its bar of 0.67",
    ]


def test_of_two_weights_one_has_half() -> None:
    """A share says nothing of one or two items."""
    assert weights_of([3.0]).problems() == []
    assert weights_of([3.0, 0.0]).problems() == []
    assert weights_of([3.0, 0.0, 0.0]).problems() == ["one item has 91 % of the whole weight"]
