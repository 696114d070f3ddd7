"""A history that has the nights of one epoch, in memory."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repro_gate.core.history import CellSession, KeptDraw, Session, SessionCell, SessionKind
from repro_gate.core.watch.epoch import Epoch
from repro_gate.core.watch.night import Night


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNights:
    """Sessions, with what is kept of each of their cells."""

    kept: Sequence[tuple[Session, Sequence[CellSession]]] = field(default=())

    def sessions(self, suite: str | None = None) -> tuple[Session, ...]:
        """Return the sessions of a suite."""
        return tuple(session for session, _ in self.kept if session.suite == suite)

    def points(
        self, suite: str | None = None, *, cells: Collection[str] | None = None
    ) -> Iterator[tuple[Session, CellSession]]:
        """Yield what is kept of each cell."""
        del cells
        for session, drawn in self.kept:
            if session.suite == suite:
                yield from ((session, each) for each in drawn)

    def draws(
        self, session: Session, *, cells: Collection[str] | None = None
    ) -> Iterator[KeptDraw]:
        """Yield nothing: a watch reads the sums only."""
        del session, cells
        yield from ()


def stored(epoch: Epoch, *nights: Night, **answered: Mapping[str, Sequence[str]]) -> StoredNights:
    """Return the history of these nights.

    Args:
        epoch: their epoch.
        nights: the nights.
        answered: for `models`, `fingerprints` or `backends`, the values by the date of the night.
    """
    return StoredNights(
        kept=[
            (
                session_of(epoch, night),
                [
                    drawn_of(
                        epoch,
                        cell,
                        totals,
                        **{fact: tuple(by.get(night.date, ())) for fact, by in answered.items()},
                    )
                    for cell, totals in night.totals.items()
                ],
            )
            for night in nights
        ]
    )


def session_of(epoch: Epoch, night: Night, **changes: Any) -> Session:
    """Return the closed session of a night."""
    session = Session(
        key=night.key,
        kind=SessionKind.NIGHT,
        suite=epoch.suite,
        epoch=epoch.digest,
        started_at=night.started_at,
        tool="0.1.0",
        is_closed=True,
    )
    return replace(session, **changes)


def drawn_of(epoch: Epoch, cell: str, totals: Sequence[float], **changes: Any) -> CellSession:
    """Return what is kept of one cell in a night."""
    policy, _, item = cell.partition("--")
    watched = epoch.cells.get(cell)
    digest = None if watched is None else watched.definition_digest
    drawn = CellSession(
        cell=SessionCell(id=cell, policy=policy, item=item, definition=digest),
        totals=tuple(totals),
        invalid=0,
        missed=0,
        models=(),
        fingerprints=(),
        backends=(),
        latency_ms=None,
        usd=None,
        cached_tokens=None,
    )
    return replace(drawn, **changes)
