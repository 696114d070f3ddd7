"""The rule of the watch: what the nights of an epoch show.

Nothing is stored between nights: the state is computed from all nights every time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from repro_gate.core.logprobs.baseline import RESOLUTION_NATS
from repro_gate.core.logprobs.baseline_format import rounded
from repro_gate.core.watch.epoch import Epoch, Watch
from repro_gate.core.watch.night import Counted, Night, count_nights, kept_nights
from repro_gate.core.watch.state import (
    LEARNING_NIGHTS,
    WARNING_SHARE,
    Alarm,
    Direction,
    Level,
    Sight,
    Stream,
    StreamKind,
    WatchReport,
    WatchState,
    streams_of,
    thresholds_of,
)
from repro_gate.statistics.night_ranks import (
    Counts,
    earlier_at_least,
    evidence_of,
    nights_to_alarm,
    start_of,
)
from repro_gate.statistics.permutation import Floats

_DECIMALS: Final = 5
"""Of a value of a stream, so that ties are ties."""
_NOISE_DECIMALS: Final = 9
"""Beyond these a float holds only the error of its computation."""
_SIZED_BY: Final = {
    StreamKind.MEDIAN: StreamKind.MEDIAN,
    StreamKind.MEAN: StreamKind.MEAN,
    StreamKind.CHANGED: StreamKind.MEDIAN,
    StreamKind.FAR: StreamKind.MEAN,
}
"""The kind that gives the effect in nats."""
_LARGEST: Final = 5
"""Reported levels that are no alarm."""
_USUAL_SHARE: Final = 0.1
"""A night is among the earlier ones again when more than this share of them is as far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """A number of each night for each kind of stream."""

    cells: Mapping[StreamKind, Floats]
    """Nights x cells."""
    suite: Mapping[StreamKind, Floats]
    """One for each night."""

    def of(self, kind: StreamKind, place: int | None) -> Floats:
        """Return those of the cell at a place, or of the suite."""
        return self.suite[kind] if place is None else self.cells[kind][:, place]


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """What the counted nights give."""

    watch: Watch
    nights: tuple[Night, ...]
    """Without dismissed ones."""
    restarts: tuple[int, ...]
    """Indices of the nights after dismissed ones; the last may be of the night to come."""
    sizes: _Sizes
    streams: tuple[Stream, ...]
    thresholds: Floats
    """Of each stream."""
    values: Floats
    """Nights x streams; large is suspicious."""
    counts: Counts
    evidence: Floats

    def place_of(self, stream: Stream) -> int | None:
        """Return the place of the cell of a stream, or None for the suite."""
        return None if stream.cell is None else tuple(self.watch.epoch.cells).index(stream.cell)


def evaluate(watch: Watch, nights: Iterable[Night]) -> WatchReport:
    """Judge the nights of a watch.

    Args:
        watch: the epoch and the dismissals.
        nights: all stored nights of the epoch, in any order, those that cannot count included.
    """
    counted = count_nights(watch.epoch, nights)
    history = _history(watch, counted)
    alarms = _alarms(history)
    return WatchReport(
        state=_state(history, alarms, counted),
        since=_since(history, alarms, counted),
        nights=len(history.nights),
        last=counted.nights[-1] if counted.nights else None,
        alarms=alarms,
        largest=_largest(history),
        sight=_sight(history),
        returned=_returned(history, alarms),
        uncounted=counted.uncounted,
        unknown=_unknown(counted),
        notes=tuple(_notes(history, counted)),
    )


def _history(watch: Watch, counted: Counted) -> _History:
    nights = kept_nights(watch, counted.nights)
    streams = streams_of(watch.epoch)
    suite, cell = thresholds_of(watch.epoch)
    sizes = _sizes(watch.epoch, nights)
    values = _values(sizes, watch.epoch, streams)
    counts = earlier_at_least(values)
    restarts = _restarts(watch, counted.nights)
    return _History(
        watch=watch,
        nights=nights,
        restarts=restarts,
        sizes=sizes,
        streams=streams,
        thresholds=np.array([suite if one.cell is None else cell for one in streams]),
        values=values,
        counts=counts,
        evidence=evidence_of(counts, restarts),
    )


def _restarts(watch: Watch, nights: Iterable[Night]) -> tuple[int, ...]:
    """Return how many kept nights precede the end of each row of dismissed ones."""
    kept, restarts = 0, set[int]()
    for night in nights:
        if night.key in watch.dismissed:
            restarts.add(kept)
        else:
            kept += 1
    return tuple(sorted(restarts))


def _sizes(epoch: Epoch, nights: Iterable[Night]) -> _Sizes:
    totals = np.array([[night.totals[cell] for cell in epoch.cells] for night in nights])
    references = [cell.reference for cell in epoch.cells.values()]
    centers = np.array([[reference.value] for reference in references])
    bars = np.array([[reference.far] for reference in references])
    raw: Floats = totals.reshape(-1, len(references), epoch.draws) - centers
    distances: Floats = raw.round(_NOISE_DECIMALS)
    medians = np.median(distances, axis=2)
    clipped: Floats = np.minimum(np.maximum(distances, -bars), bars)
    cells: dict[StreamKind, Floats] = {
        StreamKind.MEDIAN: medians,
        StreamKind.MEAN: clipped.mean(axis=2),
        StreamKind.CHANGED: (np.abs(distances) > RESOLUTION_NATS).mean(axis=2, dtype=np.float64),
        StreamKind.FAR: (np.abs(distances) > bars).mean(axis=2, dtype=np.float64),
    }
    suite = cells | {StreamKind.MEDIAN: np.clip(medians, -bars[:, 0], bars[:, 0])}
    return _Sizes(
        cells={kind: _rounded(sizes) for kind, sizes in cells.items()},
        suite={kind: _rounded(sizes.mean(axis=1)) for kind, sizes in suite.items()},
    )


def _rounded(sizes: Floats) -> Floats:
    # In two steps, so that an error of the computation never decides how a half is rounded.
    return sizes.round(_NOISE_DECIMALS).round(_DECIMALS)


def _values(sizes: _Sizes, epoch: Epoch, streams: Iterable[Stream]) -> Floats:
    """Return nights x streams."""
    places: dict[str | None, int | None] = {None: None}
    places.update((cell, place) for place, cell in enumerate(epoch.cells))
    signs = {Direction.UP: 1, Direction.DOWN: -1}
    return np.column_stack(
        [signs[one.direction] * sizes.of(one.kind, places[one.cell]) for one in streams]
    )


def _alarms(history: _History) -> tuple[Alarm, ...]:
    """Return the alarms in the order of their nights, then by evidence."""
    excess = history.evidence / history.thresholds
    streams = np.flatnonzero((excess >= 1).any(axis=0))
    raised = [(int((excess[:, stream] >= 1).argmax()), int(stream)) for stream in streams]
    raised.sort(key=lambda each: (each[0], -excess[each]))
    return tuple(_alarm(history, night, stream) for night, stream in raised)


def _alarm(history: _History, night: int, column: int) -> Alarm:
    start = start_of(history.counts[: night + 1, column], history.restarts)
    stream = history.streams[column]
    before, after = _medians(history.sizes.of(stream.kind, history.place_of(stream)), start)
    effect = _effect(history, stream, start)
    return Alarm(
        level=_level(history, night, column),
        night=history.nights[night],
        start=history.nights[start],
        before=rounded(float(before)),
        after=rounded(float(after)),
        effect=effect,
        is_drift=stream.kind is StreamKind.FAR or abs(effect) >= history.watch.epoch.floor_nats,
    )


def _level(history: _History, night: int, column: int) -> Level:
    return Level(
        stream=history.streams[column],
        evidence=float(history.evidence[night, column]),
        threshold=float(history.thresholds[column]),
    )


def _effect(history: _History, stream: Stream, start: int) -> float:
    """Return the shift since the start, in nats, of what a stream is about.

    Where cells may have moved in both directions, it is the mean of their absolute shifts, with the
    sign of the mean.
    """
    kind, place = _SIZED_BY[stream.kind], history.place_of(stream)
    if stream.kind is StreamKind.CHANGED and place is None:
        before, after = _medians(history.sizes.cells[kind], start)
        moved = after - before
        return rounded(float(np.copysign(np.abs(moved).mean(), moved.mean())))
    before, after = _medians(history.sizes.of(kind, place), start)
    return rounded(float(after - before))


def _medians(sizes: Floats, start: int) -> tuple[Floats, Floats]:
    """Return the medians of the nights before the start, and of those since."""
    return np.median(sizes[:start], axis=0), np.median(sizes[start:], axis=0)


def _state(history: _History, alarms: Sequence[Alarm], counted: Counted) -> WatchState:
    if any(alarm.is_drift for alarm in alarms):
        return WatchState.DRIFT
    if _unknown(counted) is not None:
        return WatchState.UNKNOWN
    return WatchState.CHANGED if alarms else _state_after(history, len(history.nights))


def _state_after(history: _History, nights: int) -> WatchState:
    """Return the state after so many nights without an alarm."""
    bars = WARNING_SHARE * history.thresholds
    if nights not in history.restarts and (history.evidence[nights - 1] >= bars).any():
        return WatchState.WARNING
    return WatchState.LEARNING if nights < LEARNING_NIGHTS else WatchState.QUIET


def _since(history: _History, alarms: Sequence[Alarm], counted: Counted) -> str | None:
    if alarms:
        return alarms[0].night.date
    if counted.pending or not counted.nights:
        return counted.pending[0].night.date if counted.pending else None
    first, last = max((0, *history.restarts)), len(history.nights)
    if first == last:
        return max(dismissal.at for dismissal in history.watch.dismissals)[:10]
    state = _state_after(history, last)
    while last - 1 > first and _state_after(history, last - 1) is state:
        last -= 1
    return history.nights[last - 1].date


def _unknown(counted: Counted) -> str | None:
    if counted.pending:
        first = counted.pending[0]
        return f"the night {first.night.key} does not count: {first.reason}"
    return None if counted.nights else "no complete night is in the history"


def _largest(history: _History) -> tuple[Level, ...]:
    if len(history.nights) in (0, *history.restarts):
        return ()
    excess = history.evidence / history.thresholds
    calm = np.flatnonzero((excess < 1).all(axis=0) & (excess[-1] > 0))
    order = calm[np.argsort(-excess[-1, calm], kind="stable")][:_LARGEST]
    return tuple(_level(history, -1, int(column)) for column in order)


def _sight(history: _History) -> Sight:
    nights = len(history.nights)
    suite, cell = thresholds_of(history.watch.epoch)
    return Sight(
        nights=nights, suite=nights_to_alarm(nights, suite), cell=nights_to_alarm(nights, cell)
    )


def _returned(history: _History, alarms: Sequence[Alarm]) -> Night | None:
    """Return since when the alarming streams are among the nights before the change again."""
    if not alarms:
        return None
    is_usual = np.ones(len(history.nights), dtype=np.bool_)
    for alarm in alarms:
        values = history.values[:, history.streams.index(alarm.level.stream)]
        before = values[: history.nights.index(alarm.start)]
        extreme = 1 + (before >= values[:, np.newaxis]).sum(axis=1)
        is_usual &= extreme > _USUAL_SHARE * (1 + len(before))
    since = 1 + int(np.flatnonzero(~is_usual).max(initial=0))
    return history.nights[since] if since < len(history.nights) else None


def _notes(history: _History, counted: Counted) -> Iterator[str]:
    epoch, nights = history.watch.epoch, len(counted.nights)
    if nights > epoch.nights:
        rate = epoch.rate * nights / epoch.nights
        yield (
            f"the rate of {epoch.rate:.2g} is for {epoch.nights} nights; "
            f"for the {nights} nights of this epoch it is {rate:.2g}"
        )
    known = {night.key for night in counted.nights}
    for key in sorted(history.watch.dismissed - known):
        yield f"the dismissed night {key} is not among the nights that count"
