"""The status of a watch as plain values, from which the schema of its JSON is generated."""

from dataclasses import dataclass
from typing import Literal

from repro_gate.core.watch.state import Alarm, Level, WatchReport
from repro_gate.core.watch.status import WatchStatus, exit_code_of


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownData:
    """Why nothing can be stated about now."""

    reason: str
    remedy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelData:
    """The evidence of a change in one stream."""

    cell: str | None
    """Null for all cells together."""
    stream: str
    """`median`, `mean`, `changed` or `far`."""
    direction: str
    evidence: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmData:
    """A standing alarm."""

    level: LevelData
    night: str
    """The key of the night in which it was raised."""
    start: str
    """The key of the night in which the change began; an estimate."""
    before: float
    """The median of the stream before the change, in nats or as a share."""
    after: float
    effect: float
    """The shift, in nats."""
    is_drift: bool
    """Whether it reaches the floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenData:
    """Who answered before the change, and since."""

    fact: str
    before: tuple[str, ...]
    since: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UncountedData:
    """A stored night that does not count."""

    night: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SightData:
    """How many nights a change has to last to be found; null where it is not found."""

    nights: int
    suite: int | None
    cell: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateData:
    """The status of a watch, as `repro-gate watch state --json` prints it."""

    schema: Literal["repro-gate/state/v1"]
    suite: str
    state: str
    exit_code: int
    since: str | None
    """The date since which the state holds."""
    epoch: str | None
    """The digest of the open epoch; null when none is open."""
    nights: int
    """The nights that count, without dismissed ones."""
    last: str | None
    """The key of the last night that counts."""
    returned: str | None
    """The key of the night since which the values are among the earlier ones again."""
    unknown: tuple[UnknownData, ...]
    alarms: tuple[AlarmData, ...]
    largest: tuple[LevelData, ...]
    seen: tuple[SeenData, ...]
    uncounted: tuple[UncountedData, ...]
    sight: SightData | None
    notes: tuple[str, ...]


def state_data(status: WatchStatus) -> StateData:
    """Return the status as plain values."""
    report = status.report
    last = None if report is None else report.last
    returned = None if report is None else report.returned
    return StateData(
        schema="repro-gate/state/v1",
        suite=status.suite,
        state=status.state.value,
        exit_code=exit_code_of(status.state).value,
        since=status.since,
        epoch=None if status.watch is None else status.watch.epoch.digest,
        nights=0 if report is None else report.nights,
        last=None if last is None else last.key,
        returned=None if returned is None else returned.key,
        unknown=tuple(UnknownData(reason=x.reason, remedy=x.remedy) for x in status.unknown),
        alarms=() if report is None else tuple(map(_alarm_data, report.alarms)),
        largest=() if report is None else tuple(map(_level_data, report.largest)),
        seen=tuple(SeenData(fact=x.fact, before=x.before, since=x.since) for x in status.seen),
        uncounted=()
        if report is None
        else tuple(UncountedData(night=x.night.key, reason=x.reason) for x in report.uncounted),
        sight=None if report is None else _sight_data(report),
        notes=() if report is None else report.notes,
    )


def _alarm_data(alarm: Alarm) -> AlarmData:
    return AlarmData(
        level=_level_data(alarm.level),
        night=alarm.night.key,
        start=alarm.start.key,
        before=alarm.before,
        after=alarm.after,
        effect=alarm.effect,
        is_drift=alarm.is_drift,
    )


def _level_data(level: Level) -> LevelData:
    return LevelData(
        cell=level.stream.cell,
        stream=level.stream.kind.value,
        direction=level.stream.direction.value,
        evidence=level.evidence,
        threshold=level.threshold,
    )


def _sight_data(report: WatchReport) -> SightData:
    sight = report.sight
    return SightData(nights=sight.nights, suite=sight.suite, cell=sight.cell)
