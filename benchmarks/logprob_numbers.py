"""Print the computed numbers that docs/explanation/log-probabilities.md quotes.

python -m benchmarks.logprob_numbers
"""

from collections.abc import Iterator
from math import comb, exp, log10
from statistics import mean, median, stdev

import numpy as np

from repro_gate.core.logprobs import error_rates
from repro_gate.core.logprobs.baseline import fit_noise, outliers
from repro_gate.core.logprobs.draw import Draw
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.statistics.bands import tolerance_factor
from repro_gate.statistics.weights import weights_of

_SERVED = (-40.8, -42.0, -42.4, -43.0, -43.5)
_OUTLIER = -156.5
_CLONE = -40.3
_RATIOS = (
    ("clone / base", _CLONE - _OUTLIER, 1),
    ("unhelpful / base, asked again", -107.8 + 42.6, error_rates.MIN_WEIGHTS),
    ("base / base", 0.0, error_rates.MIN_WEIGHTS),
)


def _design() -> Iterator[str]:
    usual = Tolerance()
    n, k = usual.calibration_draws, usual.draws
    yield f"{n} calibration draws, looks of {k}, a false-alarm rate of {usual.false_alarm_rate:.0%}"
    yield f"  divisions: {comb(n + k, k)} of one look, {comb(n + 2 * k, 2 * k)} of both"
    one, both = error_rates.smallest_p(n, k), error_rates.smallest_p(n, 2 * k)
    yield f"  smallest p-value: {one:.2g} of one look, {both:.2g} of both"
    most = max(m for m in range(1, 1000) if error_rates.has_power(usual, m))
    enough = error_rates.sufficient_draws(usual, 1000)
    yield f"  most cells in a suite: {most}; 1000 cells need {enough} draws"
    least = comb(n + 2, 2) / comb(n + k, k)
    yield f"  after two draws without a difference: p >= {least:.3f}, whatever follows"
    factors = ", ".join(f"{new}: {tolerance_factor(n, new):.2f}" for new in (1, 5, 10))
    yield f"  tolerance factor by new draws: {factors}"


def _finding() -> Iterator[str]:
    noise = fit_noise([[total] for total in _SERVED])
    six = [*_SERVED, _OUTLIER]
    factor = Tolerance().outlier_factor
    found = outliers([Draw(logprobs=(total,)) for total in six], noise, factor=factor)
    yield f"five draws and one of {_OUTLIER}"
    yield f"  {abs(_OUTLIER - mean(six)) / stdev(six):.2f} standard deviations from the mean"
    distance, bound = abs(_OUTLIER - noise.center), noise.outlier_bound(factor)
    yield f"  {distance:.1f} nats from the median; {bound:.1f} are allowed"
    yield f"  outliers: {[six[place] for place in found]}"
    ratio = _CLONE - median(_SERVED)
    by_outlier = exp(_CLONE - _OUTLIER)
    yield f"  weight of the clone: {exp(ratio):.1f} by the median, {by_outlier:.1e} by the outlier"


def _weights() -> Iterator[str]:
    yield f"weights, at least {error_rates.MIN_WEIGHTS} items"
    for name, ratio, items in _RATIOS:
        spread = np.random.default_rng(0).normal(0, 0.5, items) if ratio else np.zeros(items)
        found = weights_of((ratio + spread).tolist())
        state = "unusable" if found.mean_p <= error_rates.WEIGHTS_RATE else "usable"
        mean_weight = f"mean weight {found.mean_weight:.1e} (p = {found.mean_p:.1e})"
        yield f"  {name} ({ratio:+.1f} nats), {items} items: {mean_weight}, {state}"
    bars = (f"{size} items {min(1 - 1 / log10(size), 0.7):.2f}" for size in (100, 1000, 5000))
    yield f"  k-hat at most: {', '.join(bars)}"


def main() -> None:
    """Print all of them."""
    print("\n".join([*_design(), *_finding(), *_weights()]))


if __name__ == "__main__":
    main()
