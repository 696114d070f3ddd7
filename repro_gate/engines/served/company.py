"""How many sequences a server works at, counted while requests are in flight."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Final

from repro_gate.engines.served.dialects.dialect import Work
from repro_gate.engines.served.http import ServerGone
from repro_gate.protocol import MAX_CONCURRENCY, RequestRefused

_ALONE_S: Final = 0.1
_TOGETHER_S: Final = 0.005
"""Before each count; a request of a small model takes 20 ms."""
_COUNT_S: Final = 1.0
"""The most that an answer waits for a count."""


@dataclass(slots=True, eq=False)
class Seen:
    """What was counted during one request."""

    running: int | None = None
    """The most, itself included; None if nothing was counted."""
    is_being_counted: bool = False


@dataclass(frozen=True, slots=True)
class _Span:
    """A time in which a slot was surely at work."""

    start: float
    end: float
    slot: int

    def has(self, moment: float) -> bool:
        """Return whether a moment is in it."""
        return self.start <= moment <= self.end


class Company:
    """Counts in a thread of its own, one for all requests."""

    def __init__(self, count: Callable[[], int | None]) -> None:
        """Start nothing yet.

        Args:
            count: how many are at work now, or None where the server does not show it.
        """
        self._count = count
        self._in_flight: set[Seen] = set()
        self._changed = Condition()
        self._spans: deque[_Span] = deque(maxlen=MAX_CONCURRENCY)
        self._thread: Thread | None = None
        self._has_ended = False

    @contextmanager
    def request(self) -> Generator[Seen]:
        """Count during a request."""
        seen = Seen()
        with self._changed:
            self._in_flight.add(seen)
            if self._thread is None:
                self._thread = Thread(target=self._watch, daemon=True, name="company")
                self._thread.start()
            self._changed.notify_all()
        try:
            yield seen
        finally:
            with self._changed:
                # A count of vLLM takes longer than a short answer.
                self._changed.wait_for(lambda: not seen.is_being_counted, _COUNT_S)
                self._in_flight.discard(seen)

    def together(self, sent: float, received: float, work: Work) -> int:
        """Return how many answers so far, of different slots, were surely at work with this one.

        Whenever it began after sending, the work lasted from its latest possible start to its
        earliest possible end. No count can miss it, however short the answer is.
        """
        own = _Span(start=received - work.seconds, end=sent + work.seconds, slot=work.slot)
        if own.start > own.end:
            return 1
        with self._changed:
            self._spans.append(own)
            spans = [each for each in self._spans if each.start <= own.end]
        starts = [each.start for each in spans if each.start >= own.start]
        return max(len({each.slot for each in spans if each.has(start)}) for start in starts)

    @property
    def is_alone(self) -> bool:
        """Whether at most one request is in flight."""
        with self._changed:
            return len(self._in_flight) <= 1

    def close(self) -> None:
        """End the thread; it may still wait for an answer."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _watch(self) -> None:
        while (present := self._next()) is not None:
            is_shown, running = True, 0
            try:
                found = self._count()
                is_shown, running = found is not None, max(1, found or 0)
            except (ServerGone, RequestRefused, ValueError):
                # The requests themselves show what is wrong; a number that is none shows nothing.
                pass
            with self._changed:
                for seen in present:
                    seen.is_being_counted = False
                    if is_shown and running:
                        seen.running = max(running, seen.running or 0)
                self._changed.notify_all()
            if not is_shown:
                return

    def _next(self) -> frozenset[Seen] | None:
        """Wait for requests at work, and return those in flight, or None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight or self._has_ended)
            self._changed.wait_for(lambda: len(self._in_flight) > 1 or self._has_ended, _ALONE_S)
            # Those that are sent together arrive one after the other.
            self._changed.wait_for(lambda: self._has_ended, _TOGETHER_S)
            if self._has_ended:
                return None
            for seen in self._in_flight:
                seen.is_being_counted = True
            return frozenset(self._in_flight)
