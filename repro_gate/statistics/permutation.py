"""Permutation tests of whether the draws of one cell have changed, with Holm's correction.

Under the null hypothesis calibration and new draws are exchangeable, so every division of the
pooled draws was equally likely. All divisions are evaluated if they are few enough, else a sample,
with the +1 of Phipson and Smyth (2010), "Permutation p-values should never be zero".

Three statistics are computed on the same divisions:

* Exact repeats: the number of identical pairs of a calibration draw and a new one; sensitive to any
  change of a service that mostly repeats itself exactly.
* Sum: the difference of the mean log-probability of the whole response. Of lists of likely tokens
  in its place the statistic S of LT (arXiv 2512.03816): the absolute difference of the means of a
  token, averaged over the tokens.
* Tokens: the largest standardised difference of the means of single tokens, maxT of Westfall and
  Young (1993); it finds what the sum hides, and corrects for the number of tokens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from repro_gate.core.logprobs.baseline import RESOLUTION_NATS
from repro_gate.core.logprobs.error_rates import EXACT_REPEATS_WEIGHT, MAX_LABELINGS
from repro_gate.core.logprobs.verdicts import Evidence

Floats = npt.NDArray[np.float64]
"""Draws x tokens, in nats, unless noted otherwise."""

_CHUNK = 1 << 14
_SEED = 20_251_124
"""Fixed, so that the same draws give the same report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelings:
    """Divisions of n pooled draws, of which the last `new` were the new ones."""

    new: int
    draws: int
    packed: npt.NDArray[np.uint8]
    """R x n bits, as millions of divisions of hundreds of draws would fill the memory."""
    is_complete: bool
    """Whether these are all divisions, including the observed one."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.packed)

    @property
    def rows(self) -> npt.NDArray[np.bool_]:
        """R x n: the draws labelled as new."""
        return self._unpacked(self.packed)

    def chunks(self) -> Iterator[Floats]:
        """Yield the rows as numbers, a few thousand at a time."""
        for start in range(0, self.count, _CHUNK):
            yield self._unpacked(self.packed[start : start + _CHUNK]).astype(np.float64)

    def p_value(self, as_extreme: int) -> float:
        """Return the p-value for a number of rows at least as extreme as the observed one."""
        return p_value_of(as_extreme, self.count, is_complete=self.is_complete)

    def _unpacked(self, packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        return np.unpackbits(packed, axis=1, count=self.draws).view(np.bool_)


def p_value_of(as_extreme: int, ways: int, *, is_complete: bool) -> float:
    """Return the p-value for a number of ways, of all or of a sample, at least as extreme."""
    return as_extreme / ways if is_complete else (as_extreme + 1) / (ways + 1)


@lru_cache(maxsize=16)
def labelings(calibration: int, new: int, *, limit: int) -> Labelings:
    """Return the divisions of `calibration` + `new` draws, at most `limit` of them."""
    n = calibration + new
    count = math.comb(n, new)
    if count <= limit:
        flat = np.fromiter(chain.from_iterable(combinations(range(n), new)), dtype=np.intp)
        rows = np.zeros((count, n), dtype=np.bool_)
        np.put_along_axis(rows, flat.reshape(count, new), values=True, axis=1)
        return Labelings(new=new, draws=n, packed=np.packbits(rows, axis=1), is_complete=True)
    generator = np.random.default_rng([_SEED, calibration, new])
    first = np.arange(n) < new
    chunks = [
        np.packbits(
            generator.permuted(np.broadcast_to(first, (min(_CHUNK, limit - start), n)), axis=1),
            axis=1,
        )
        for start in range(0, limit, _CHUNK)
    ]
    return Labelings(new=new, draws=n, packed=np.concatenate(chunks), is_complete=False)


def as_array(draws: Sequence[Sequence[float]]) -> Floats:
    """Return draws as an array, draws x tokens, in nats."""
    return np.asarray(draws, dtype=np.float64)


def as_column(totals: Sequence[float]) -> Floats:
    """Return sums as an array of draws of one token, in nats."""
    return np.asarray(totals, dtype=np.float64)[:, np.newaxis]


Key = TypeVar("Key")


def holm(p_values: Mapping[Key, float], *, tests: int) -> dict[Key, float]:
    """Return adjusted p-values; tests that are not given count as p = 1.

    Holm (1979), "A simple sequentially rejective multiple test procedure": the i-th smallest of m
    is multiplied by m - i + 1, and none is smaller than the one before it.
    """
    adjusted: dict[Key, float] = {}
    largest = 0.0
    for place, (key, p) in enumerate(sorted(p_values.items(), key=lambda entry: entry[1])):
        largest = max(largest, min(1.0, p * (tests - place)))
        adjusted[key] = largest
    return adjusted


_TIE = 1e-9
"""Sums of the same numbers in another order may differ by so much, relatively."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSamples:
    """Calibration draws and new ones of a cell, pooled, in that order."""

    pooled: Floats
    """n x T, in nats."""
    new: int
    by_distance: bool = False
    """Whether S takes the place of the sum."""

    @property
    def calibration(self) -> int:
        """How many are calibration draws."""
        return len(self.pooled) - self.new

    def is_constant(self) -> bool:
        """Return whether all draws are equal."""
        return bool((np.ptp(self.pooled, axis=0) <= RESOLUTION_NATS).all())


def two_samples(calibration: Floats, new: Floats, *, by_distance: bool = False) -> TwoSamples:
    """Return the pooled draws; both are draws x tokens, in nats."""
    pooled = np.concatenate([calibration, new])
    return TwoSamples(pooled=pooled, new=len(new), by_distance=by_distance)


def corrections(samples: TwoSamples) -> dict[Evidence, float]:
    """Return the factor for each p-value: a weighted Bonferroni correction.

    For a service that repeats itself exact repeats are by far the most powerful test and get
    most of the level. Where no pooled draws coincide, their p-value is always 1 and the others
    share the level (Tarone 1990, "A modified Bonferroni method for discrete data").
    """
    has_pairs = float(same_pairs(samples.pooled).sum()) > len(samples.pooled)
    others = 2 / (1 - EXACT_REPEATS_WEIGHT) if has_pairs else 2.0
    return {
        Evidence.EXACT_REPEATS: 1 / EXACT_REPEATS_WEIGHT,
        Evidence.SUM: others,
        Evidence.TOKENS: others,
    }


def p_values(samples: TwoSamples, *, limit: int = MAX_LABELINGS) -> dict[Evidence, float]:
    """Return the p-value of each of the three tests."""
    if samples.is_constant():
        return dict.fromkeys(Evidence, 1.0)
    ways = labelings(samples.calibration, samples.new, limit=limit)
    extreme = dict.fromkeys(Evidence, 0)
    same, columns = same_pairs(samples.pooled), standardised(samples.pooled)
    distances = _centred(samples)
    observed = _statistics(_observed(samples)[np.newaxis], same, columns, distances)
    for rows in ways.chunks():
        for evidence, values in _statistics(rows, same, columns, distances).items():
            least = observed[evidence][0]
            extreme[evidence] += int((values >= least - _TIE * max(1.0, abs(least))).sum())
    return {evidence: ways.p_value(count) for evidence, count in extreme.items()}


def contributions(samples: TwoSamples, ways: Labelings) -> tuple[Floats, Floats]:
    """Return the contribution of a cell to the statistics of its suite.

    Returns:
        The observed values of the three statistics, in the order of `Evidence`, and R x 3 values
        for the divisions `ways`. Each is at least 0, about 1 by chance, and large when extreme:
        the share of pairs that do not coincide; the squared standardised shift of the sum, or
        squared S over the standard deviations of its parts; and the first's mean over the tokens.
    """
    same, columns = same_pairs(samples.pooled), standardised(samples.pooled)
    rows = np.concatenate([_observed(samples)[np.newaxis], ways.rows.astype(np.float64)])
    k, n = samples.new, len(samples.pooled)
    pairs = k * (n - k)
    # Under exchangeability the sum of k of n standardised values has this variance.
    squares = np.square(rows @ columns) * (n - 1) / pairs
    varying = max(1, int((columns[:, 1:] != 0).any(axis=0).sum()))
    values = np.empty((len(rows), len(Evidence)))
    values[:, 0] = 1 - repeats_across(rows, same) / pairs
    values[:, 1] = squares[:, 0]
    distances = _centred(samples)
    if distances is not None:
        spread = distances.std(axis=0).sum() * math.sqrt(pairs / (n - 1))
        values[:, 1] = np.square(np.abs(rows @ distances).sum(axis=1) / max(spread, _TIE))
    values[:, 2] = squares[:, 1:].sum(axis=1) / varying
    return values[0], values[1:]


def same_pairs(pooled: Floats) -> Floats:
    """Return n x n: 1 where two draws are equal within `RESOLUTION_NATS`."""
    apart = np.abs(pooled[:, np.newaxis] - pooled[np.newaxis]).max(axis=2)
    same: Floats = (apart <= RESOLUTION_NATS).astype(np.float64)
    return same


def standardised(pooled: Floats) -> Floats:
    """Return n x (1 + T): the sum and each token, with mean 0 and variance 1, or all 0."""
    tokens = _snapped(pooled)
    # Subtracting the minimum keeps digits that the sum would lose.
    tokens -= tokens.min(axis=0)
    columns = np.empty((len(pooled), 1 + pooled.shape[1]))
    columns[:, 1:] = tokens
    columns[:, :1] = _snapped(tokens.sum(axis=1, keepdims=True))
    columns -= columns.mean(axis=0)
    spread = columns.std(axis=0)
    constant = spread <= _TIE
    columns[:, constant] = 0.0
    scaled: Floats = columns / np.where(constant, 1.0, spread)
    return scaled


def _snapped(pooled: Floats) -> Floats:
    """Return the draws with values of a column within `RESOLUTION_NATS` made equal.

    Rounding would not do: such values can lie on either side of a rounding boundary, and then all
    calibration draws would differ from all new ones.
    """
    order = np.argsort(pooled, axis=0, kind="stable")
    values = np.take_along_axis(pooled, order, axis=0)
    starts = np.ones(values.shape, dtype=np.bool_)
    starts[1:] = np.diff(values, axis=0) > RESOLUTION_NATS
    ranks = np.arange(len(values))[:, np.newaxis]
    firsts = np.maximum.accumulate(np.where(starts, ranks, 0), axis=0)
    snapped = np.empty_like(pooled)
    np.put_along_axis(snapped, order, np.take_along_axis(values, firsts, axis=0), axis=0)
    return snapped


def _observed(samples: TwoSamples) -> Floats:
    return (np.arange(len(samples.pooled)) >= samples.calibration).astype(np.float64)


def _centred(samples: TwoSamples) -> Floats | None:
    """Return n x T: each token with mean 0, in nats; None where the sum is compared.

    Both means of a token and their difference follow from the sum of the new draws.
    """
    if not samples.by_distance:
        return None
    tokens = _snapped(samples.pooled)
    centred: Floats = tokens - tokens.mean(axis=0)
    return centred


def _statistics(
    rows: Floats, same: Floats, columns: Floats, distances: Floats | None
) -> dict[Evidence, Floats]:
    """Return R values of each statistic; the larger, the more extreme."""
    sums = np.abs(rows @ columns)
    whole = sums[:, 0] if distances is None else np.abs(rows @ distances).sum(axis=1)
    return {
        Evidence.EXACT_REPEATS: -repeats_across(rows, same),
        Evidence.SUM: whole,
        Evidence.TOKENS: sums[:, 1:].max(axis=1),
    }


def repeats_across(rows: Floats, same: Floats) -> Floats:
    """Return R numbers of identical pairs across the division."""
    groups = _groups(same)
    if groups is None:
        crossing: Floats = ((rows @ same) * (1 - rows)).sum(axis=1)
    else:
        of_new = rows @ groups
        crossing = (of_new * (groups.sum(axis=0) - of_new)).sum(axis=1)
    return crossing


def _groups(same: Floats) -> Floats | None:
    """Return n x G: the groups of two or more equal draws; None where equality is no equivalence.

    Most draws of a service repeat one value, or none do, so there are few groups.
    """
    distinct = np.unique(same, axis=0)
    if not (distinct.sum(axis=0) == 1).all():
        return None
    found: Floats = distinct[distinct.sum(axis=1) > 1].T
    return found
