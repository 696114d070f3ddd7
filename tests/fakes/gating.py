"""A logprob check among fakes."""

from dataclasses import dataclass, field

from repro_gate.checks.calibration import calibrate, candidates
from repro_gate.checks.logprob_results import report_on
from repro_gate.checks.logprobs import LogprobMeasurer, LogprobPorts
from repro_gate.checks.looks import Drawer
from repro_gate.checks.survey import survey
from repro_gate.core.logprob_report import LogprobReport
from repro_gate.core.logprob_verdicts import LogprobVerdict
from repro_gate.core.policies import LogprobSuite
from tests.fakes.scoring import (
    NOW,
    MemoryBaselines,
    MemoryDrawLog,
    NoisyScorer,
    plan_of,
    suite_of_logprobs,
)
from tests.fakes.watching import RecordingProgress


@dataclass(slots=True, kw_only=True)
class LogprobScene:
    """A suite with baselines of its own service, and a check that waits to be run."""

    scorer: NoisyScorer
    suite: LogprobSuite = field(default_factory=suite_of_logprobs)
    baselines: MemoryBaselines = field(default_factory=MemoryBaselines)
    log: MemoryDrawLog = field(default_factory=MemoryDrawLog)
    progress: RecordingProgress = field(default_factory=RecordingProgress)

    def record(self) -> "LogprobScene":
        """Record a baseline of every cell, as the service is without drift."""
        plan = plan_of(self.suite)
        drawer = Drawer(scorer=self.scorer, log=MemoryDrawLog(), progress=RecordingProgress())
        wanted, _ = candidates(plan, scorer=self.scorer, baselines=self.baselines, again=True)
        for baseline in calibrate(wanted, plan, drawer=drawer, now=lambda: NOW).baselines:
            self.baselines.write(baseline)
        self.scorer.asked.clear()
        return self

    def check(self) -> LogprobReport:
        """Run the check; an interruption ends the measurement, not the report."""
        plan = plan_of(self.suite)
        found = survey(plan, scorer=self.scorer, baselines=self.baselines)
        ports = LogprobPorts(
            scorer=self.scorer, baselines=self.baselines, log=self.log, progress=self.progress
        )
        measurer = LogprobMeasurer(plan, found, ports=ports)
        try:
            measurer.measure()
        except KeyboardInterrupt:
            pass
        return report_on(plan, found, measurer, scorer=self.scorer)


def recorded_scene(scorer: NoisyScorer, suite: LogprobSuite | None = None) -> LogprobScene:
    """Return a scene in which every cell has a baseline."""
    return LogprobScene(scorer=scorer, suite=suite or suite_of_logprobs()).record()


def logprob_verdicts_of(report: LogprobReport) -> dict[str, LogprobVerdict]:
    """Return the verdicts by the id of their cell or baseline."""
    return {cell.id: cell.verdict for cell in report.cells}
