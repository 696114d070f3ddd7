"""Pull requests in memory, and publishers that take turns in every possible order."""

import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TypeAlias

from repro_gate.core.comments import CiRun, Marker, PostedComment, marker_of
from repro_gate.errors import CommentGone

_PATIENCE_S = 20.0
Turn: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Surrounds a named call, and starts when it is its turn."""


class MemoryPullRequests:
    """The pull requests of a repository, with only our comments."""

    def __init__(self, *pulls: int, turn: Turn | None = None) -> None:
        self._pulls = pulls
        self._ids = itertools.count(1)
        self._turn: Turn = turn or (lambda _: nullcontext())
        self.posted: dict[int, list[PostedComment]] = {pull: [] for pull in pulls}
        self.bodies: dict[int, str] = {}
        self.asks: list[str] = []
        """The calls so far, as method and argument."""

    def seen_by(self, turn: Turn) -> "MemoryPullRequests":
        """Return the same pull requests for a publisher that waits before every call."""
        other = MemoryPullRequests(*self._pulls, turn=turn)
        other.posted, other.bodies, other.asks = self.posted, self.bodies, self.asks
        other._ids = self._ids
        return other

    def of_run(self, run: CiRun) -> tuple[int, ...]:
        """Return all of them."""
        del run
        return self._pulls

    def comments(self, pull_request: int, *, like: Marker) -> tuple[PostedComment, ...]:
        """Return our comments for the gate of a marker, the oldest first."""
        with self._asked(f"comments {pull_request}"):
            found = self.posted[pull_request]
            return tuple(comment for comment in found if comment.marker.has_gate_of(like))

    def create(self, pull_request: int, body: str) -> PostedComment:
        """Post a comment."""
        marker = marker_of(body)
        assert marker is not None
        with self._asked(f"create {pull_request}"):
            id = next(self._ids)
            comment = PostedComment(id=id, url=f"https://github.test/{id}", marker=marker)
            self.posted[pull_request].append(comment)
            self.bodies[id] = body
            return comment

    def update(self, comment: PostedComment, body: str) -> PostedComment:
        """Replace the body of a comment."""
        marker = marker_of(body)
        assert marker is not None
        written = replace(comment, marker=marker)
        with self._asked(f"update {comment.id}"):
            for comments in self.posted.values():
                ids = [other.id for other in comments]
                if comment.id in ids:
                    comments[ids.index(comment.id)] = written
                    self.bodies[comment.id] = body
                    return written
        raise CommentGone("it is not there")

    def delete(self, comment: PostedComment) -> None:
        """Delete a comment."""
        with self._asked(f"delete {comment.id}"):
            for comments in self.posted.values():
                comments[:] = [other for other in comments if other.id != comment.id]

    @contextmanager
    def _asked(self, what: str) -> Generator[None]:
        with self._turn(what):
            self.asks.append(what)
            yield


class Turns:
    """Runs workers in a given order; after its end, in any order."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = list(order)
        self._changed = threading.Condition()
        self._ended: set[int] = set()
        self.taken: list[tuple[int, str]] = []
        """The calls of the workers, in order."""

    @contextmanager
    def taking(self, who: int, what: str) -> Generator[None]:
        """Wait for the turn of a worker, and hold it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_turn(who), _PATIENCE_S)
            self._order[:1] = []
            self.taken.append((who, what))
            yield
            self._changed.notify_all()

    def end(self, who: int) -> None:
        """Give up all remaining turns."""
        with self._changed:
            self._ended.add(who)
            self._changed.notify_all()

    def _is_turn(self, who: int) -> bool:
        while self._order and self._order[0] in self._ended:
            self._order.pop(0)
        return not self._order or self._order[0] == who


def interleavings(*counts: int) -> Iterator[tuple[int, ...]]:
    """Yield every interleaving of the turns of each worker."""
    if not any(counts):
        yield ()
        return
    for who, count in enumerate(counts):
        if count:
            fewer = [number - (other == who) for other, number in enumerate(counts)]
            for rest in interleavings(*fewer):
                yield (who, *rest)


def take_turns(order: Sequence[int], *works: Callable[[Turn], object]) -> Turns:
    """Run workers concurrently, with turns in this order; return the calls in order."""
    turns = Turns(order)
    failures: list[BaseException] = []

    def do(who: int, work: Callable[[Turn], object]) -> None:
        try:
            work(lambda what: turns.taking(who, what))
        except BaseException as error:  # noqa: BLE001 -- raised again where the test sees it
            failures.append(error)
        finally:
            turns.end(who)

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_S)
    if failures:
        raise failures[0]
    return turns
