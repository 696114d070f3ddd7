"""Diagnostics of importance weights w = exp(target - base).

For responses drawn from the base policy the mean weight is 1. This is tested with e-values,
products over the items with an expectation of at most 1 while the weights are usable, so that they
reach 1 / a with a probability of at most a (Markov), for any distribution and number of items.

* Too large: 1 + l (w / b - 1) for several l, averaged. Noise of the log-probabilities alone can
  make the mean larger than 1; with the smallest effective size that is allowed, s of the items, a
  lognormal noise makes it b = 1 / sqrt(s).
* Too small: (1 - s w)^2 / (1 - s), and 0 for w above 1 / s. Its expectation is at most 1 for a
  mean of at least 1 and an effective size of at least s of the items; it is reached by weights of
  which all but a share s are 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from repro_gate.core.logprobs.error_rates import MIN_SIZE_SHARE, WEIGHTS_RATE
from repro_gate.statistics.permutation import Floats

MIN_KHAT_ITEMS = 100
"""With fewer items the bar for k-hat is under 0.5 and the tail is too short to fit."""
_MAX_SHARE = 0.5
_MIN_TAIL = 5
_MIN_P = 1e-99
"""Smaller p-values are reported as this."""
_GOOD_SHARE = 0.5
"""An effective size of this share of the items is ruined by no item."""
_MAX_RUINOUS_SHARE = 0.2
_BETS = (1 / 32, 1 / 8, 1 / 2, 1)
"""The smallest is the best against few large weights, the largest against many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The diagnostics of a set of weights, computed from their logarithms."""

    items: int
    effective_size: float
    largest_share: float
    mean_weight: float
    """Infinite where it exceeds every float."""
    mean_p: float
    """The p-value of a mean weight of 1."""
    khat: float | None
    khat_bar: float | None

    def problems(self) -> list[str]:
        """Return why the weights are unusable.

        Effective size and largest share have no error rate; they are for sets of at least
        `design.MIN_WEIGHTS` items.
        """
        found = self.mean_problems()
        if self.effective_size < MIN_SIZE_SHARE * self.items:
            size = f"{self.effective_size:.1f} of {self.items}"
            found.append(f"the effective sample size is only {size} items")
        if self.largest_share > _MAX_SHARE:
            found.append(f"one item has {100 * self.largest_share:.0f} % of the whole weight")
        if self.khat is not None and self.khat_bar is not None and self.khat > self.khat_bar:
            found.append(f"k-hat is {self.khat:.2f}, above its bar of {self.khat_bar:.2f}")
        return found

    def mean_problems(self) -> list[str]:
        """Return why the mean weight differs from 1, if it does; valid for any number of items."""
        if self.mean_p > WEIGHTS_RATE:
            return []
        mean = f"the mean weight is {self.mean_weight:.2g} (p = {self.mean_p:.2g})"
        return [f"{mean}, and that of responses drawn from the base policy is 1"]


def weights_of(ratios: Sequence[float]) -> Weights:
    """Compute the diagnostics of log-ratios, one for each item, in nats; at least one.

    The effective sample size is Kish's, (sum w)^2 / sum w^2; k-hat and its bar
    min(1 - 1 / log10 S, 0.7) are those of Vehtari et al. (2024), "Pareto smoothed importance
    sampling". A good k-hat alone proves little: on pairs of calls to one and the same model it
    passed while the effective sample size was a fifth.
    """
    log_ratios = np.asarray(ratios, dtype=np.float64)
    shifted = log_ratios - log_ratios.max()
    weights = np.exp(shifted)
    total = float(weights.sum())
    items = len(log_ratios)
    khat = _khat(log_ratios)
    # In logarithms, because a weight may overflow.
    log_mean = float(log_ratios.max()) + math.log(total / items)
    return Weights(
        items=items,
        effective_size=total**2 / float(np.square(weights).sum()),
        largest_share=1 / total,
        mean_weight=math.exp(log_mean)
        if log_mean < math.log(np.finfo(np.float64).max)
        else math.inf,
        mean_p=_mean_p(log_ratios),
        khat=khat,
        khat_bar=None if khat is None else min(1 - 1 / math.log10(items), 0.7),
    )


def ruinous_items(ratios: Sequence[float]) -> tuple[int, ...]:
    """Return the indices of the few largest weights that ruin the effective size, largest first.

    They are the fewest without which it is at least half of the other items. There are none where
    it is that much already, or where more than a fifth of the items would have to go.
    """
    log_ratios = np.asarray(ratios, dtype=np.float64)
    items = len(log_ratios)
    order = np.argsort(-log_ratios, kind="stable")
    rest = log_ratios[order][::-1]
    # Of the smallest 1, 2, ... weights; in logarithms, because one weight may hide all others.
    sizes = np.exp(2 * np.logaddexp.accumulate(rest) - np.logaddexp.accumulate(2 * rest))
    enough = sizes[::-1] >= _GOOD_SHARE * np.arange(items, 0, -1)
    removed = int(np.argmax(enough))
    return tuple(order[:removed].tolist()) if removed <= _MAX_RUINOUS_SHARE * items else ()


def tilted_mean(ratios: Sequence[float]) -> float:
    """Return the mean log-ratio under the weights, sum(w r) / sum(w), in nats.

    For responses drawn from the base policy it is the self-normalised estimate of
    KL(target | base).
    """
    log_ratios = np.asarray(ratios, dtype=np.float64)
    weights = np.exp(log_ratios - log_ratios.max())
    return float(weights @ log_ratios / weights.sum())


def _mean_p(log_ratios: Floats) -> float:
    """Return the two-sided p-value of a mean weight of 1."""
    evidence = max(_too_large(log_ratios), _too_small(log_ratios))
    # Doubled for the two sides.
    return max(_MIN_P, min(1.0, 2 * math.exp(min(0.0, -evidence))))


def _too_large(log_ratios: Floats) -> float:
    """Return the logarithm of the e-value against a mean weight that noise would explain."""
    allowed = log_ratios + math.log(MIN_SIZE_SHARE) / 2
    bets = [
        float(np.logaddexp(math.log1p(-bet), math.log(bet) + allowed).sum())
        if bet < 1
        else float(allowed.sum())
        for bet in _BETS
    ]
    return float(np.logaddexp.reduce(bets)) - math.log(len(_BETS))


def _too_small(log_ratios: Floats) -> float:
    """Return the logarithm of the e-value against weights of which most come with few items."""
    left = 1 - MIN_SIZE_SHARE * np.exp(np.minimum(log_ratios, -math.log(MIN_SIZE_SHARE)))
    with np.errstate(divide="ignore"):
        factors = 2 * np.log(np.maximum(left, 0.0)) - math.log1p(-MIN_SIZE_SHARE)
    return float(factors.sum())


def _khat(log_ratios: Floats) -> float | None:
    """Return the shape of the tail of the weights, or None when the tail is too short to fit."""
    items = len(log_ratios)
    tail = _tail(log_ratios)
    if items < MIN_KHAT_ITEMS or len(tail) < _MIN_TAIL or np.ptp(tail) == 0:
        return None
    # Imported late: slow to import, and few checks have so many items.
    library: Any = import_module("arviz_stats.base.array")
    # It takes log-likelihoods, whose negatives are log-weights, and fits the
    # 3 (items / r_eff)^0.5 largest as the tail.
    r_eff = items * (3 / (len(tail) + 0.5)) ** 2
    try:
        with np.errstate(divide="raise", invalid="raise", over="ignore"):
            value = float(library.BaseArray().psislw(-log_ratios, r_eff=r_eff)[1])
    except FloatingPointError:
        # Most of the tail is 0 beside its largest weight.
        return None
    return value if math.isfinite(value) else None


def _tail(log_ratios: Floats) -> Floats:
    """Return the largest log-ratios, as many as PSIS takes, without ties with the rest.

    A service that repeats itself has many log-ratios of 0, which are no tail.
    """
    items = len(log_ratios)
    ordered = np.sort(log_ratios)
    size = int(min(items / 5, 3 * math.sqrt(items)))
    tail: Floats = ordered[ordered > ordered[items - size - 1]]
    return tail
