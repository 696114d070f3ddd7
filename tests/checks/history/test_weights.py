"""Importance weights over time."""

import pytest

from repro_gate.checks.history.weights import PairHistory, pair_histories
from repro_gate.core.logprobs.policy import WeightPlan
from repro_gate.core.timeline import PairLine

ITEMS = 10


def pair_of(*sessions: dict[str, float]) -> PairLine:
    """Return a pair whose items have these log-ratios, and 0 where none is given."""
    pair = PairHistory("base", "tuned")
    for session, ratios in enumerate(sessions):
        every = {f"item-{number}": 0.0 for number in range(ITEMS)} | ratios
        pair.add(session, {"base": dict.fromkeys(every, -40.0), "tuned": _shifted(every)})
    return pair.line()


def _shifted(ratios: dict[str, float]) -> dict[str, float]:
    return {item: -40.0 + ratio for item, ratio in ratios.items()}


def test_each_policy_is_compared_with_the_base() -> None:
    """And none without a plan."""
    found = pair_histories(WeightPlan(base="b"), ["a", "b", "c"])

    assert [(pair.base, pair.target) for pair in found] == [("b", "a"), ("b", "c")]
    assert pair_histories(None, ["a", "b"]) == []


def test_equal_policies_have_equal_weights() -> None:
    """Nothing ruins them."""
    pair = pair_of({})

    summary = pair.points[0].summary
    assert (summary.items, summary.effective_size, summary.mean_weight) == (ITEMS, ITEMS, 1)
    assert (summary.size_share, summary.divergence, pair.ruinous) == (1, 0, ())


def test_a_ruinous_item_is_named_since_its_last_return() -> None:
    """With the weights as they would be without it."""
    bad = {"item-3": 6.0}

    pair = pair_of(bad, {}, bad, bad)

    (item,) = pair.ruinous
    assert (item.item, item.since, item.sessions, item.log_ratio) == ("item-3", 2, 3, 6.0)
    assert item.share == pytest.approx(0.978, abs=1e-3)
    assert item.without is not None
    assert (item.without.items, item.without.effective_size) == (ITEMS - 1, ITEMS - 1)
    assert pair.points[-1].without == item.without


def test_an_item_that_ruins_no_more_is_not_named() -> None:
    """The last session decides; the earlier ones keep what they had."""
    pair = pair_of({"item-3": 6.0}, {})

    assert pair.ruinous == ()
    assert pair.points[0].ruinous == ("item-3",)


def test_two_items_may_hide_each_other() -> None:
    """Without one of them alone the other one has all the weight."""
    pair = pair_of({"item-1": 50.0, "item-2": 900.0})

    assert [item.item for item in pair.ruinous] == ["item-2", "item-1"]
    assert [item.share for item in pair.ruinous] == [1.0, 0.0]
    alone = pair.ruinous[0].without
    assert alone is not None
    assert alone.effective_size == pytest.approx(1)
    assert pair.points[0].without is not None
    assert pair.points[0].without.effective_size == pytest.approx(8)


def test_a_session_without_a_common_item_is_left_out() -> None:
    """It has no weights."""
    pair = PairHistory("base", "tuned")
    pair.add(0, {"base": {"a": -1.0}, "tuned": {"b": -1.0}})

    assert pair.line().points == ()
