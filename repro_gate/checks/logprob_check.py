"""One suite of log-probabilities, from the first draw to the report."""

from collections.abc import Iterator
from dataclasses import dataclass

from repro_gate.checks.logprob_results import report_on
from repro_gate.checks.logprobs import LogprobMeasurer, LogprobPorts
from repro_gate.checks.survey import Survey
from repro_gate.core.logprob_report import LogprobReport
from repro_gate.core.policies import SERVER_FINGERPRINT, LogprobPlan
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.verdicts import Inconclusive, Unrecorded
from repro_gate.ports import Scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSuite:
    """The report on a suite, and whether it was finished."""

    report: LogprobReport
    interrupted: bool
    notes: tuple[Note, ...] = ()
    """What was noticed until the suite was finished."""


def check_logprobs(plan: LogprobPlan, found: Survey, *, ports: LogprobPorts) -> CheckedSuite:
    """Return a verdict on every cell of the plan, and on every baseline that no cell claims.

    An interruption (`KeyboardInterrupt`) ends the measurement, not the report.
    """
    measurer = LogprobMeasurer(plan, found, ports=ports)
    interrupted = False
    try:
        measurer.measure()
    except KeyboardInterrupt:
        interrupted = True
    report = report_on(plan, found, measurer, scorer=ports.scorer)
    notes = (
        *ports.scorer.notes(),
        *_server_changes(plan, measurer, ports.scorer),
        *_missing_controls(measurer),
    )
    return CheckedSuite(report=report, interrupted=interrupted, notes=notes)


def unreached(
    plan: LogprobPlan, *, ports: LogprobPorts, because: Inconclusive | None = None
) -> CheckedSuite:
    """Return the report on a suite that was not begun; None stands for an interruption."""
    settled: dict[str, Unrecorded | Inconclusive] = {}
    if because is not None:
        settled = {cell.id: because for cell in plan.cells}
    nothing = Survey(
        sources={}, comparable=(), settled=settled, orphans=(), tokens=0, fingerprint="0" * 64
    )
    measurer = LogprobMeasurer(plan, nothing, ports=ports)
    report = report_on(plan, nothing, measurer, scorer=ports.scorer)
    return CheckedSuite(report=report, interrupted=because is None)


def _server_changes(plan: LogprobPlan, measurer: LogprobMeasurer, scorer: Scorer) -> Iterator[Note]:
    """Yield a note for each policy whose server has another configuration than was recorded."""
    for policy in plan.policies:
        recorded = measurer.recorded_facts.get(policy.name, {}).get(SERVER_FINGERPRINT)
        now = scorer.facts(policy).get(SERVER_FINGERPRINT) if recorded else None
        if recorded and now and now != recorded:
            message = f"the server's system_fingerprint was {recorded} and is now {now}"
            yield Note(about=policy.name, message=message, origin=NoteOrigin.SERVER)


def _missing_controls(measurer: LogprobMeasurer) -> Iterator[Note]:
    """Yield why a policy has no control, for each that was tried in vain."""
    for policy, reason in measurer.drawer.control_problems.items():
        if policy not in measurer.controls:
            message = f"its control could not be measured: {reason}"
            yield Note(about=policy, message=message, origin=NoteOrigin.SERVER)
