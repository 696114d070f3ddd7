"""Arithmetic on the logits of one position: are they sound, which are best, how likely is a token.

Every function makes few passes over a vocabulary, and numpy gives the GIL back in each of them.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Logits: TypeAlias = npt.NDArray[np.float32]
TokenIds: TypeAlias = npt.NDArray[np.intp]
Candidates: TypeAlias = npt.NDArray[np.void]
"""Of the type `CANDIDATE`."""
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data`."""

_TRACED = 5
"""How many tokens a trace entry has."""
COLUMNS = 2048
"""Of the table that the logits are put in to find the highest."""


def are_finite(logits: Logits) -> bool:
    """Return whether no logit is NaN or infinite."""
    # One pass without a temporary array; only a sum that overflows needs a second one.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(logits)
    return math.isfinite(total) or bool(np.isfinite(logits).all())


def are_all_equal(logits: Logits) -> bool:
    """Return whether all tokens are equally likely."""
    return bool(logits[0] == logits[-1]) and bool((logits == logits[0]).all())


def digest(logits: Logits) -> str:
    """Return the first 8 bytes of the BLAKE2b-512 digest of the float32, little endian, in hex."""
    return hashlib.blake2b(logits.astype("<f4", copy=False).data).digest()[:8].hex()


def highest(logits: Logits, count: int) -> TokenIds:
    """Return the ids of the `count` highest logits and of a few more, ascending.

    None that is left out equals one of them.
    """
    some = logits
    rows = logits.size // COLUMNS
    if rows > 1 and count <= COLUMNS:
        # If a number reaches the highest of a column, so do at least as many logits as columns.
        some = logits[: rows * COLUMNS].reshape(rows, COLUMNS).max(axis=0)
    place = max(0, some.size - count)
    return np.flatnonzero(logits >= np.partition(some, place)[place])


def in_order(logits: Logits, ids: TokenIds) -> TokenIds:
    """Return ascending ids by their logit, highest first; among equals the lower id first."""
    return ids[np.argsort(-logits[ids], kind="stable")]


class Softmax:
    """Log-probabilities in nats, before any sampler, with one array for all positions."""

    def __init__(self, vocabulary: int) -> None:
        self._shifted = np.empty(vocabulary)

    def logprob(self, logits: Logits, token: int, *, temperature: float = 1.0) -> float:
        """Return the log-probability of one token."""
        return self._logprobs(logits, [token], temperature)[0]

    def trace_entry(self, logits: Logits, chosen: int, *, best: int = _TRACED) -> dict[str, Any]:
        """Return the evidence for a token: its log-probability, and the likeliest tokens."""
        ids = in_order(logits, highest(logits, best))[:best].tolist()
        logprob, *others = self._logprobs(logits, [chosen, *ids])
        return {"logprob": logprob, "best": [list(pair) for pair in zip(ids, others, strict=True)]}

    def _logprobs(
        self, logits: Logits, tokens: Sequence[int], temperature: float = 1.0
    ) -> list[float]:
        shifted = self._shifted
        np.subtract(logits, logits.max(), out=shifted, dtype=np.float64)
        if temperature != 1:
            shifted /= temperature
        # Before exp overwrites them.
        chosen = shifted[tokens]
        np.exp(shifted, out=shifted)
        logprobs: list[float] = (chosen - np.log(shifted.sum())).tolist()
        return logprobs
