"""Check one suite of log-probabilities: measure it, and turn the draws into verdicts."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from repro_gate.checks.logprobs.collect import Comparison, vectors_of
from repro_gate.checks.logprobs.importance_weights import importance_weights
from repro_gate.checks.logprobs.measure import LogprobPorts, SuiteRunner
from repro_gate.checks.logprobs.preflight import Preflight
from repro_gate.core.logprobs.alternatives import common_fork
from repro_gate.core.logprobs.error_rates import CELLS_SHARE, max_outliers
from repro_gate.core.logprobs.policy import SERVER_FINGERPRINT, LogprobCell, LogprobPlan, Policy
from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport, PolicyNoise, Spending
from repro_gate.core.logprobs.verdicts import Agrees, Invalid, LogprobVerdict, Outlying, Shifted
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens.golden import provenance_changes
from repro_gate.core.tokens.verdicts import Inconclusive, Orphan, Unrecorded
from repro_gate.ports import Scorer
from repro_gate.statistics.cell import effect_of
from repro_gate.statistics.permutation import holm
from repro_gate.statistics.sessions import floors_of

_INTERRUPTED = Inconclusive(
    reason="the check was interrupted", remedy="repeat the check with --resume"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSuite:
    """The report on a suite, and whether it was finished."""

    report: LogprobReport
    interrupted: bool
    notes: tuple[Note, ...] = ()


def check_logprobs(plan: LogprobPlan, preflight: Preflight, *, ports: LogprobPorts) -> CheckedSuite:
    """Return a verdict on every cell of the plan, and every orphaned baseline.

    An interruption (`KeyboardInterrupt`) ends the measurement, not the report.
    """
    runner = SuiteRunner(plan, preflight, ports=ports)
    interrupted = False
    try:
        runner.measure()
    except KeyboardInterrupt:
        interrupted = True
    report = _Judge(plan, preflight, runner, ports.scorer).report()
    notes = (
        *ports.scorer.notes(),
        *_server_changes(plan, runner, ports.scorer),
        *_missing_controls(runner),
    )
    return CheckedSuite(report=report, interrupted=interrupted, notes=notes)


def unreached(
    plan: LogprobPlan, *, ports: LogprobPorts, because: Inconclusive | None = None
) -> CheckedSuite:
    """Return the report on a suite that was not started, because of an interruption if None."""
    decided: dict[str, Unrecorded | Inconclusive] = {}
    if because is not None:
        decided = {cell.id: because for cell in plan.cells}
    nothing = Preflight(
        sources={}, comparable=(), decided=decided, orphans=(), tokens=0, fingerprint="0" * 64
    )
    runner = SuiteRunner(plan, nothing, ports=ports)
    report = _Judge(plan, nothing, runner, ports.scorer).report()
    return CheckedSuite(report=report, interrupted=because is None)


def _server_changes(plan: LogprobPlan, runner: SuiteRunner, scorer: Scorer) -> Iterator[Note]:
    """Yield a note for each policy whose server configuration differs from the recorded one."""
    for policy in plan.policies:
        recorded = runner.recorded_facts.get(policy.name, {}).get(SERVER_FINGERPRINT)
        now = scorer.facts(policy).get(SERVER_FINGERPRINT) if recorded else None
        if recorded and now and now != recorded:
            message = f"the server's system_fingerprint was {recorded} and is now {now}"
            yield Note(about=policy.name, message=message, origin=NoteOrigin.SERVER)


def _missing_controls(runner: SuiteRunner) -> Iterator[Note]:
    """Yield a note for each policy whose control was attempted and failed to run."""
    for policy, reason in runner.collector.control_problems.items():
        if policy not in runner.controls:
            message = f"its control could not be measured: {reason}"
            yield Note(about=policy, message=message, origin=NoteOrigin.SERVER)


class _Judge:
    """Turns what a runner has drawn into the report on a suite."""

    def __init__(
        self, plan: LogprobPlan, preflight: Preflight, runner: SuiteRunner, scorer: Scorer
    ) -> None:
        self._plan = plan
        self._preflight = preflight
        self._runner = runner
        self._scorer = scorer
        self._tolerance = plan.suite.tolerance
        self._measured = runner.measured
        p_values = {
            name: cell.confirmed.p_value
            for name, cell in self._measured.items()
            if cell.confirmed is not None
        }
        self._p_values = holm(p_values, tests=len(preflight.comparable))
        for cell in self._measured.values():
            if not isinstance(self._by_effect(cell), Shifted):
                cell.exclude_strays(floor=self._tolerance.floor_nats)
        self._outliers = sum(len(cell.outliers) for cell in self._measured.values())
        self._draws = sum(cell.made for cell in self._measured.values())

    def report(self) -> LogprobReport:
        """Return a verdict on every cell, every orphaned baseline and the suite as a whole."""
        suite, runner, measured = self._plan.suite, self._runner, self._measured
        cells = tuple(map(self._cell_report, self._plan.cells))
        drifted = {cell.id for cell in cells if isinstance(cell.verdict, Shifted)}
        # Without outliers, and without cells that could not be measured.
        totals = {name: cell.totals for name, cell in measured.items() if cell.problem is None}
        return LogprobReport(
            suite=suite.name,
            tolerance=self._tolerance,
            cells=cells,
            orphans=tuple(Orphan(id=name, origin=by) for by, name in self._preflight.orphans),
            suite_test=runner.suite_test.result(self._tolerance, drifted=drifted),
            policies=_policy_noises(self._plan.policies, measured.values()),
            weights=importance_weights(suite, totals, fixed=self._tolerance.draws),
            controls=tuple(runner.controls.values()),
            spending=Spending(
                calls=runner.collector.calls,
                saved=sum(cell.saved for cell in measured.values()),
                reused=runner.collector.reused,
                tokens=runner.collector.tokens,
                usd=runner.collector.priced / 1e6,
            ),
            sessions=self._preflight.sessions,
        )

    def _cell_report(self, cell: LogprobCell) -> LogprobCellReport:
        measured = self._measured.get(cell.id)
        return LogprobCellReport(
            cell=cell,
            verdict=self._verdict(cell, measured),
            source=self._preflight.sources.get(cell.policy.name),
            center=measured.center if measured else None,
            band=measured.band if measured and measured.totals else None,
            calibration=measured.calibration_totals if measured else (),
            totals=tuple(measured.totals) if measured else (),
            outliers=tuple(measured.outliers) if measured else (),
        )

    def _verdict(self, cell: LogprobCell, measured: Comparison | None) -> LogprobVerdict:
        if cell.id in self._preflight.decided:
            return self._preflight.decided[cell.id]
        if measured is None:
            return _INTERRUPTED
        unfinished = measured.problem or (None if measured.is_decided else _INTERRUPTED)
        if isinstance(unfinished, Invalid):
            return unfinished
        by_effect = unfinished or self._by_effect(measured)
        limit = max_outliers(self._tolerance, self._draws)
        is_noisy = bool(measured.outliers) and self._outliers > limit
        if is_noisy and not isinstance(by_effect, Shifted):
            return Outlying(
                count=self._outliers,
                draws=self._draws,
                most=limit,
                allowed=self._tolerance.max_outlier_rate,
                unfinished=unfinished,
            )
        return by_effect

    def _by_effect(self, cell: Comparison) -> Agrees | Shifted:
        if cell.confirmed is None or cell.baseline is None:
            return Agrees(equivalence=cell.equivalence)
        level = CELLS_SHARE * self._tolerance.false_alarm_rate
        significant = cell.confirmed.significant(self._p_values[cell.cell.id], level=level)
        if not significant:
            return Agrees(equivalence=cell.equivalence)
        vectors = vectors_of(cell.cell, cell.baseline, cell.new)
        (new,) = vectors.looks
        floor = self._tolerance.floor_nats
        effect, is_beyond = effect_of(
            significant,
            draws=(vectors.calibration, new),
            floor=floors_of(vectors.calibration, cell.baseline.sizes, floor=floor),
            of=vectors.encoding,
            by_distance=cell.cell.policy.by_distance,
        )
        effect = replace(effect, fork=common_fork(cell.new))
        if not is_beyond:
            return Agrees(equivalence=cell.equivalence, changed=effect)
        facts = self._scorer.facts(cell.cell.policy)
        changes = provenance_changes(cell.baseline.provenance, facts)
        return Shifted(effect=effect, provenance=changes)


def _policy_noises(
    policies: Iterable[Policy], measured: Iterable[Comparison]
) -> tuple[PolicyNoise, ...]:
    """Return the noise of each policy, over its measured cells."""
    cells: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in measured:
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
        kind=policy.kind,
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
