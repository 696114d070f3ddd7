"""A small deterministic trainer for byte-pair encodings."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TypeAlias

Pair: TypeAlias = tuple[str, str]
"""Two adjacent symbols, left and right; joined they are a new piece."""

_RARE = 1
"""A pair that stands in so few places says nothing about the language."""


class _Words:
    """Training words as symbol sequences, with the count of every adjacent pair kept up to date."""

    def __init__(self, frequencies: Mapping[str, int]) -> None:
        self._frequencies = list(frequencies.values())
        self._symbols = [list(word) for word in frequencies]
        self._holders: dict[Pair, set[int]] = {}
        self.counts: Counter[Pair] = Counter()
        for index in range(len(self._symbols)):
            self._count(index, sign=1)

    def _count(self, index: int, *, sign: int) -> None:
        for pair in pairwise(self._symbols[index]):
            self.counts[pair] += sign * self._frequencies[index]
            self._holders.setdefault(pair, set()).add(index)

    def merge(self, pair: Pair) -> set[Pair]:
        """Join `pair` wherever it stands, and return the pairs whose counts may have changed."""
        touched: set[Pair] = set()
        for index in self._holders.pop(pair):
            touched.update(pairwise(self._symbols[index]))
            self._count(index, sign=-1)
            self._symbols[index] = _joined(self._symbols[index], pair)
            self._count(index, sign=1)
            touched.update(pairwise(self._symbols[index]))
        return touched


def _joined(symbols: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            joined.append("".join(pair))
            position += 2
        else:
            joined.append(symbols[position])
            position += 1
    return joined


def train(words: Iterable[str], *, merges: int) -> tuple[Pair, ...]:
    """Return the first `merges` merges of `words`, best first; each builds a piece of its own.

    The most frequent pair is merged first; of equally frequent ones, the first in code-point order
    (R. Sennrich, B. Haddow, A. Birch, "Neural Machine Translation of Rare Words with Subword
    Units", ACL 2016, algorithm 1). Raises `ValueError` when too few pairs are repeated.
    """
    state = _Words(Counter(words))
    queue = [(-count, pair) for pair, count in state.counts.items()]
    heapq.heapify(queue)
    found: list[Pair] = []
    while len(found) < merges:
        if not queue:
            raise ValueError(f"the words hold {len(found)} repeated pairs, expected {merges}")
        negative, pair = heapq.heappop(queue)
        # An entry pushed before the pair's count changed is stale; a fresh one is in the queue.
        if state.counts[pair] != -negative or -negative <= _RARE:
            continue
        found.append(pair)
        for touched in state.merge(pair):
            heapq.heappush(queue, (-state.counts[touched], touched))
    return tuple(found)
