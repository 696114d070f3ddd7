"""Simulated histories of a hosted model: many nights, a change, outliers, new backends."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from repro_gate.core.history import (
    CellSession,
    KeptDraw,
    Session,
    SessionCell,
    SessionKind,
    summarise,
)
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.draw import Draw, DrawFacts, DrawOutcome, MissedDraw
from repro_gate.core.logprobs.policy import LogprobSuite, WeightPlan
from repro_gate.core.watch.epoch import Reference, Watch
from repro_gate.core.watch.status import WatchStatus
from repro_gate.ports import Purpose
from repro_gate.statistics.watch import evaluate
from tests.fakes.nights import epoch_of, night_of, watched_cell_of
from tests.fakes.scoring import MODEL, baseline_of, policy_of, suite_of_logprobs

START = datetime(2026, 1, 1, 3, tzinfo=UTC)
EPOCH = "e" * 64
OUTLIER = -156.5
CENTER = -41.5
_BOUND = 8.0


@dataclass(slots=True)
class MemoryHistory:
    """A history in memory."""

    kept: list[tuple[Session, list[CellSession]]] = field(default_factory=list)
    calls: dict[str, list[KeptDraw]] = field(default_factory=dict)
    """By the key of the session, its draws."""

    def sessions(self, suite: str | None = None) -> tuple[Session, ...]:
        """Return all sessions of a suite and of none."""
        return tuple(each for each, _ in self.kept if suite is None or each.suite in {None, suite})

    def points(
        self, suite: str | None = None, *, cells: Collection[str] | None = None
    ) -> Iterator[tuple[Session, CellSession]]:
        """Yield what is kept of each cell."""
        for session, parts in self.kept:
            if suite is None or session.suite in {None, suite}:
                yield from (
                    (session, part) for part in parts if cells is None or part.cell.id in cells
                )

    def draws(
        self, session: Session, *, cells: Collection[str] | None = None
    ) -> Iterator[KeptDraw]:
        """Yield the draws of a session."""
        kept = self.calls.get(session.key, [])
        return (draw for draw in kept if cells is None or draw.cell.id in cells)

    def add(
        self, session: Session, draws: Mapping[str, tuple[SessionCell, list[DrawOutcome]]]
    ) -> None:
        """Add a session with the draws of each cell."""
        self.kept.append((session, [summarise(cell, made) for cell, made in draws.values()]))
        kept = [
            KeptDraw(
                cell=cell, purpose=Purpose.WATCH.value, number=number, line=number, outcome=outcome
            )
            for cell, made in draws.values()
            for number, outcome in enumerate(made, 1)
            if not isinstance(outcome, Draw) or abs(outcome.total - CENTER) > _BOUND
        ]
        if kept:
            self.calls[session.key] = kept


def session_of(day: int = 0, *, kind: SessionKind = SessionKind.NIGHT) -> Session:
    """Return a closed session of a day."""
    started = START + timedelta(days=day)
    is_night = kind is SessionKind.NIGHT
    return Session(
        key=f"{started.date()}-{1000 + day}-1",
        kind=kind,
        suite="hosted",
        epoch=EPOCH if is_night else None,
        started_at=started.isoformat(),
        tool="1.0.0",
        is_closed=True,
    )


def cell_of(policy: str = "base", item: str = "item-0", **changes: str) -> SessionCell:
    """Return a cell as a session keeps it."""
    return SessionCell(
        id=f"{policy}--{item}",
        policy=policy,
        item=item,
        tokens=120,
        usd_per_million_tokens=0.9,
        center=CENTER,
        bound=_BOUND,
        verdict=changes.get("verdict"),
    )


def draw_of(total: float, **facts: str) -> Draw:
    """Return a draw with a sum, and the metadata of its call."""
    headers = {name.replace("_", "-"): text for name, text in facts.items() if "host" in name}
    fingerprint = facts.get("fingerprint", "fp-1")
    return Draw(
        logprobs=(total,),
        facts=DrawFacts(
            at=facts.get("at", START.isoformat(timespec="milliseconds")),
            model=facts.get("model", MODEL),
            request_id=facts.get("request_id", "req-1"),
            latency_s=float(facts.get("latency_s", "0.4")),
            headers={"backend-host": "host-1", "system_fingerprint": fingerprint} | headers,
        ),
    )


def weighted_suite(items: int = 6) -> LogprobSuite:
    """Return a suite of two policies, whose importance weights are reported."""
    return suite_of_logprobs(
        policies=[policy_of("base"), policy_of("tuned")],
        items=items,
        weights=WeightPlan(base="base"),
    )


def baselines_of(suite: LogprobSuite) -> dict[str, Baseline]:
    """Return a baseline of each cell around its usual value."""
    noise = (0.0, 0.0, 0.02, -0.02, 0.0, 0.01, 0.0, -0.01, 0.0, 0.03)
    return {
        cell.id: baseline_of(cell, [(CENTER + shift,) for shift in noise]) for cell in suite.cells
    }


def watch_status_of(suite: LogprobSuite, history: MemoryHistory) -> WatchStatus:
    """Return the status of a watch over the nights of a history."""
    watch = Watch(
        epoch=replace(
            epoch_of(),
            cells={
                cell.id: watched_cell_of(reference=Reference(value=CENTER, far=_BOUND))
                for cell in suite.cells
            },
        )
    )
    nights = [
        night_of(
            0,
            {part.cell.id: part.totals for part in parts},
            key=session.key,
            date=session.date.isoformat(),
            started_at=session.started_at,
            problem=None if session.is_closed else "it was interrupted",
        )
        for session, parts in history.kept
        if session.kind is SessionKind.NIGHT
    ]
    report = evaluate(watch, nights)
    return WatchStatus(suite=suite.name, watch=watch, report=report, unknown=())


def simulated_history(
    suite: LogprobSuite, *, nights: int, draws: int = 5, seed: int = 1
) -> MemoryHistory:
    """Return nights of a service that mostly repeats itself, with all that can happen to it.

    In the last tenth one item of the target is 0.4 nats lower; half of the way another model
    answers; one night in 40 is cut off; a draw in the first third is far off.
    """
    random, history = Random(seed), MemoryHistory()  # noqa: S311 -- a simulation
    _add_calibration(history, suite, random)
    for night in range(1, nights + 1):
        if random.random() < 0.02:
            continue
        session = session_of(night)
        session = replace(session, is_closed=night % 40 != 39)
        history.add(session, _night(suite, random, night, nights, draws))
    return history


def _add_calibration(history: MemoryHistory, suite: LogprobSuite, random: Random) -> None:
    session = session_of(0, kind=SessionKind.CALIBRATION)
    history.add(session, _night(suite, random, 0, 10**9, 10))


def _night(
    suite: LogprobSuite, random: Random, night: int, nights: int, draws: int
) -> dict[str, tuple[SessionCell, list[DrawOutcome]]]:
    made: dict[str, tuple[SessionCell, list[DrawOutcome]]] = {}
    for cell in suite.cells:
        kept = cell_of(cell.policy.name, cell.item.name)
        is_hit = (cell.policy.name, cell.item.name, night) == ("base", "item-0", nights // 3)
        made[cell.id] = (
            kept,
            [
                _draw(random, kept, night, nights, is_outlier=is_hit and number == 1)
                for number in range(draws)
            ],
        )
    return made


def _draw(
    random: Random, cell: SessionCell, night: int, nights: int, *, is_outlier: bool
) -> DrawOutcome:
    if night and night % 40 == 39 and cell.item == "item-1":
        return MissedDraw(reason="the server gave no answer", remedy="try again")
    at = START + timedelta(days=night, seconds=random.randrange(600))
    noise = random.gauss(0, 0.3) if random.random() < 0.1 else 0.0
    is_late = night > 0.9 * nights and (cell.policy, cell.item) == ("tuned", "item-2")
    drift = -0.4 if is_late else 0.0
    ratio = 3.0 if night > 0.6 * nights and (cell.policy, cell.item) == ("tuned", "item-4") else 0.0
    return draw_of(
        OUTLIER if is_outlier else CENTER + noise + drift + ratio,
        at=at.isoformat(timespec="milliseconds"),
        request_id=f"req-{night}-{random.randrange(10**6):06d}",
        latency_s=f"{random.lognormvariate(-1, 0.3):.4f}",
        model=MODEL if night < nights // 2 else f"{MODEL}-0613",
        fingerprint="fp-1" if night < nights // 4 else "fp-2",
        backend_host=f"host-{1 + (night > 0.75 * nights)}",
    )
