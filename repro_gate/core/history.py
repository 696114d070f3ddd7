"""The history of hosted models: sessions of draws, and what is kept of each cell of a session."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import assert_never

from repro_gate.core.guards import (
    require_at_least,
    require_finite,
    require_name,
    require_sha256,
    require_text,
)
from repro_gate.core.logprobs.draw import Draw, DrawFacts, DrawOutcome, InvalidDraw, MissedDraw

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class SessionKind(StrEnum):
    """Why the draws of a session were made."""

    NIGHT = "night"
    """For a watch: a fixed number of draws of every cell."""
    CHECK = "check"
    CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCell:
    """A cell as a session draws it."""

    id: str
    policy: str
    item: str
    definition: str | None = None
    """The digest of its definition; None when the session does not record it."""
    tokens: int | None = None
    """Of prompt and response together; None when unknown."""
    usd_per_million_tokens: float = 0.0
    """By the matrix of that time; 0 when unknown."""
    center: float | None = None
    """The reference of its draws, in nats; None without one."""
    bound: float | None = None
    """A draw farther than this from the center is far, in nats; None without a bound."""
    verdict: str | None = None
    """Of the check; None for a session that gives none."""

    def __post_init__(self) -> None:
        require_name(self.policy)
        require_name(self.item)
        if self.id != f"{self.policy}--{self.item}":
            raise ValueError(f"{self.id} is no cell of {self.policy} and {self.item}")
        require_sha256(self.definition)
        require_at_least(0, tokens=self.tokens, usd=self.usd_per_million_tokens, bound=self.bound)
        require_finite(center=self.center)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHeader:
    """What is known of a session before its first draw."""

    key: str
    """Starts with its date, UTC; unique among the sessions of its kind, suite and epoch."""
    kind: SessionKind
    suite: str | None
    """None when it is unknown, or not of one suite."""
    epoch: str | None
    """The digest of the epoch that a night belongs to; None for other sessions."""
    started_at: str
    """ISO 8601, UTC."""
    tool: str
    """The version of repro-gate."""
    cells: tuple[SessionCell, ...]

    def __post_init__(self) -> None:
        require_name(self.key)
        require_text(tool=self.tool)
        require_sha256(self.epoch)
        if self.suite is not None:
            require_name(self.suite)
        if not self.key.startswith(f"{date_of(self.started_at)}-"):
            raise ValueError(f"the key {self.key} does not start with the date {self.started_at}")
        is_night = self.kind is SessionKind.NIGHT
        if is_night != (self.epoch is not None) or (is_night and self.suite is None):
            raise ValueError("a night has a suite and an epoch, and no other session has an epoch")
        if len({cell.id for cell in self.cells}) < len(self.cells):
            raise ValueError("a cell is twice in one session")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session of the history."""

    key: str
    kind: SessionKind
    suite: str | None
    epoch: str | None
    started_at: str
    tool: str
    is_closed: bool
    """Whether it ended; one that was killed never counts as a night."""

    @property
    def date(self) -> date:
        """The date on which it started, UTC."""
        return date_of(self.started_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSession:
    """The draws of one cell in one session, summarised."""

    cell: SessionCell
    totals: tuple[float, ...]
    """The sums of the valid draws, in nats, in the order in which they came; no control draws."""
    invalid: int
    missed: int
    models: tuple[str, ...]
    """The distinct model names in the answers, sorted; untrusted, as are the next two."""
    fingerprints: tuple[str, ...]
    backends: tuple[str, ...]
    latency_ms: float | None
    """The median; None without an answer."""
    usd: float | None
    """Of all answered draws; None when a price or a number of tokens is unknown."""
    cached_tokens: int | None
    """Of all answered draws; None when no answer has it."""

    def __post_init__(self) -> None:
        require_finite(totals=self.totals)
        require_at_least(0, invalid=self.invalid, missed=self.missed, usd=self.usd)
        require_at_least(0, latency_ms=self.latency_ms, cached_tokens=self.cached_tokens)

    @property
    def far(self) -> tuple[float, ...]:
        """The totals that are farther from the center than its bound."""
        return tuple(total for total in self.totals if is_far(total, self.cell))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDraw:
    """A draw of the history, with the call behind it."""

    cell: SessionCell
    purpose: str
    number: int
    line: int
    """In the session file, counted from 1."""
    outcome: DrawOutcome

    def __post_init__(self) -> None:
        require_at_least(1, number=self.number, line=self.line)

    @property
    def facts(self) -> DrawFacts:
        """The call behind it; without content for a missed draw."""
        return DrawFacts() if isinstance(self.outcome, MissedDraw) else self.outcome.facts

    @property
    def is_far(self) -> bool:
        """Whether it is a valid draw beyond the bound of its cell."""
        return isinstance(self.outcome, Draw) and is_far(self.outcome.total, self.cell)

    @property
    def tokens(self) -> int | None:
        """The tokens of its prompt and response; None when unknown."""
        return tokens_of(self.facts, self.cell)

    @property
    def usd(self) -> float | None:
        """Its price; None when unknown, or without an answer."""
        return None if isinstance(self.outcome, MissedDraw) else usd_of(self.facts, self.cell)


def date_of(time: str) -> date:
    """Return the date of a time; raises ValueError for any time that is not UTC."""
    return utc_time(time).date()


def utc_time(time: str) -> datetime:
    """Return a time; raises ValueError unless it is ISO 8601 and UTC."""
    found = datetime.fromisoformat(time)
    if not _DATE.match(time) or found.utcoffset() != timedelta(0):
        raise ValueError(f"a time must be ISO 8601 and UTC, got {time!r}")
    return found


def is_far(total: float, cell: SessionCell) -> bool:
    """Return whether a sum is farther from the center of its cell than the bound."""
    if cell.center is None or cell.bound is None:
        return False
    return abs(total - cell.center) > cell.bound


def tokens_of(facts: DrawFacts, cell: SessionCell) -> int | None:
    """Return the tokens of a draw: those of its cell, or those that the server counted."""
    return facts.prompt_tokens if cell.tokens is None else cell.tokens


def usd_of(facts: DrawFacts, cell: SessionCell) -> float | None:
    """Return the price of an answered draw; None when it is unknown."""
    tokens = tokens_of(facts, cell)
    if tokens is None or not cell.usd_per_million_tokens:
        return None
    return tokens * cell.usd_per_million_tokens / 1e6


@dataclass(slots=True)
class Tally:
    """The summary of a cell's draws, as they come."""

    cell: SessionCell
    _totals: list[float] = field(default_factory=list[float])
    _invalid: int = 0
    _missed: int = 0
    _models: set[str] = field(default_factory=set[str])
    _fingerprints: set[str] = field(default_factory=set[str])
    _backends: set[str] = field(default_factory=set[str])
    _latencies_s: list[float] = field(default_factory=list[float])
    _usd: list[float] = field(default_factory=list[float])
    _is_priced: bool = True
    _cached: int | None = None

    def take(self, outcome: DrawOutcome) -> None:
        """Add a draw."""
        match outcome:
            case Draw():
                self._totals.append(outcome.total)
                self._take_call(outcome.facts)
            case InvalidDraw():
                self._invalid += 1
                self._take_call(outcome.facts)
            case MissedDraw():
                self._missed += 1
            case _:
                assert_never(outcome)

    def take_control(self, outcome: DrawOutcome) -> None:
        """Add a draw of another prompt, of which only the price counts."""
        if not isinstance(outcome, MissedDraw):
            self._take_price(outcome.facts)

    def summary(self) -> CellSession:
        """Return the summary of the draws so far."""
        latencies = self._latencies_s
        return CellSession(
            cell=self.cell,
            totals=tuple(self._totals),
            invalid=self._invalid,
            missed=self._missed,
            models=_sorted(self._models),
            fingerprints=_sorted(self._fingerprints),
            backends=_sorted(self._backends),
            latency_ms=median(latencies) * 1e3 if latencies else None,
            usd=math.fsum(self._usd) if self._usd and self._is_priced else None,
            cached_tokens=self._cached,
        )

    def _take_call(self, facts: DrawFacts) -> None:
        self._models.add(facts.model)
        self._fingerprints.add(facts.fingerprint)
        self._backends.add(facts.backend)
        self._latencies_s.append(facts.latency_s)
        if facts.cached_tokens is not None:
            self._cached = (self._cached or 0) + facts.cached_tokens
        self._take_price(facts)

    def _take_price(self, facts: DrawFacts) -> None:
        usd = usd_of(facts, self.cell)
        if usd is None:
            self._is_priced = False
        else:
            self._usd.append(usd)


def summarise(cell: SessionCell, draws: Iterable[DrawOutcome]) -> CellSession:
    """Return the summary of a cell's draws in one session, in the order in which they came."""
    tally = Tally(cell)
    for draw in draws:
        tally.take(draw)
    return tally.summary()


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(filter(None, texts)))
