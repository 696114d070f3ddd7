"""Importance weights between the policies of a suite, and whether they can be used."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from repro_gate.checks.comparison import Comparison
from repro_gate.core.design import CONTROLS_SHARE, FIRST_WAVE
from repro_gate.core.logprob_report import WeightReport
from repro_gate.core.logprob_verdicts import Evidence
from repro_gate.core.policies import LogprobSuite, Tolerance, WeightPlan
from repro_gate.statistics.draws import as_column
from repro_gate.statistics.two_samples import two_samples
from repro_gate.statistics.weights import weights_of
from repro_gate.statistics.whole_suite import WholeSuite

_SEED = 20_251_125


def weigh(suite: LogprobSuite, seen: Mapping[str, Comparison]) -> tuple[WeightReport, ...]:
    """Return the weights of every other policy of the suite against its base."""
    if suite.weights is None:
        return ()
    names = dict.fromkeys(cell.policy.name for cell in suite.cells)
    totals: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for comparison in seen.values():
        if comparison.totals and comparison.problem is None:
            cell = comparison.cell
            # Outliers are not among them: one would be a weight of exp(116).
            drawn = [*comparison.calibration_totals, *comparison.totals]
            totals[cell.policy.name][cell.item.name] = drawn
    base = totals[suite.weights.base]
    pairs = {name: list(_shared(base, totals[name])) for name in names}
    # What could not be measured is said of its cells; no weights are no bad weights.
    return tuple(
        _report(suite, suite.weights, name, pairs[name])
        for name in names
        if name != suite.weights.base and pairs[name]
    )


def _shared(
    base: Mapping[str, Sequence[float]], target: Mapping[str, Sequence[float]]
) -> Iterator[tuple[Sequence[float], Sequence[float]]]:
    """Yield the sums of each item that both policies have, in nats."""
    return ((base[item], target[item]) for item in base if item in target)


def _report(
    suite: LogprobSuite,
    weights: WeightPlan,
    target: str,
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> WeightReport:
    is_control = target in weights.clones
    ratios = [median(of_target) - median(of_base) for of_base, of_target in pairs]
    said = weights_of(ratios)
    control_p = _control_p(pairs, suite.tolerance) if is_control else None
    return WeightReport(
        base=weights.base,
        target=target,
        is_control=is_control,
        must_be_usable=target in weights.must_be_usable,
        items=said.items,
        mean_log_ratio=math.fsum(ratios) / len(ratios),
        effective_size=said.effective_size,
        largest_share=said.largest_share,
        mean_weight=said.mean_weight,
        khat=said.khat,
        khat_bar=said.khat_bar,
        control_p=control_p,
        problems=(*_off_center(suite, weights, control_p, ratios), *said.problems()),
    )


def _off_center(
    suite: LogprobSuite, weights: WeightPlan, control_p: float | None, ratios: Sequence[float]
) -> Iterator[str]:
    tolerance = suite.tolerance
    level = CONTROLS_SHARE * tolerance.false_alarm_rate / max(1, len(weights.clones))
    is_off = control_p is not None and control_p <= level
    typical = median(map(abs, ratios))
    if is_off and typical > tolerance.floor_nats:
        yield (
            f"the A/A control is not centred on 0: the log-ratios are typically {typical:.3g} nats "
            f"(p = {control_p:.2g}), though both policies should be the same"
        )


def _control_p(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], tolerance: Tolerance
) -> float:
    """Return how likely such differences are when base and clone are one and the same."""
    suite = WholeSuite(seed=_SEED)
    # How many draws came after these depends on what they were.
    fixed = tolerance.calibration_draws + FIRST_WAVE
    for of_base, of_target in pairs:
        suite.add(two_samples(as_column(of_base[:fixed]), as_column(of_target[:fixed])))
    return suite.p_values()[Evidence.SUM]
