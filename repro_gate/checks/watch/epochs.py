"""Begin an epoch of a watch from the baselines of its suite, and end an alarm."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from repro_gate.core.logprobs.baseline import Baseline, changes_against
from repro_gate.core.logprobs.baseline_format import rounded
from repro_gate.core.logprobs.policy import LogprobCell, LogprobPlan, Policy
from repro_gate.core.watch.changes import definition_of
from repro_gate.core.watch.epoch import Dismissal, Epoch, Reference, Watch, WatchedCell
from repro_gate.core.watch.night import Counted, kept_nights
from repro_gate.core.watch.state import WatchReport, thresholds_of
from repro_gate.errors import MeasurementUnavailable, UsageInvalid
from repro_gate.ports import BaselineReader
from repro_gate.statistics.night_ranks import nights_to_alarm

_MAX_NAMED = 5
"""Names in one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the nights of a new epoch will have in common, besides its cells."""

    draws: int
    rate: float
    nights: int
    reason: str
    opened_at: str
    previous: str | None = None


def open_epoch(
    plan: LogprobPlan,
    terms: Terms,
    *,
    baselines: BaselineReader,
    source: Callable[[Policy], str],
) -> Epoch:
    """Return a new epoch of a suite, whose references are those of its baselines.

    Args:
        plan: all cells of the suite.
        terms: the other constants.
        baselines: the present baselines.
        source: gives the source of a policy's baselines.

    Raises:
        InputInvalid: a baseline is broken.
        MeasurementUnavailable: a cell has no baseline, or one of another definition.
        UsageInvalid: the terms are invalid, no change could ever be found, or no night fits
            into the budget.
    """
    sources = {policy.name: source(policy) for policy in plan.policies}
    factor = plan.suite.tolerance.outlier_factor
    cells: dict[str, WatchedCell] = {}
    unusable: list[str] = []
    for cell in plan.cells:
        baseline = _baseline_of(cell, sources[cell.policy.name], plan, baselines)
        if baseline is None:
            unusable.append(cell.id)
        else:
            cells[cell.id] = _watched(cell, baseline, factor=factor)
    if unusable:
        raise _unrecorded(plan, unusable)
    try:
        epoch = Epoch(
            suite=plan.suite.name,
            cells=cells,
            draws=terms.draws,
            rate=terms.rate,
            nights=terms.nights,
            floor_nats=plan.suite.tolerance.floor_nats,
            opened_at=terms.opened_at,
            reason=terms.reason,
            previous=terms.previous,
        )
    except ValueError as error:
        raise UsageInvalid(str(error)) from error
    _require_sight(epoch)
    _require_budget(epoch, plan)
    return epoch


def dismissed(
    watch: Watch, keys: Iterable[str], *, reason: str, at: str, stored: Iterable[str]
) -> Watch:
    """Return the watch without nights; raises `UsageInvalid` for one that is not stored.

    Args:
        watch: the present watch.
        keys: of the nights to leave out.
        reason: why.
        at: when, ISO 8601, UTC.
        stored: the keys of all stored nights.
    """
    nights, known = tuple(dict.fromkeys(keys)), sorted(stored)
    for key in nights:
        if key not in known:
            raise UsageInvalid(
                f"there is no night {key!r} of this epoch in the history, which has "
                f"{_named(known) or 'none'}"
            )
        if key in watch.dismissed:
            raise UsageInvalid(f"the night {key} is dismissed already")
    dismissal = Dismissal(nights=nights, reason=reason, at=at)
    return replace(watch, dismissals=(*watch.dismissals, dismissal))


def nights_of_alarms(watch: Watch, counted: Counted, report: WatchReport) -> tuple[str, ...]:
    """Return the keys of the nights since the start of the earliest standing alarm."""
    if not report.alarms:
        return ()
    start = min(alarm.start.date for alarm in report.alarms)
    kept = kept_nights(watch, counted.nights)
    return tuple(night.key for night in kept if night.date >= start)


def _baseline_of(
    cell: LogprobCell, source: str, plan: LogprobPlan, baselines: BaselineReader
) -> Baseline | None:
    """Return the baseline of a cell as the matrix has it, or None."""
    if cell.id not in baselines.recorded(source):
        return None
    baseline = baselines.read(source, cell.id)
    return None if changes_against(cell, baseline, plan.suite.tolerance) else baseline


def _watched(cell: LogprobCell, baseline: Baseline, *, factor: float) -> WatchedCell:
    noise = baseline.noise
    return WatchedCell(
        source=baseline.source,
        definition=definition_of(cell),
        encoding=baseline.encoding,
        answered_as=baseline.answered_as,
        reference=Reference(value=rounded(noise.center), far=rounded(noise.outlier_bound(factor))),
    )


def _unrecorded(plan: LogprobPlan, cells: Sequence[str]) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"{len(cells)} of {len(plan.cells)} cells have no baseline of their definition: "
        f"{_named(cells)}",
        remedy=f"repro-gate record-baseline --suite {plan.suite.name}",
    )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"{', '.join(names[:_MAX_NAMED])}{more}"


def _require_budget(epoch: Epoch, plan: LogprobPlan) -> None:
    """Raise `UsageInvalid` for an epoch whose nights the budget would always cut off."""
    hosted = [cell for cell in plan.cells if not cell.policy.provider.is_local]
    calls, limit = epoch.draws * len(hosted), plan.suite.budget.max_calls
    if limit is not None and calls > limit:
        raise UsageInvalid(
            f"no night would be complete: it needs {calls} calls, and the budget of {epoch.suite} "
            f"has max_calls = {limit}; lower --draws, or raise max_calls"
        )


def _require_sight(epoch: Epoch) -> None:
    """Raise `UsageInvalid` for an epoch in which not even a change of every draw is found."""
    suite, _ = thresholds_of(epoch)
    if nights_to_alarm(epoch.nights, suite) is None:
        raise UsageInvalid(
            f"at a rate of {epoch.rate:g} in {epoch.nights} nights no change could ever be found; "
            "raise --rate or --nights"
        )
