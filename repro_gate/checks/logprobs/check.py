"""How the draws of each policy vary by themselves: policies, and temperatures, side by side."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from repro_gate.checks.logprobs.collect import Comparison
from repro_gate.checks.logprobs.importance_weights import weigh
from repro_gate.checks.logprobs.measure import LogprobPorts, SuiteRunner
from repro_gate.checks.logprobs.preflight import Preflight
from repro_gate.core.design import CELLS_SHARE, max_outliers
from repro_gate.core.goldens import provenance_changes
from repro_gate.core.logprob_report import LogprobCellReport, LogprobReport, PolicyNoise, Spending
from repro_gate.core.logprob_verdicts import Agrees, Invalid, LogprobVerdict, Outlying, Shifted
from repro_gate.core.policies import SERVER_FINGERPRINT, LogprobCell, LogprobPlan, Policy, Tolerance
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.verdicts import Inconclusive, Orphan, Unrecorded
from repro_gate.ports import Scorer
from repro_gate.statistics.cells import effect_of
from repro_gate.statistics.draws import as_array
from repro_gate.statistics.holm import holm


def policy_noises(
    policies: Iterable[Policy], seen: Iterable[Comparison]
) -> tuple[PolicyNoise, ...]:
    """Return the noise of each policy, over its cells that were measured."""
    cells: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in seen:
        if comparison.totals:
            cells[comparison.cell.policy.name].append(comparison)
    return tuple(_noise(policy, cells[policy.name]) for policy in policies if policy.name in cells)


def _noise(policy: Policy, cells: Sequence[Comparison]) -> PolicyNoise:
    draws = sum(len(cell.totals) for cell in cells)
    return PolicyNoise(
        policy=policy.name,
        model=policy.model,
        temperature=policy.temperature,
        logprobs=policy.logprobs,
        cells=len(cells),
        calibration_variance=within_variance([cell.calibration_totals for cell in cells]),
        variance=within_variance([cell.totals for cell in cells]),
        atom=sum(cell.repeats for cell in cells) / draws,
        draws=draws,
        outliers=sum(len(cell.outliers) for cell in cells),
    )


def within_variance(groups: Sequence[Sequence[float]]) -> float:
    """Return the pooled variance within groups, in nats squared; 0 when none has two members."""
    squares, degrees = 0.0, 0
    for group in groups:
        mean = sum(group) / len(group)
        squares += sum((value - mean) ** 2 for value in group)
        degrees += len(group) - 1
    return squares / degrees if degrees else 0.0


_INTERRUPTED = Inconclusive(
    reason="the check was interrupted", remedy="repeat the check with --resume"
)


def report_on(
    plan: LogprobPlan, found: Preflight, measured: SuiteRunner, *, scorer: Scorer
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
        cells=tuple(cells),
        orphans=tuple(Orphan(id=name, origin=source) for source, name in found.orphans),
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
    found: Preflight,
    judged: tuple[Mapping[str, float], tuple[int, int], Tolerance, Scorer],
) -> LogprobVerdict:
    adjusted, (count, draws), tolerance, scorer = judged
    if cell.id in found.decided:
        return found.decided[cell.id]
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
    cell: LogprobCell, seen: Comparison | None, found: Preflight, verdict: LogprobVerdict
) -> LogprobCellReport:
    return LogprobCellReport(
        cell=cell,
        verdict=verdict,
        source=found.sources.get(cell.policy.name),
        center=seen.center if seen else None,
        band=seen.band if seen and seen.totals else None,
        calibration=seen.calibration_totals if seen else (),
        totals=tuple(seen.totals) if seen else (),
        outliers=tuple(seen.outliers) if seen else (),
    )


def _outliers(seen: Iterable[Comparison]) -> tuple[int, int]:
    """Return how many outliers there are, and how many valid draws, outliers among them."""
    pairs = [(len(comparison.outliers), comparison.made) for comparison in seen]
    return sum(count for count, _ in pairs), sum(made for _, made in pairs)


def _spending(measured: SuiteRunner) -> Spending:
    collector = measured.collector
    return Spending(
        calls=collector.calls,
        saved=sum(comparison.saved for comparison in measured.seen.values()),
        reused=collector.reused,
        tokens=collector.tokens,
        usd=collector.priced / 1e6,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSuite:
    """The report on a suite, and whether it was finished."""

    report: LogprobReport
    interrupted: bool
    notes: tuple[Note, ...] = ()
    """What was noticed until the suite was finished."""


def check_logprobs(plan: LogprobPlan, found: Preflight, *, ports: LogprobPorts) -> CheckedSuite:
    """Return a verdict on every cell of the plan, and on every baseline that no cell claims.

    An interruption (`KeyboardInterrupt`) ends the measurement, not the report.
    """
    runner = SuiteRunner(plan, found, ports=ports)
    interrupted = False
    try:
        runner.measure()
    except KeyboardInterrupt:
        interrupted = True
    report = report_on(plan, found, runner, scorer=ports.scorer)
    notes = (
        *ports.scorer.notes(),
        *_server_changes(plan, runner, ports.scorer),
        *_missing_controls(runner),
    )
    return CheckedSuite(report=report, interrupted=interrupted, notes=notes)


def unreached(
    plan: LogprobPlan, *, ports: LogprobPorts, because: Inconclusive | None = None
) -> CheckedSuite:
    """Return the report on a suite that was not begun; None stands for an interruption."""
    decided: dict[str, Unrecorded | Inconclusive] = {}
    if because is not None:
        decided = {cell.id: because for cell in plan.cells}
    nothing = Preflight(
        sources={}, comparable=(), decided=decided, orphans=(), tokens=0, fingerprint="0" * 64
    )
    runner = SuiteRunner(plan, nothing, ports=ports)
    report = report_on(plan, nothing, runner, scorer=ports.scorer)
    return CheckedSuite(report=report, interrupted=because is None)


def _server_changes(plan: LogprobPlan, runner: SuiteRunner, scorer: Scorer) -> Iterator[Note]:
    """Yield a note for each policy whose server has another configuration than was recorded."""
    for policy in plan.policies:
        recorded = runner.recorded_facts.get(policy.name, {}).get(SERVER_FINGERPRINT)
        now = scorer.facts(policy).get(SERVER_FINGERPRINT) if recorded else None
        if recorded and now and now != recorded:
            message = f"the server's system_fingerprint was {recorded} and is now {now}"
            yield Note(about=policy.name, message=message, origin=NoteOrigin.SERVER)


def _missing_controls(runner: SuiteRunner) -> Iterator[Note]:
    """Yield why a policy has no control, for each that was tried in vain."""
    for policy, reason in runner.collector.control_problems.items():
        if policy not in runner.controls:
            message = f"its control could not be measured: {reason}"
            yield Note(about=policy, message=message, origin=NoteOrigin.SERVER)
