"""Epochs from baselines, and the end of an alarm."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.checks.watch.epochs import Terms, dismissed, nights_of_alarms, open_epoch
from repro_gate.core.logprobs.policy import Budget, LogprobPlan
from repro_gate.core.watch.changes import definition_of, epoch_changes
from repro_gate.core.watch.epoch import Dismissal, Epoch, Reference, Watch
from repro_gate.core.watch.night import Counted
from repro_gate.errors import InputInvalid, MeasurementUnavailable, UsageInvalid
from tests.fakes.baseline_stores import MemoryBaselines
from tests.fakes.nights import alarm_of, night_of, watch_of, watch_report_of
from tests.fakes.scoring import MODEL, SOURCE, baseline_of, plan_of, suite_of_logprobs

PLAN = plan_of(suite_of_logprobs(items=2))
FIRST, SECOND = PLAN.cells
TERMS = Terms(draws=5, rate=0.01, nights=365, reason="first watch", opened_at="2026-01-01")
DRAWS = [(-1.0, -2.0)] * 5 + [(-1.0, -2.25)] * 5
KEYS = [night_of(number, {}).key for number in range(40)]


def _recorded(plan: LogprobPlan = PLAN) -> MemoryBaselines:
    baselines = MemoryBaselines()
    for cell in plan.cells:
        baselines.write(baseline_of(cell, DRAWS))
    return baselines


def _open(baselines: MemoryBaselines, terms: Terms = TERMS, *, plan: LogprobPlan = PLAN) -> Epoch:
    return open_epoch(plan, terms, baselines=baselines, source=lambda _: SOURCE)


def test_an_epoch_has_the_references_of_the_baselines() -> None:
    """The median of the sums, and the bar of an outlier; the draws are no nights."""
    epoch = _open(_recorded())

    assert list(epoch_changes(epoch, PLAN.cells)) == []
    watched = epoch.cells[FIRST.id]
    assert watched.reference == Reference(value=-3.125, far=8.0)
    assert (watched.source, watched.answered_as) == (SOURCE, MODEL)
    assert watched.definition == definition_of(FIRST)
    assert (epoch.suite, epoch.draws, epoch.floor_nats) == ("hosted", 5, 0.1)


def test_a_cell_without_a_usable_baseline_is_refused() -> None:
    """None, and one of another definition, are named together with the remedy."""
    baselines = _recorded()
    baselines.remove(SOURCE, FIRST.id)
    other = {**SECOND.definition, "prompt": "another"}
    baselines.write(baseline_of(SECOND, DRAWS, definition=other))

    with pytest.raises(MeasurementUnavailable) as refused:
        _open(baselines)

    assert "2 of 2 cells have no baseline" in refused.value.reason
    assert refused.value.remedy == "repro-gate record-baseline --suite hosted"


def test_a_broken_baseline_is_invalid() -> None:
    """It is not taken for a missing one."""
    baselines = _recorded()
    baselines.broken.add((SOURCE, FIRST.id))

    with pytest.raises(InputInvalid):
        _open(baselines)


def test_many_cells_without_a_baseline_are_counted() -> None:
    """The message stays short."""
    plan = plan_of(suite_of_logprobs(items=9))

    with pytest.raises(MeasurementUnavailable, match="item-4 and 4 more"):
        open_epoch(plan, TERMS, baselines=MemoryBaselines(), source=lambda _: SOURCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, "rate must be above 0"),
        ({"rate": 1.5}, "rate must lie between 0 and 1"),
        ({"rate": 1e-200}, "no change could ever be found"),
        ({"nights": 1}, "no change could ever be found"),
    ],
)
def test_terms_that_make_no_watch_are_refused(changes: dict[str, Any], message: str) -> None:
    """A watch that cannot alarm is none."""
    with pytest.raises(UsageInvalid, match=message):
        _open(_recorded(), replace(TERMS, **changes))


def test_an_epoch_whose_nights_the_budget_cuts_off_is_refused() -> None:
    """At the first draw that makes more calls than a night may make."""
    suite = replace(PLAN.suite, budget=Budget(max_calls=5 * len(PLAN.cells)))
    plan = replace(PLAN, suite=suite)

    assert _open(_recorded(), plan=plan).draws == 5
    with pytest.raises(UsageInvalid, match=r"it needs 12 calls, .* has max_calls = 10;"):
        _open(_recorded(), replace(TERMS, draws=6), plan=plan)


def test_dismissed_nights_are_left_out() -> None:
    """With a reason, and after those that were dismissed before."""
    watch = replace(watch_of(), dismissals=(Dismissal(nights=(KEYS[0],), reason="a", at="b"),))

    changed = dismissed(watch, [KEYS[3], KEYS[3]], reason="over", at="now", stored=KEYS)

    assert changed.epoch == watch.epoch
    assert changed.dismissals[1:] == (Dismissal(nights=(KEYS[3],), reason="over", at="now"),)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("2031-01-01-x-1", f"there is no night .*, which has {KEYS[0]}, .* and 35 more"),
        (KEYS[0], "dismissed already"),
    ],
)
def test_a_night_that_cannot_be_dismissed_is_refused(key: str, message: str) -> None:
    """One that is not stored, or not counted any more."""
    watch = Watch(
        epoch=watch_of().epoch, dismissals=(Dismissal(nights=(KEYS[0],), reason="a", at="b"),)
    )

    with pytest.raises(UsageInvalid, match=message):
        dismissed(watch, [key], reason="x", at="y", stored=KEYS)


def test_the_nights_of_an_alarm_begin_with_its_start() -> None:
    """Of several alarms with the earliest, and without nights that are left out already."""
    nights = tuple(night_of(number, {}) for number in range(40))
    watch = replace(watch_of(), dismissals=(Dismissal(nights=(KEYS[35],), reason="a", at="b"),))
    report = watch_report_of(alarm_of(), alarm_of(start=nights[33]))
    counted = Counted(nights=nights, uncounted=())

    expected = [key for key in KEYS[30:] if key != KEYS[35]]
    assert nights_of_alarms(watch, counted, report) == tuple(expected)
    assert nights_of_alarms(watch, counted, watch_report_of()) == ()
