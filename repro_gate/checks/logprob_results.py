"""From what was drawn to verdicts: the `LogprobReport` of a suite."""

from collections.abc import Iterable, Mapping, Sequence

from repro_gate.checks.comparison import Comparison
from repro_gate.checks.logprobs import LogprobMeasurer
from repro_gate.checks.policy_noise import policy_noises
from repro_gate.checks.survey import Survey
from repro_gate.checks.weighing import weigh
from repro_gate.core.design import CELLS_SHARE, max_outliers
from repro_gate.core.goldens import provenance_changes
from repro_gate.core.logprob_report import LogprobCellReport, LogprobReport, Spending
from repro_gate.core.logprob_verdicts import Agrees, Invalid, LogprobVerdict, Outlying, Shifted
from repro_gate.core.policies import LogprobCell, LogprobPlan, Tolerance
from repro_gate.core.verdicts import Inconclusive, Orphaned
from repro_gate.ports import Scorer
from repro_gate.statistics.cells import effect_of
from repro_gate.statistics.draws import as_array
from repro_gate.statistics.holm import holm

_INTERRUPTED = Inconclusive(
    reason="the check was interrupted", remedy="repeat the check with --resume"
)


def report_on(
    plan: LogprobPlan, found: Survey, measured: LogprobMeasurer, *, scorer: Scorer
) -> LogprobReport:
    """Return a verdict on every cell, on every orphaned baseline, and on the suite as a whole."""
    tolerance = plan.suite.tolerance
    seen = measured.seen
    p_values = {name: c.confirmed.p_value for name, c in seen.items() if c.confirmed is not None}
    adjusted = holm(p_values, tests=len(found.comparable))
    for name, comparison in seen.items():
        if not _has_drifted(comparison, adjusted.get(name, 1.0), tolerance, scorer):
            comparison.settle(floor=tolerance.floor_nats)
    counted = _outliers(seen.values())
    cells = [
        _cell_report(
            cell,
            seen.get(cell.id),
            found,
            _verdict(cell, seen.get(cell.id), found, (adjusted, counted, tolerance, scorer)),
        )
        for cell in plan.cells
    ]
    drifted = {cell.id for cell in cells if isinstance(cell.verdict, Shifted)}
    return LogprobReport(
        suite=plan.suite.name,
        tolerance=tolerance,
        cells=(*cells, *_orphans(found)),
        suite_test=measured.whole.result(tolerance, drifted=drifted),
        policies=policy_noises(plan.policies, seen.values()),
        weights=weigh(plan.suite, _current(seen), fixed=tolerance.draws),
        controls=tuple(measured.controls.values()),
        spending=_spending(measured),
    )


def _current(seen: Mapping[str, Comparison]) -> Mapping[str, Sequence[float]]:
    """Return the draws of this check of each cell that could be measured, without outliers."""
    return {name: found.totals for name, found in seen.items() if found.problem is None}


def _verdict(
    cell: LogprobCell,
    seen: Comparison | None,
    found: Survey,
    judged: tuple[Mapping[str, float], tuple[int, int], Tolerance, Scorer],
) -> LogprobVerdict:
    adjusted, (count, draws), tolerance, scorer = judged
    if cell.id in found.settled:
        return found.settled[cell.id]
    if seen is None:
        return _INTERRUPTED
    unfinished = seen.problem or (None if seen.is_decided else _INTERRUPTED)
    if isinstance(unfinished, Invalid):
        return unfinished
    by_effect = unfinished or _by_effect(seen, adjusted.get(cell.id, 1.0), tolerance, scorer)
    most = max_outliers(tolerance, draws)
    if seen.outliers and count > most and not isinstance(by_effect, Shifted):
        return Outlying(
            count=count,
            draws=draws,
            most=most,
            allowed=tolerance.max_outlier_rate,
            unfinished=unfinished,
        )
    return by_effect


def _has_drifted(seen: Comparison, p_value: float, tolerance: Tolerance, scorer: Scorer) -> bool:
    return isinstance(_by_effect(seen, p_value, tolerance, scorer), Shifted)


def _by_effect(
    seen: Comparison, p_value: float, tolerance: Tolerance, scorer: Scorer
) -> Agrees | Shifted:
    if seen.confirmed is None or seen.baseline is None or seen.new is None:
        return Agrees(sameness=seen.sameness)
    level = CELLS_SHARE * tolerance.false_alarm_rate
    certain = seen.confirmed.certain(p_value, level=level)
    if not certain:
        return Agrees(sameness=seen.sameness)
    effect, is_beyond = effect_of(
        certain,
        draws=(as_array(seen.baseline.draws), seen.new),
        floor=tolerance.floor_nats,
        of=seen.baseline.encoding,
    )
    if not is_beyond:
        return Agrees(sameness=seen.sameness, changed=effect)
    provenance = provenance_changes(seen.baseline.provenance, scorer.facts(seen.cell.policy))
    return Shifted(effect=effect, provenance=provenance)


def _cell_report(
    cell: LogprobCell, seen: Comparison | None, found: Survey, verdict: LogprobVerdict
) -> LogprobCellReport:
    return LogprobCellReport(
        id=cell.id,
        cell=cell,
        verdict=verdict,
        source=found.sources.get(cell.policy.name),
        center=seen.center if seen else None,
        band=seen.band if seen and seen.totals else None,
        calibration=seen.calibration_totals if seen else (),
        totals=tuple(seen.totals) if seen else (),
        outliers=tuple(seen.outliers) if seen else (),
    )


def _orphans(found: Survey) -> Iterable[LogprobCellReport]:
    for source, cell_id in found.orphans:
        yield LogprobCellReport(
            id=cell_id,
            cell=None,
            verdict=Orphaned(),
            source=source,
            center=None,
            band=None,
            calibration=(),
            totals=(),
        )


def _outliers(seen: Iterable[Comparison]) -> tuple[int, int]:
    """Return how many outliers there are, and how many valid draws, outliers among them."""
    pairs = [(len(comparison.outliers), comparison.made) for comparison in seen]
    return sum(count for count, _ in pairs), sum(made for _, made in pairs)


def _spending(measured: LogprobMeasurer) -> Spending:
    drawer = measured.drawer
    return Spending(
        calls=drawer.calls,
        saved=sum(comparison.saved for comparison in measured.seen.values()),
        reused=drawer.reused,
        tokens=drawer.tokens,
        usd=drawer.priced / 1e6,
    )
