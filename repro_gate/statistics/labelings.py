"""The ways in which pooled draws can be divided into calibration and new ones.

Under the hypothesis that nothing has changed they are exchangeable, so every division was equally
likely. All of them are looked at where they are few enough, and a sample otherwise, whose p-values
have the +1 of Phipson and Smyth (2010), "Permutation p-values should never be zero".
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""Draws x tokens, in nats, unless it is said otherwise."""

_CHUNK = 1 << 14
_SEED = 20_251_124
"""Any would do; a fixed one gives the same report for the same draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelings:
    """Divisions of n pooled draws, of which the last `new` were the new ones."""

    new: int
    rows: npt.NDArray[np.bool_]
    """R x n: which draws are called new."""
    is_complete: bool
    """Whether these are all; the observed one is then among them."""

    def chunks(self) -> Iterator[Floats]:
        """Yield the rows as numbers, a few thousand at a time."""
        for start in range(0, len(self.rows), _CHUNK):
            yield self.rows[start : start + _CHUNK].astype(np.float64)

    def p_value(self, as_extreme: int) -> float:
        """Return the p-value when so many of the rows are at least as extreme as the observed."""
        if self.is_complete:
            return as_extreme / len(self.rows)
        return (as_extreme + 1) / (len(self.rows) + 1)


@lru_cache(maxsize=16)
def labelings(calibration: int, new: int, *, most: int) -> Labelings:
    """Return the divisions of `calibration` + `new` draws, at most `most` of them."""
    n = calibration + new
    count = math.comb(n, new)
    if count <= most:
        flat = np.fromiter(chain.from_iterable(combinations(range(n), new)), dtype=np.intp)
        rows = np.zeros((count, n), dtype=np.bool_)
        np.put_along_axis(rows, flat.reshape(count, new), values=True, axis=1)
        return Labelings(new=new, rows=rows, is_complete=True)
    generator = np.random.default_rng([_SEED, calibration, new])
    first = np.arange(n) < new
    chunks = [
        generator.permuted(np.broadcast_to(first, (min(_CHUNK, most - start), n)), axis=1)
        for start in range(0, most, _CHUNK)
    ]
    return Labelings(new=new, rows=np.concatenate(chunks), is_complete=False)
