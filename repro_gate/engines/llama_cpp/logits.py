"""Arithmetic on the logits of one position."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Logits: TypeAlias = npt.NDArray[np.float32]

_BEST = 5


def are_finite(logits: Logits) -> bool:
    """Say whether no logit is NaN or infinite."""
    # One pass without a temporary; only where the sum itself overflows is a closer look needed.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(logits)
    return bool(np.isfinite(total)) or bool(np.isfinite(logits).all())


def are_all_equal(logits: Logits) -> bool:
    """Say whether no token is likelier than another."""
    return bool(logits[0] == logits[-1]) and bool((logits == logits[0]).all())


def log_softmax(logits: Logits, *, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Return the log-probabilities of every token, in nats, before any other sampler."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max()
    shifted /= temperature
    shifted -= np.log(np.exp(shifted).sum())
    return shifted


def trace_entry(logits: Logits, chosen: int) -> dict[str, Any]:
    """Return the evidence for one chosen token: its log-probability, and the likeliest tokens."""
    logprobs = log_softmax(logits)
    best = [[int(token), float(logprobs[token])] for token in _best(logits)]
    return {"logprob": float(logprobs[chosen]), "best": best}


def _best(logits: Logits) -> npt.NDArray[np.intp]:
    """Return the ids of the highest logits, highest first; among equals the lower id first."""
    count = min(_BEST, logits.size)
    least = np.partition(logits, logits.size - count)[logits.size - count]
    candidates = np.flatnonzero(logits >= least)
    order = np.lexsort((candidates, -logits[candidates]))
    return candidates[order[:count]]
