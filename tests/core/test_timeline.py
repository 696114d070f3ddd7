"""Values of a history over time."""

from dataclasses import replace

import pytest

from repro_gate.core.timeline import ServiceLine, ServicePoint, WeightsSummary
from tests.fakes.timelines import timeline_of


def test_costs_that_are_known_are_added() -> None:
    """Without a price the cost is unknown, not 0."""
    known = ServicePoint(session=0, latency_ms=None, usd=0.25, cached_tokens=None)
    line = ServiceLine(policy="base", points=(known, replace(known, usd=None), known))
    free = replace(line, points=(replace(known, usd=None),))

    assert (line.usd, free.usd) == (0.5, None)
    assert replace(timeline_of(), services=(line, free)).usd == 0.5
    assert replace(timeline_of(), services=(free,)).usd is None


def test_sessions_have_times() -> None:
    """In seconds, in order."""
    times = timeline_of().times()

    assert list(times) == sorted(times)
    assert times[1] - times[0] == 24 * 3600


def test_a_suite_that_is_not_watched_has_no_alarm() -> None:
    """And a watched one has those of its report."""
    assert timeline_of(is_watched=False).alarms == ()
    assert timeline_of().alarms


def test_weights_without_items_need_them() -> None:
    """A mean weight is no negative number."""
    point = timeline_of().pairs[0].points[-1]

    with pytest.raises(ValueError, match="weights without some items need these items"):
        replace(point, ruinous=())
    with pytest.raises(ValueError, match="mean_weight must be at least 0"):
        WeightsSummary(items=1, effective_size=1, mean_weight=-1, divergence=0)


def test_a_median_is_outside_beyond_the_band() -> None:
    """Only where there is a band, and a draw."""
    line = next(each for each in timeline_of().cells if each.cell == "tuned--item-2")
    unmeasured = replace(line, points=())
    without = replace(line, band=None)

    assert line.shift == pytest.approx(-0.4)
    assert (line.is_outside, without.is_outside, unmeasured.is_outside) == (True, False, False)
    assert (unmeasured.last_median, unmeasured.shift) == (None, None)
    assert replace(without, center=None).shift is None
    with pytest.raises(ValueError, match="a band has a center"):
        replace(line, center=None)
