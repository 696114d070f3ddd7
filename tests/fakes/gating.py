"""A log-probability check with fakes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from repro_gate.checks.logprobs.check import CheckedSuite, check_logprobs
from repro_gate.checks.logprobs.collect import DrawCollector
from repro_gate.checks.logprobs.measure import LogprobPorts
from repro_gate.checks.logprobs.preflight import run_preflight
from repro_gate.checks.logprobs.record import Calibrated, calibrate, candidates
from repro_gate.core.logprobs.policy import LogprobPlan, LogprobSuite
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.logprobs.verdicts import LogprobVerdict
from tests.fakes.baseline_stores import MemoryBaselines, MemoryDrawLog
from tests.fakes.scoring import NOW, NoisyScorer, plan_of, suite_of_logprobs
from tests.fakes.watching import RecordingProgress


def _never(since: datetime | None, seconds: float) -> float:
    """Refuse to wait: most suites take their second look at once."""
    raise AssertionError(f"waiting {seconds} s since {since}")


@dataclass(slots=True, kw_only=True)
class LogprobScene:
    """A suite with baselines of its own service, and a check that waits to be run."""

    scorer: NoisyScorer
    suite: LogprobSuite = field(default_factory=suite_of_logprobs)
    only: str | None = None
    baselines: MemoryBaselines = field(default_factory=MemoryBaselines)
    log: MemoryDrawLog = field(default_factory=MemoryDrawLog)
    progress: RecordingProgress = field(default_factory=RecordingProgress)
    wait: Callable[[datetime | None, float], float] = _never

    @property
    def plan(self) -> LogprobPlan:
        """What is measured."""
        return plan_of(self.suite, only=self.only)

    @property
    def ports(self) -> LogprobPorts:
        """The fakes, as the ports of a check."""
        return LogprobPorts(
            scorer=self.scorer,
            baselines=self.baselines,
            log=self.log,
            progress=self.progress,
            wait=self.wait,
        )

    @property
    def collector(self) -> DrawCollector:
        """A collector of draws among the fakes."""
        return DrawCollector(scorer=self.scorer, log=self.log, progress=self.progress)

    def calibrate(self, *, again: bool = False) -> Calibrated:
        """Calibrate every cell without a baseline."""
        wanted, refused = candidates(
            self.plan, scorer=self.scorer, baselines=self.baselines, again=again
        )
        made = calibrate(wanted, self.plan, collector=self.collector, now=lambda: NOW)
        return replace(made, refused=(*refused, *made.refused))

    def record(self) -> Self:
        """Record a baseline of every cell, ignoring its weights, and reset the counters."""
        suite, self.suite = self.suite, replace(self.suite, weights=None)
        for baseline in self.calibrate(again=True).baselines:
            self.baselines.write(baseline)
        self.suite = suite
        self.scorer.asked.clear()
        self.log = MemoryDrawLog()
        self.progress = RecordingProgress()
        return self

    def check(self) -> LogprobReport:
        """Run the check; an interruption ends the measurement, not the report."""
        return self.checked().report

    def checked(self) -> CheckedSuite:
        """Run the check, and return whether it was interrupted."""
        found = run_preflight(self.plan, scorer=self.scorer, baselines=self.baselines)
        return check_logprobs(self.plan, found, ports=self.ports)


def recorded_scene(scorer: NoisyScorer, suite: LogprobSuite | None = None) -> LogprobScene:
    """Return a scene in which every cell has a baseline."""
    return LogprobScene(scorer=scorer, suite=suite or suite_of_logprobs()).record()


def logprob_verdicts_of(report: LogprobReport) -> dict[str, LogprobVerdict]:
    """Return the verdicts by the id of their cell or baseline."""
    return {cell.id: cell.verdict for cell in report.cells}
