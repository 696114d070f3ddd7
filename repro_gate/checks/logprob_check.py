"""One suite of log-probabilities, from the first draw to the report."""

from dataclasses import dataclass

from repro_gate.checks.logprob_results import report_on
from repro_gate.checks.logprobs import LogprobMeasurer, LogprobPorts
from repro_gate.checks.survey import Survey
from repro_gate.core.logprob_report import LogprobReport
from repro_gate.core.policies import LogprobPlan
from repro_gate.core.report import Note


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSuite:
    """The report on a suite, and whether it was finished."""

    report: LogprobReport
    interrupted: bool
    notes: tuple[Note, ...] = ()
    """What the scorer noticed until the suite was finished."""


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
    return CheckedSuite(report=report, interrupted=interrupted, notes=ports.scorer.notes())


def unreached(plan: LogprobPlan, *, ports: LogprobPorts) -> CheckedSuite:
    """Return the report on a suite that an interruption kept from being begun."""
    nothing = Survey(
        sources={}, comparable=(), settled={}, orphans=(), tokens=0, fingerprint="0" * 64
    )
    measurer = LogprobMeasurer(plan, nothing, ports=ports)
    report = report_on(plan, nothing, measurer, scorer=ports.scorer)
    return CheckedSuite(report=report, interrupted=True)
