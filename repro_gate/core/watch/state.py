"""The streams of a watch, and its state."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from repro_gate.core.guards import require_above, require_at_least, require_finite, require_text
from repro_gate.core.watch.epoch import Epoch
from repro_gate.core.watch.night import Night, Uncounted

LEARNING_NIGHTS: Final = 20
"""With fewer nights a change has to last for weeks to be seen."""
WARNING_SHARE: Final = 0.1
"""The share of the threshold of an alarm that is a warning: in one year of ten without a change."""
_SUITE_SHARE: Final = 0.5


class WatchState(StrEnum):
    """The state of a watch."""

    LEARNING = "learning"
    """Few nights; an alarm is possible and keeps the rate."""
    QUIET = "quiet"
    WARNING = "warning"
    """Weak evidence of a change; no finding."""
    CHANGED = "changed"
    """An alarm about a shift below the floor."""
    DRIFT = "drift"
    UNKNOWN = "unknown"
    """Not measured; never a pass."""


class StreamKind(StrEnum):
    """What a stream measures in each night."""

    MEDIAN = "median"
    """The median distance from the reference."""
    MEAN = "mean"
    """The mean distance, each at most as far as a draw can be without being far."""
    CHANGED = "changed"
    """The share of draws that do not repeat the reference."""
    FAR = "far"
    """The share of draws that are far from the reference."""


class Direction(StrEnum):
    """Which values of a stream are suspicious."""

    UP = "up"
    DOWN = "down"


_BOTH: Final = (Direction.UP, Direction.DOWN)
_SUITE: Final = {
    StreamKind.MEDIAN: _BOTH,
    StreamKind.MEAN: _BOTH,
    StreamKind.CHANGED: _BOTH,
    StreamKind.FAR: (Direction.UP,),
}
_CELL: Final = _SUITE | {StreamKind.CHANGED: (Direction.UP,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One number a night, of the suite or of a cell."""

    kind: StreamKind
    direction: Direction
    cell: str | None = None
    """None for the suite."""


def streams_of(epoch: Epoch) -> tuple[Stream, ...]:
    """Return all streams of an epoch."""
    suite = (Stream(kind=kind, direction=each) for kind, ways in _SUITE.items() for each in ways)
    cells = (
        Stream(kind=kind, direction=each, cell=cell)
        for kind, ways in _CELL.items()
        for each in ways
        for cell in epoch.cells
    )
    return (*suite, *cells)


def thresholds_of(epoch: Epoch) -> tuple[float, float]:
    """Return the evidence that is an alarm of a stream of the suite, and of one of a cell.

    The rate is divided among the streams: half for the suite, half for the cells.
    """
    suite = _SUITE_SHARE / sum(map(len, _SUITE.values()))
    cell = (1 - _SUITE_SHARE) / (sum(map(len, _CELL.values())) * len(epoch.cells))
    return epoch.nights / epoch.rate / suite, epoch.nights / epoch.rate / cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The evidence in a stream that a change has begun."""

    stream: Stream
    evidence: float
    threshold: float
    """Evidence of at least this is an alarm."""

    def __post_init__(self) -> None:
        require_at_least(0, evidence=self.evidence)
        require_above(0, threshold=self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A stream that passed its threshold; it stands until a person ends it."""

    level: Level
    """In the night of the alarm."""
    night: Night
    """The first night beyond the threshold."""
    start: Night
    """The night in which the change began, by the largest evidence; an estimate."""
    before: float
    """The median of the stream in the nights before the start, in nats or as a share."""
    after: float
    """Since the start."""
    effect: float
    """The shift of the cell or of the suite since the start, in nats. Where the cells of a suite
    moved in both directions, the mean of their absolute shifts, with the sign of the mean."""
    is_drift: bool
    """Whether the effect reaches the floor, or draws are far."""

    def __post_init__(self) -> None:
        require_finite(before=self.before, after=self.after, effect=self.effect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How many nights in a row must change to be found, each beyond all nights before."""

    nights: int
    """Nights without a change before."""
    suite: int | None
    """Of a stream of the suite; None when it is never found."""
    cell: int | None

    def __post_init__(self) -> None:
        require_at_least(0, nights=self.nights)
        require_at_least(1, suite=self.suite, cell=self.cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """What the nights of an epoch show."""

    state: WatchState
    since: str | None
    """The date since which the state holds, of an alarm that of its first night; None when no night
    counts."""
    nights: int
    """The nights that count, without dismissed ones."""
    last: Night | None
    """The last night that counts."""
    alarms: tuple[Alarm, ...]
    """Each is certain by itself, also in the state unknown; the first to alarm comes first."""
    largest: tuple[Level, ...]
    """The largest levels of other streams in the last night; not certain."""
    sight: Sight
    returned: Night | None
    """Since this night the alarming streams are among the nights before the change again."""
    uncounted: tuple[Uncounted, ...]
    unknown: str | None = None
    """Why nothing can be stated about tonight."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_at_least(0, nights=self.nights)
        if (self.state is WatchState.UNKNOWN) > (self.unknown is not None):
            raise ValueError("the state is unknown for no reason")
        if self.unknown is not None:
            require_text(unknown=self.unknown)
