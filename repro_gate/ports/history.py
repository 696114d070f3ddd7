"""The history of hosted models, as it is read."""

from collections.abc import Collection, Iterator
from typing import Protocol

from repro_gate.core.history import CellSession, KeptDraw, Session


class HistoryReader(Protocol):
    """The sessions of a history; every method raises `InputInvalid` for a broken one."""

    def sessions(self, suite: str | None = None) -> tuple[Session, ...]:
        """Return the sessions of a suite and those of no suite, oldest first; None for all."""
        ...

    def points(
        self, suite: str | None = None, *, cells: Collection[str] | None = None
    ) -> Iterator[tuple[Session, CellSession]]:
        """Yield what is kept of each cell in these sessions, oldest first.

        Args:
            suite: as for `sessions`.
            cells: ids of the cells; None for all.
        """
        ...

    def draws(
        self, session: Session, *, cells: Collection[str] | None = None
    ) -> Iterator[KeptDraw]:
        """Yield the draws of a session in the order in which they came."""
        ...
