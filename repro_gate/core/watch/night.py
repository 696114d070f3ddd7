"""The nights of an epoch, and which of them count."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from repro_gate.core.guards import require_finite, require_text
from repro_gate.core.watch.epoch import RULE, Epoch, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One session of draws for a watch, as it was stored."""

    key: str
    date: str
    """The UTC date of its start, as YYYY-MM-DD."""
    started_at: str
    """ISO 8601, UTC."""
    totals: Mapping[str, tuple[float, ...]]
    """The sums of the valid draws of each cell, in nats."""
    problem: str | None = None
    """Why it cannot count, such as that it was interrupted; None when nothing is known."""

    def __post_init__(self) -> None:
        require_text(key=self.key, started_at=self.started_at)
        date.fromisoformat(self.date)
        require_finite(**self.totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncounted:
    """A stored night that does not count."""

    night: Night
    reason: str

    def __post_init__(self) -> None:
        require_text(reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The nights of an epoch, in order."""

    nights: tuple[Night, ...]
    """Those that count, dismissed ones included."""
    uncounted: tuple[Uncounted, ...]

    @property
    def pending(self) -> tuple[Uncounted, ...]:
        """The uncounted nights of later dates than all that count."""
        last = self.nights[-1].date if self.nights else ""
        return tuple(each for each in self.uncounted if each.night.date > last)


def count_nights(epoch: Epoch, nights: Iterable[Night]) -> Counted:
    """Choose the nights that count: the first complete one of each UTC date.

    No choice depends on a log-probability, so the nights stay exchangeable.
    """
    counted: dict[str, Night] = {}
    uncounted: list[Uncounted] = []
    for night in sorted(nights, key=lambda each: (each.date, each.started_at, each.key)):
        problem = _problem_of(night, epoch)
        first = counted.get(night.date)
        if problem is None and first is not None:
            problem = f"{first.key} is the night of {night.date}"
        if problem is None:
            counted[night.date] = night
        else:
            uncounted.append(Uncounted(night=night, reason=problem))
    return Counted(nights=tuple(counted.values()), uncounted=tuple(uncounted))


def kept_nights(watch: Watch, nights: Iterable[Night]) -> tuple[Night, ...]:
    """Return the nights that were not dismissed."""
    return tuple(night for night in nights if night.key not in watch.dismissed)


def _problem_of(night: Night, epoch: Epoch) -> str | None:
    """Return why a night cannot count, or None."""
    if epoch.rule != RULE:
        return f"the epoch is for the rule {epoch.rule}, and this version has {RULE}"
    if night.problem is not None:
        return night.problem
    if missing := sorted(epoch.cells.keys() - night.totals.keys()):
        return f"{missing[0]} has no draws"
    if others := sorted(night.totals.keys() - epoch.cells.keys()):
        return f"{others[0]} is no cell of the epoch"
    for cell, totals in night.totals.items():
        if len(totals) != epoch.draws:
            return f"{cell} has {len(totals)} draws, and the epoch {epoch.draws}"
    return None
