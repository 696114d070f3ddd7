"""Read what the history of a suite shows over time."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import groupby
from statistics import median
from typing import Final

from repro_gate.checks.history.weights import pair_histories
from repro_gate.core.history import CellSession, Session, SessionCell, SessionKind
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.draw import Draw
from repro_gate.core.logprobs.policy import LogprobSuite
from repro_gate.core.timeline import (
    CellLine,
    Change,
    ChangeKind,
    Outlier,
    Point,
    ServiceLine,
    ServicePoint,
    Timeline,
)
from repro_gate.core.watch.status import WatchStatus
from repro_gate.ports import Purpose
from repro_gate.ports.history import HistoryReader
from repro_gate.statistics.cell import band_of
from repro_gate.statistics.permutation import as_array
from repro_gate.statistics.sessions import floors_of

MAX_OUTLIERS: Final = 200
"""The farthest ones are listed with their calls; all of them are counted."""


def read_timeline(
    suite: LogprobSuite,
    *,
    history: HistoryReader,
    cells: Collection[str] | None = None,
    baselines: Mapping[str, Baseline],
    watch: WatchStatus | None = None,
) -> Timeline:
    """Return the sessions, cells, changes, outliers and weights of a suite over time.

    Args:
        suite: its policies, and the plan of its weights.
        history: where the sessions are.
        cells: the ids of the cells to show; None for all in the history.
        baselines: of its cells, by id; they give the bands.
        watch: the status of its watch; None when it is not watched.

    Raises:
        InputInvalid: a part of the history is broken.
    """
    found = _Gathered()
    pairs = pair_histories(suite.weights, {cell.policy.name: None for cell in suite.cells})
    for session, parts in groupby(_points(suite, history, cells), key=lambda each: each[0]):
        index = found.add(session, [part for _, part in parts])
        if session.kind is not SessionKind.CALIBRATION:
            for pair in pairs:
                pair.add(index, found.medians)
    drawn = set(found.sessions)
    return Timeline(
        suite=suite.name,
        sessions=tuple(found.sessions),
        empty=tuple(
            each
            for each in history.sessions(suite.name)
            if each.suite == suite.name and each not in drawn
        ),
        cells=tuple(found.cell_lines(suite, baselines)),
        services=tuple(found.service_lines()),
        changes=tuple(found.changes),
        outliers=tuple(_outliers(found, history)),
        pairs=tuple(pair.line() for pair in pairs),
        watch=watch,
    )


def _points(
    suite: LogprobSuite, history: HistoryReader, cells: Collection[str] | None
) -> Iterator[tuple[Session, CellSession]]:
    """Yield the cells of the suite; a session of no suite may have others too."""
    ours = {cell.id for cell in suite.cells}
    for session, part in history.points(suite.name, cells=cells):
        if session.suite is not None or part.cell.id in ours:
            yield session, part


@dataclass(slots=True)
class _Gathered:
    """What was read so far."""

    sessions: list[Session] = field(default_factory=list[Session])
    cells: dict[str, SessionCell] = field(default_factory=dict[str, SessionCell])
    """By id, as the last session with it has them."""
    points: dict[str, list[Point]] = field(default_factory=lambda: defaultdict(list))
    services: dict[str, list[ServicePoint]] = field(default_factory=lambda: defaultdict(list))
    changes: list[Change] = field(default_factory=list[Change])
    medians: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Of the last session, by policy and item."""
    answered: dict[tuple[str, ChangeKind], tuple[str, ...]] = field(
        default_factory=dict[tuple[str, ChangeKind], tuple[str, ...]]
    )
    """The last answer of each policy."""
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """All backends of each policy so far."""

    def add(self, session: Session, parts: Iterable[CellSession]) -> int:
        """Add all cells of one session and return its index."""
        index = len(self.sessions)
        self.sessions.append(session)
        self.medians = defaultdict(dict)
        by_policy: dict[str, list[CellSession]] = defaultdict(list)
        for part in parts:
            by_policy[part.cell.policy].append(part)
            self._add_cell(index, part)
        for policy, of_policy in by_policy.items():
            self.services[policy].append(_service_of(index, of_policy))
            self.changes += self._changes(index, policy, of_policy)
        return index

    def _add_cell(self, index: int, part: CellSession) -> None:
        cell, far = part.cell, part.far
        self.cells[cell.id] = cell
        self.points[cell.id].append(
            Point(
                session=index,
                totals=part.totals,
                far=far,
                invalid=part.invalid,
                missed=part.missed,
                verdict=cell.verdict,
            )
        )
        if part.totals:
            # Where most draws are far, the cell has shifted and none is an outlier.
            is_shifted = 2 * len(far) > len(part.totals)
            kept = part.totals if is_shifted else [t for t in part.totals if t not in far]
            self.medians[cell.policy][cell.item] = median(kept)

    def _changes(self, index: int, policy: str, parts: Iterable[CellSession]) -> Iterator[Change]:
        """Yield models and fingerprints that the session before had not, and new backends."""
        parts = list(parts)
        found = {
            ChangeKind.MODEL: _distinct(part.models for part in parts),
            ChangeKind.FINGERPRINT: _distinct(part.fingerprints for part in parts),
            ChangeKind.BACKEND: _distinct(part.backends for part in parts),
        }
        for kind, after in found.items():
            before = self.answered.get((policy, kind), ())
            known = self.seen[policy] if kind is ChangeKind.BACKEND else before
            if before and not set(after).issubset(known):
                yield Change(session=index, policy=policy, kind=kind, before=before, after=after)
            if after:
                self.answered[policy, kind] = after
        self.seen[policy].update(found[ChangeKind.BACKEND])

    def cell_lines(
        self, suite: LogprobSuite, baselines: Mapping[str, Baseline]
    ) -> Iterator[CellLine]:
        """Yield each cell over time, with the band of the median of a look."""
        draws, floor = suite.tolerance.draws, suite.tolerance.floor_nats
        for cell in self._ordered(suite):
            baseline = baselines.get(cell.id)
            yield CellLine(
                cell=cell.id,
                policy=cell.policy,
                item=cell.item,
                center=baseline.noise.center if baseline else cell.center,
                band=_band(baseline, draws, floor) if baseline else None,
                points=tuple(self.points[cell.id]),
            )

    def _ordered(self, suite: LogprobSuite) -> list[SessionCell]:
        """Return the cells in the order of the matrix, those of a policy together."""
        policies = dict.fromkeys([*(cell.policy.name for cell in suite.cells), *self.services])
        places = {name: place for place, name in enumerate(policies)}
        items = {cell.id: place for place, cell in enumerate(suite.cells)}
        return sorted(
            self.cells.values(),
            key=lambda cell: (places[cell.policy], items.get(cell.id, len(items)), cell.id),
        )

    def service_lines(self) -> Iterator[ServiceLine]:
        """Yield latency and cost of each policy over time."""
        for policy, points in self.services.items():
            yield ServiceLine(policy=policy, points=tuple(points))

    def farthest(self) -> dict[int, list[str]]:
        """Return the sessions with the farthest outliers, and the cells that have them."""
        far = (
            (abs(total - (self.cells[name].center or 0.0)), point.session, name)
            for name, points in self.points.items()
            for point in points
            for total in point.far
        )
        found: dict[int, list[str]] = defaultdict(list)
        for _, session, name in nlargest(MAX_OUTLIERS, far):
            found[session].append(name)
        return found


def _service_of(index: int, parts: Iterable[CellSession]) -> ServicePoint:
    parts = list(parts)
    latencies = [part.latency_ms for part in parts if part.latency_ms is not None]
    usd = [part.usd for part in parts if part.usd is not None]
    cached = [part.cached_tokens for part in parts if part.cached_tokens is not None]
    return ServicePoint(
        session=index,
        latency_ms=median(latencies) if latencies else None,
        usd=sum(usd) if len(usd) == len(parts) else None,
        cached_tokens=sum(cached) if cached else None,
    )


def _distinct(texts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({text for some in texts for text in some}))


def _outliers(found: _Gathered, history: HistoryReader) -> Iterator[Outlier]:
    """Yield the farthest outliers with their calls, newest first."""
    for index, cells in sorted(found.farthest().items(), reverse=True):
        for draw in history.draws(found.sessions[index], cells=set(cells)):
            # A control has another prompt, so its sum is far.
            is_control = draw.purpose == Purpose.CONTROL.value
            if isinstance(draw.outcome, Draw) and draw.is_far and not is_control:
                total = draw.outcome.total
                distance = total - (draw.cell.center or 0.0)
                yield Outlier(
                    session=index,
                    cell=draw.cell.id,
                    total=total,
                    distance=distance,
                    facts=draw.facts,
                )


def _band(baseline: Baseline, draws: int, floor: float) -> float:
    """Return the allowed shift of the median of the sum, as a check does."""
    calibration = as_array(baseline.draws)
    return band_of(calibration, draws, floor=floors_of(calibration, baseline.sizes, floor=floor))
