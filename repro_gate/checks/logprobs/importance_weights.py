"""Importance weights between the policies of a suite, and whether they are usable."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TypeAlias

from repro_gate.core.logprobs.error_rates import (
    MAX_NOISE_NATS,
    control_level,
    max_noise,
    weights_doubt,
)
from repro_gate.core.logprobs.policy import LogprobSuite, WeightPlan
from repro_gate.core.logprobs.report import WeightReport
from repro_gate.core.logprobs.verdicts import Evidence
from repro_gate.statistics.permutation import as_column, two_samples
from repro_gate.statistics.suite import WholeSuite
from repro_gate.statistics.weights import weights_of

_SEED = 20_251_125

_Pair: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""The sums of an item under the base and under the target, in nats."""


def importance_weights(
    suite: LogprobSuite, totals: Mapping[str, Sequence[float]], *, fixed: int
) -> tuple[WeightReport, ...]:
    """Return the weights of every other policy of the suite against its base.

    Args:
        suite: its policies and items.
        totals: the sums of each measured cell by id, in nats, of one measurement and without
            outliers: a single one could give a weight of exp(116).
        fixed: how many draws of each cell the A/A control uses. A number that depends on the
            draws would bias it.
    """
    if suite.weights is None:
        return ()
    drawn: dict[str, dict[str, Sequence[float]]] = {cell.policy.name: {} for cell in suite.cells}
    for cell in suite.cells:
        if totals.get(cell.id):
            drawn[cell.policy.name][cell.item.name] = totals[cell.id]
    base = drawn[suite.weights.base]
    pairs = {
        name: [(base[item], of_target[item]) for item in base if item in of_target]
        for name, of_target in drawn.items()
        if name != suite.weights.base
    }
    # What could not be measured is reported with the cells; missing weights are not bad weights.
    return tuple(
        _report(suite, suite.weights, name, items, fixed) for name, items in pairs.items() if items
    )


def expected_doubts(suite: LogprobSuite) -> tuple[tuple[str, str], ...]:
    """Return each policy whose weights a check cannot judge, with the reason.

    It depends on the number of items and draws only, so it is known before any draw.
    """
    plan, draws = suite.weights, suite.tolerance.draws
    if plan is None:
        return ()
    level = control_level(suite.tolerance, len(plan.clones))
    items = len({cell.item.name for cell in suite.cells})
    doubts = (
        (
            target,
            weights_doubt(
                items,
                control=[(draws, draws)] * items if target in plan.clones else None,
                level=level,
            ),
        )
        for target in dict.fromkeys((*plan.clones, *plan.must_be_usable))
    )
    return tuple((target, doubt) for target, doubt in doubts if doubt is not None)


def _report(
    suite: LogprobSuite, plan: WeightPlan, target: str, pairs: Sequence[_Pair], fixed: int
) -> WeightReport:
    is_control = target in plan.clones
    level = control_level(suite.tolerance, len(plan.clones))
    cut = [(of_base[:fixed], of_target[:fixed]) for of_base, of_target in pairs]
    sizes = [(len(of_base), len(of_target)) for of_base, of_target in cut]
    doubt = weights_doubt(len(pairs), control=sizes if is_control else None, level=level)
    control_p = _control_p(cut) if is_control else None
    ratios = [median(of_target) - median(of_base) for of_base, of_target in pairs]
    floor = suite.tolerance.floor_nats
    found = weights_of(ratios)
    is_few = weights_doubt(len(pairs), control=None, level=level)
    unlike = _unlike_noise(ratios, floor)
    # The tail of noise around 0 has no bearing on weights that are known to be 1.
    is_mean_alone = is_few is not None or (is_control and unlike is None)
    return WeightReport(
        base=plan.base,
        target=target,
        is_control=is_control,
        must_be_usable=target in plan.must_be_usable,
        items=found.items,
        mean_log_ratio=math.fsum(ratios) / len(ratios),
        effective_size=found.effective_size,
        largest_share=found.largest_share,
        mean_weight=found.mean_weight,
        mean_p=found.mean_p,
        khat=found.khat,
        khat_bar=found.khat_bar,
        control_p=control_p,
        problems=(
            *_off_center(control_p, level, ratios, floor),
            *(found.mean_problems() if is_mean_alone else found.problems()),
        ),
        doubts=tuple(_doubts(doubt, is_few if is_control else None, unlike)),
        control_doubt=doubt if is_control else None,
    )


def _doubts(doubt: str | None, is_few: str | None, unlike: str | None) -> Iterator[str]:
    """Yield why the items cannot show that the weights are usable.

    A clone whose log-ratios are noise around 0 needs fewer items.
    """
    if doubt is not None:
        yield doubt
    elif is_few is not None and unlike is not None:
        yield f"the log-ratios of the clone are {unlike}, and {is_few}"


def _off_center(
    control_p: float | None, level: float, ratios: Sequence[float], floor: float
) -> Iterator[str]:
    size = _too_far(ratios, floor)
    if control_p is not None and control_p <= level and size is not None:
        yield (
            f"the A/A control is not centred on 0: the log-ratios are {size} "
            f"(p = {control_p:.2g}), though both policies should be the same"
        )


def _unlike_noise(ratios: Sequence[float], floor: float) -> str | None:
    """Return how far log-ratios are from 0 where noise does not explain it, or None."""
    furthest = max(map(abs, ratios))
    size = _too_far(ratios, floor)
    return size or (f"up to {furthest:.3g} nats" if furthest > MAX_NOISE_NATS else None)


def _too_far(ratios: Sequence[float], floor: float) -> str | None:
    """Return the size of the log-ratios if it exceeds the floor, else None."""
    typical = median(map(abs, ratios))
    if typical > floor:
        return f"typically {typical:.3g} nats"
    # When most are 0, the others may still be too many and too large.
    square = math.sqrt(math.fsum(ratio**2 for ratio in ratios) / len(ratios))
    return f"{square:.3g} nats in the root mean square" if square > max_noise(len(ratios)) else None


def _control_p(pairs: Sequence[_Pair]) -> float:
    """Return the p-value of the differences if base and clone are the same model."""
    suite = WholeSuite(seed=_SEED)
    for of_base, of_target in pairs:
        suite.add(two_samples(as_column(of_base), as_column(of_target)))
    return suite.p_values()[Evidence.SUM]
