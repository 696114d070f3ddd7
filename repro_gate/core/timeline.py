"""What the history of a suite shows over time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from statistics import median

from repro_gate.core.guards import require_at_least, require_finite, require_name, require_share
from repro_gate.core.history import Session
from repro_gate.core.logprobs.draw import DrawFacts
from repro_gate.core.watch.state import Alarm
from repro_gate.core.watch.status import WatchStatus


class ChangeKind(StrEnum):
    """What a provider reports of itself."""

    MODEL = "model"
    FINGERPRINT = "fingerprint"
    BACKEND = "backend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Another answer to the question which model, configuration or backend it is."""

    session: int
    """The index of the first session with it."""
    policy: str
    kind: ChangeKind
    before: tuple[str, ...]
    """Untrusted, as is `after`."""
    after: tuple[str, ...]

    def __post_init__(self) -> None:
        require_at_least(0, session=self.session)
        require_name(self.policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One cell in one session."""

    session: int
    """The index of the session."""
    totals: tuple[float, ...]
    """The sums of the valid draws, in nats."""
    far: tuple[float, ...]
    """Those that are outliers."""
    invalid: int
    missed: int
    verdict: str | None
    """Of a check."""

    def __post_init__(self) -> None:
        require_at_least(0, session=self.session, invalid=self.invalid, missed=self.missed)
        require_finite(totals=self.totals, far=self.far)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLine:
    """One cell over time."""

    cell: str
    policy: str
    item: str
    center: float | None
    """The median of the baseline, or of the last session that knows one, in nats."""
    band: float | None
    """The allowed distance of a median from the center, in nats; None without a baseline."""
    points: tuple[Point, ...]
    """In order; one for each session that has the cell."""

    def __post_init__(self) -> None:
        require_name(self.policy)
        require_name(self.item)
        require_finite(center=self.center)
        require_at_least(0, band=self.band)
        if self.band is not None and self.center is None:
            raise ValueError("a band has a center")

    @property
    def medians(self) -> tuple[float, ...]:
        """The medians of the sessions with a valid draw, in nats."""
        return tuple(median(point.totals) for point in self.points if point.totals)

    @property
    def last_median(self) -> float | None:
        """The last of them; None without a draw."""
        return next((median(each.totals) for each in reversed(self.points) if each.totals), None)

    @property
    def shift(self) -> float | None:
        """The distance of the last median from the center, in nats."""
        last = self.last_median
        return None if last is None or self.center is None else last - self.center

    @property
    def is_outside(self) -> bool:
        """Whether the last median is outside the band."""
        return self.shift is not None and self.band is not None and abs(self.shift) > self.band

    @property
    def far(self) -> int:
        """The number of outliers."""
        return sum(len(point.far) for point in self.points)

    @property
    def draws(self) -> int:
        """The number of valid draws."""
        return sum(len(point.totals) for point in self.points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """An outlier with the call behind it."""

    session: int
    """The index of the session."""
    cell: str
    total: float
    """In nats."""
    distance: float
    """From the center of its session, in nats."""
    facts: DrawFacts
    """Untrusted texts."""

    def __post_init__(self) -> None:
        require_at_least(0, session=self.session)
        require_finite(total=self.total, distance=self.distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePoint:
    """The calls of one policy in one session."""

    session: int
    latency_ms: float | None
    """The median of the cells' medians."""
    usd: float | None
    """None when a price or a number of tokens is unknown."""
    cached_tokens: int | None

    def __post_init__(self) -> None:
        require_at_least(0, session=self.session, latency_ms=self.latency_ms, usd=self.usd)
        require_at_least(0, cached_tokens=self.cached_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLine:
    """The calls of one policy over time."""

    policy: str
    points: tuple[ServicePoint, ...]

    def __post_init__(self) -> None:
        require_name(self.policy)

    @property
    def usd(self) -> float | None:
        """The cost of all sessions with a known price; None without one."""
        known = [point.usd for point in self.points if point.usd is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSummary:
    """The diagnostics of importance weights of some items."""

    items: int
    effective_size: float
    mean_weight: float
    """Its expectation is 1 when the responses were drawn from the base policy."""
    divergence: float
    """The self-normalised estimate of KL(target | base), sum(w r) / sum(w), in nats."""

    def __post_init__(self) -> None:
        require_at_least(1, items=self.items)
        require_at_least(0, effective_size=self.effective_size)
        require_finite(divergence=self.divergence)
        if not self.mean_weight >= 0:
            raise ValueError(f"mean_weight must be at least 0, got {self.mean_weight}")

    @property
    def size_share(self) -> float:
        """The effective size as a share of the items."""
        return self.effective_size / self.items


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWeights:
    """The importance weights of one pair of policies in one session."""

    session: int
    summary: WeightsSummary
    largest_share: float
    """Of the sum of all weights."""
    khat: float | None
    khat_bar: float | None
    ruinous: tuple[str, ...]
    """The few items that ruin the effective size, largest weight first."""
    without: WeightsSummary | None
    """Without these items; None when there are none."""

    def __post_init__(self) -> None:
        require_at_least(0, session=self.session)
        require_share(largest_share=self.largest_share)
        require_finite(khat=self.khat, khat_bar=self.khat_bar)
        if (self.without is None) != (not self.ruinous):
            raise ValueError("weights without some items need these items")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuinousItem:
    """An item that ruins the effective size of a pair in the last session that measured it."""

    item: str
    since: int
    """The index of the first session of the uninterrupted run up to now."""
    sessions: int
    """The number of all sessions in which it does."""
    share: float
    """Of the sum of all weights, in the last session."""
    log_ratio: float
    """Target minus base, in nats, in the last session."""
    without: WeightsSummary | None
    """Without this item alone, in the last session; None when it is the only one."""

    def __post_init__(self) -> None:
        require_at_least(0, since=self.since)
        require_at_least(1, sessions=self.sessions)
        require_share(share=self.share)
        require_finite(log_ratio=self.log_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLine:
    """The importance weights w = exp(target - base) of a pair of policies over time."""

    base: str
    target: str
    points: tuple[SessionWeights, ...]
    ruinous: tuple[RuinousItem, ...]
    """In the last session, largest weight first."""

    def __post_init__(self) -> None:
        require_name(self.base)
        require_name(self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The history of a suite, in order of time."""

    suite: str
    sessions: tuple[Session, ...]
    """Those with draws of its cells."""
    empty: tuple[Session, ...]
    """Those without a draw."""
    cells: tuple[CellLine, ...]
    services: tuple[ServiceLine, ...]
    changes: tuple[Change, ...]
    outliers: tuple[Outlier, ...]
    """The farthest ones, newest first."""
    pairs: tuple[PairLine, ...]
    watch: WatchStatus | None
    """None when its suite is not watched."""

    def __post_init__(self) -> None:
        require_name(self.suite)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The standing alarms of its watch."""
        return () if self.watch is None or self.watch.report is None else self.watch.report.alarms

    def times(self) -> tuple[float, ...]:
        """Return when each session started, in seconds."""
        return tuple(datetime.fromisoformat(each.started_at).timestamp() for each in self.sessions)

    @property
    def draws(self) -> int:
        """The number of valid draws."""
        return sum(line.draws for line in self.cells)

    @property
    def usd(self) -> float | None:
        """The known cost of all sessions; None without a price."""
        known = [line.usd for line in self.services if line.usd is not None]
        return sum(known) if known else None

    def unfinished(self) -> Iterator[Session]:
        """Yield the sessions that did not end."""
        every = (*self.sessions, *self.empty)
        return (session for session in every if not session.is_closed)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptHistory:
    """What a history has of the cells of a check that do not agree."""

    timelines: tuple[Timeline, ...] = ()
    """One for each suite with such cells, and of them alone."""
    left_out: int = 0
    """Such cells that are in none of them."""
    problem: str | None = None
    """Why the history could not be read, untrusted; None if it was."""

    def __post_init__(self) -> None:
        require_at_least(0, left_out=self.left_out)
