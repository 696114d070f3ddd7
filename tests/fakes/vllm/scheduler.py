"""What requests at work together share: an engine that lives or not, a cache, and company."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

EFFECTS: Final = ("none", "bits", "tokens", "cache")
"""What moves: nothing; log-probabilities or tokens in company; what follows cached tokens."""

_STEP_S: Final = 0.002
"""How long a token takes for each sequence at work, so that requests meet."""
_NUDGE: Final = 0.001
_FLIP: Final = 9.0
_FLIP_AT: Final = 3
"""The step at which company matters first."""


class EngineDead(Exception):
    """The engine computes no more."""


@dataclass(kw_only=True)
class Scheduler:
    """The engine of a server."""

    name: str
    """Of the model."""

    block: int
    """How many tokens the cache keeps together."""

    effect: str
    shows_cached: bool
    """Whether answers have how many tokens came from the cache."""

    dies_after: int | None
    """How many requests the engine survives."""

    hides_logprobs: bool = False
    """Whether answers to prompts have none, as of a server that cannot give them."""

    running: int = 0
    hits: int = 0
    """How many tokens came from the cache."""

    _requests: int = 0
    _cached: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count a request as running; raise where it is one too many."""
        with self._lock:
            self._requests += 1
            if self.is_dead:
                raise EngineDead
            self.running += 1
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1

    @property
    def is_dead(self) -> bool:
        """Whether it computes no more."""
        return self.dies_after is not None and self._requests > self.dies_after

    def cached_tokens(self, prompt: Sequence[int], salt: str) -> int:
        """Return how many tokens of a prompt are in blocks of earlier ones, and keep its blocks."""
        prefixes = {
            end: (salt, tuple(prompt[:end])) for end in range(self.block, len(prompt), self.block)
        }
        with self._lock:
            found = max((end for end in prefixes if prefixes[end] in self._cached), default=0)
            self._cached |= set(prefixes.values())
            self.hits += found
        return found

    def shift(self, step: int, cached: int) -> float:
        """Take the time of a step, and return how far its likeliest token is moved, in nats."""
        running = self.running
        time.sleep(_STEP_S * running)
        has_company = running > 1
        moved = {
            "bits": _NUDGE if has_company else 0.0,
            "tokens": _FLIP if has_company and step >= _FLIP_AT else 0.0,
            "cache": _FLIP if cached else 0.0,
        }
        return moved.get(self.effect, 0.0)
