"""The charts of a history: each has one time axis, that of all sessions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from repro_gate.core.history import SessionKind
from repro_gate.core.logprobs.error_rates import MIN_SIZE_SHARE
from repro_gate.core.timeline import CellLine, ChangeKind, PairLine, Point, ServiceLine, Timeline
from repro_gate.reports.html.charts import Chart, Kind, dates_of, drawn, time_axis, usual_gap
from repro_gate.reports.html.svg import MAX_DOTS, Axis, Column, Plot
from repro_gate.reports.text.format import amount, nats, shifted

_HEIGHT: Final = 90
_LANE: Final = (95, 104)
"""Where ticks are, below the values."""
_LOW_HEIGHT: Final = 58
_MAX_LINES: Final = 12
"""More changes of one kind are ticks below the chart: lines would cover it."""
_BANDS: Final = (3, 12)
"""How many bands the axis has to each side: at least, and at most where medians are farther."""
_MIN_LIMIT_NATS: Final = 0.01
_NEAR_SHARE: Final = 0.98
_KINDS: Final = {
    ChangeKind.MODEL: Kind.MODEL,
    ChangeKind.FINGERPRINT: Kind.FINGERPRINT,
    ChangeKind.BACKEND: Kind.BACKEND,
}


@dataclass(frozen=True, slots=True)
class Charts:
    """The charts of one timeline."""

    timeline: Timeline
    times: tuple[float, ...]
    axis: Axis
    dates: tuple[str, ...]

    @classmethod
    def of(cls, timeline: Timeline) -> "Charts":
        """Return the charts of a timeline."""
        times = timeline.times()
        axis = time_axis(times)
        return cls(timeline, times, axis, dates_of(axis))

    def _plot(self, values: Axis, height: float) -> Plot:
        is_dense = len(self.times) > MAX_DOTS
        return Plot(times=self.axis, values=values, height=height, is_dense=is_dense)

    def sessions(self) -> Chart:
        """Return the times of all sessions, a lane for each kind."""
        plot = self._plot(Axis(0, 1), _LOW_HEIGHT)
        step = _LOW_HEIGHT / 4
        lanes = [
            (Kind.MIDDLE, [self._is(number, SessionKind.NIGHT) for number in self._numbers()]),
            (Kind.SESSION, [self._is(number, SessionKind.CHECK) for number in self._numbers()]),
            (
                Kind.SESSION,
                [self._is(number, SessionKind.CALIBRATION) for number in self._numbers()],
            ),
            (Kind.GAP, [not session.is_closed for session in self.timeline.sessions]),
        ]
        paths = [
            (
                kind,
                plot.down(
                    (plot.x(time) for time, is_in in zip(self.times, shown, strict=True) if is_in),
                    start=step * lane + 2,
                    end=step * (lane + 1) - 2,
                ),
            )
            for lane, (kind, shown) in enumerate(lanes)
        ]
        return Chart(
            label="Times of the sessions; the table of sessions has them",
            size="low",
            height=_LOW_HEIGHT,
            paths=drawn(paths),
            axis=("nights", "checks", "baselines", "cut off"),
            dates=self.dates,
        )

    def cell(self, line: CellLine) -> Chart:
        """Return the draws and medians of a cell, with its band."""
        values = value_axis(line)
        plot = self._plot(values, _HEIGHT)
        placed = [(self.times[each.session], each.totals) for each in line.points if each.totals]
        columns = plot.columns(placed)
        medians = plot.columns((time, (median(totals),)) for time, totals in placed)
        center = line.center or 0.0
        return Chart(
            label=f"Draws of {line.cell} over time; its figures are beside its name",
            size="tall",
            height=_LANE[1],
            paths=drawn(
                (
                    *_band(plot, line),
                    *_draws(plot, columns),
                    *self._marks(plot, line.policy, line.cell),
                    *_medians(plot, medians),
                    *_outside(plot, medians, line),
                    (Kind.OUTLIER, plot.dots(self._far(plot, line.points))),
                    (Kind.GAP, self._gaps(plot, line.points)),
                )
            ),
            axis=tuple(_relative(value, line) for value in (values.high, center, values.low))
            if line.center is not None
            else (nats(values.high), nats(values.low)),
            dates=self.dates,
        )

    def latency(self, line: ServiceLine) -> Chart:
        """Return the latency of a policy over time."""
        points = [(point.session, point.latency_ms) for point in line.points]
        return self._series(points, label=f"Latency of {line.policy} over time", policy=line.policy)

    def cost(self, line: ServiceLine) -> Chart:
        """Return the cost of a policy's draws over time."""
        points = [(point.session, point.usd) for point in line.points]
        return self._series(points, label=f"Cost of {line.policy} over time", policy=line.policy)

    def size_share(self, pair: PairLine) -> Chart:
        """Return the effective size of a pair of policies over time, as a share of the items."""
        points = [(point.session, 100 * point.summary.size_share) for point in pair.points]
        label = f"Effective sample size of {pair.target} / {pair.base} over time"
        return self._series(
            points,
            label=label,
            policy=pair.target,
            high=100,
            limit=100 * MIN_SIZE_SHARE,
        )

    def khat(self, pair: PairLine) -> Chart:
        """Return the k-hat of a pair of policies over time."""
        points = [(point.session, point.khat) for point in pair.points]
        bars = [point.khat_bar for point in pair.points if point.khat_bar is not None]
        return self._series(
            points,
            label=f"k-hat of {pair.target} / {pair.base} over time",
            policy=pair.target,
            high=1,
            limit=bars[-1] if bars else None,
        )

    def _series(
        self,
        points: Iterable[tuple[int, float | None]],
        *,
        label: str,
        policy: str,
        high: float = 0.0,
        limit: float | None = None,
    ) -> Chart:
        """Return a chart of one number in each session, from 0."""
        known = [(self.times[session], (value,)) for session, value in points if value is not None]
        top = max([high, *(value for _, (value,) in known)]) or 1.0
        low = min([0.0, *(value for _, (value,) in known)])
        plot = self._plot(Axis(low, top), _LOW_HEIGHT)
        columns = plot.columns(known)
        return Chart(
            label=label,
            size="low",
            height=_LOW_HEIGHT,
            paths=drawn(
                (
                    (Kind.ZERO, plot.across(low)),
                    *self._marks(plot, policy, None),
                    (Kind.LIMIT, plot.across(limit) if limit is not None else ""),
                    *_draws(plot, columns),
                    *_medians(plot, columns),
                )
            ),
            axis=(amount(top), amount(low)),
            dates=self.dates,
        )

    def _marks(self, plot: Plot, policy: str, cell: str | None) -> Iterator[tuple[Kind, str]]:
        """Yield the changes of a policy, its baselines, and the starts of alarms."""
        for change, kind in _KINDS.items():
            places = [
                plot.x(self.times[each.session])
                for each in self.timeline.changes
                if each.policy == policy and each.kind is change
            ]
            start, end = (0.0, plot.height) if len(places) <= _MAX_LINES else _LANE
            yield kind, plot.down(places, start=start, end=end)
        yield Kind.START, plot.down(self._starts(plot, cell), end=plot.height)

    def _starts(self, plot: Plot, cell: str | None) -> Iterator[float]:
        """Yield where an alarm of the suite or of a cell places the start of the change."""
        by_key = {
            each.key: time for each, time in zip(self.timeline.sessions, self.times, strict=True)
        }
        for alarm in self.timeline.alarms:
            if alarm.level.stream.cell in {None, cell} and alarm.start.key in by_key:
                yield plot.x(by_key[alarm.start.key])

    def _far(self, plot: Plot, points: Iterable[Point]) -> Iterator[tuple[float, float]]:
        """Yield the outliers; of a session that has only distant draws they are its draws."""
        for point in points:
            for total in point.far:
                yield plot.x(self.times[point.session]), total

    def _gaps(self, plot: Plot, points: Iterable[Point]) -> str:
        empty = (plot.x(self.times[point.session]) for point in points if not point.totals)
        return plot.down(empty, start=_LANE[0], end=_LANE[1])

    def _numbers(self) -> range:
        return range(len(self.timeline.sessions))

    def _is(self, number: int, kind: SessionKind) -> bool:
        return self.timeline.sessions[number].kind is kind


def value_axis(line: CellLine) -> Axis:
    """Return the axis of a cell: scaled to its band, so that a small step is seen."""
    medians = sorted(line.medians)
    if line.center is None:
        low, high = (medians[0], medians[-1]) if medians else (-1.0, 0.0)
        margin = max(_MIN_LIMIT_NATS, (high - low) / 10)
        return Axis(low - margin, high + margin)
    center = line.center
    distances = sorted(abs(value - center) for value in medians)
    near = distances[int(_NEAR_SHARE * (len(distances) - 1))] if distances else 0.0
    limit = 1.15 * near
    if line.band:
        least, most = _BANDS
        limit = min(max(limit, least * line.band), most * line.band)
    limit = max(limit, _MIN_LIMIT_NATS)
    return Axis(center - limit, center + limit)


def _relative(value: float, line: CellLine) -> str:
    return shifted(round(value - (line.center or 0.0), 4)) if value != line.center else "0"


def _band(plot: Plot, line: CellLine) -> Iterator[tuple[Kind, str]]:
    if line.center is not None:
        if line.band is not None:
            yield Kind.BAND, plot.area(line.center - line.band, line.center + line.band)
        yield Kind.ZERO, plot.across(line.center)


def _draws(plot: Plot, columns: Sequence[Column]) -> Iterator[tuple[Kind, str]]:
    """Yield single draws, or their range where they are too many."""
    if plot.is_dense:
        yield Kind.SPREAD, plot.spread(columns)
    else:
        yield Kind.DRAWS, plot.dots((x, value) for x, values in columns for value in values)


def _medians(plot: Plot, columns: Sequence[Column]) -> Iterator[tuple[Kind, str]]:
    """Yield a line through the medians, and their range where they are too many."""
    if plot.is_dense:
        yield Kind.MIDDLE, plot.spread([each for each in columns if min(each[1]) < max(each[1])])
    yield Kind.MIDDLE, plot.middle(columns, gap=usual_gap(columns))


def _outside(plot: Plot, columns: Sequence[Column], line: CellLine) -> Iterator[tuple[Kind, str]]:
    """Yield the medians that are beyond the band."""
    if line.center is None or line.band is None:
        return
    low, high = line.center - line.band, line.center + line.band
    if plot.is_dense:
        yield Kind.EDGE, plot.across(low) + plot.across(high)
        yield Kind.BEYOND, plot.beyond(columns, high, above=True)
        yield Kind.BEYOND, plot.beyond(columns, low, above=False)
        return
    every = ((x, value) for x, values in columns for value in values)
    yield Kind.OUTSIDE, plot.dots((x, value) for x, value in every if not low <= value <= high)
