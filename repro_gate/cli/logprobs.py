"""The part of `repro-gate check` that is about log-probabilities."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from repro_gate.adapters.draw_log import FILE, DrawLogFile
from repro_gate.checks.logprobs.check import CheckedSuite, check_logprobs, unreached
from repro_gate.checks.logprobs.importance_weights import foreseen_doubts
from repro_gate.checks.logprobs.measure import LogprobPorts
from repro_gate.checks.logprobs.preflight import Survey, survey
from repro_gate.cli import wiring
from repro_gate.cli.estimate import estimate_lines, upper_bound_lines
from repro_gate.cli.printing import warn
from repro_gate.cli.progress import shown_progress
from repro_gate.core.digests import digest_of
from repro_gate.core.draws import DrawOutcome
from repro_gate.core.outcome import has_findings
from repro_gate.core.policies import LogprobPlan
from repro_gate.core.verdicts import STOPPED, Inconclusive
from repro_gate.ports import DrawLog, DrawRequest, Scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobOptions:
    """What the command line says of the draws."""

    output: Path
    resume: bool
    is_quiet: bool
    started_at: str
    fail_fast: bool = False
    is_stopped: bool = False
    """Whether --fail-fast has its finding already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A suite whose baselines have been read, and a scorer for it; nothing has been drawn."""

    plan: LogprobPlan
    scorer: Scorer
    found: Survey | None
    """None where the check is over before it begins."""


@contextmanager
def prepared(
    workspace: wiring.Workspace, plans: Sequence[LogprobPlan], *, is_over: bool = False
) -> Generator[list[Prepared]]:
    """Yield the suites, surveyed; afterwards no connection and no process is left.

    When the check is over already, or interrupted, nobody is asked anything any more.

    Raises:
        InputInvalid: baselines are broken.
    """
    with ExitStack() as stack:
        suites: list[Prepared] = []
        for plan in plans:
            scorer = wiring.scorer_for(workspace, plan)
            stack.enter_context(closing(scorer))
            found = None
            if not is_over:
                try:
                    found = survey(plan, scorer=scorer, baselines=workspace.baselines)
                except KeyboardInterrupt:
                    is_over = True
            suites.append(Prepared(plan=plan, scorer=scorer, found=found))
        yield suites


def plan_lines(suites: Iterable[Prepared]) -> Iterator[str]:
    """Yield what would be drawn, and what that would cost."""
    surveyed = [(suite.plan, suite.found) for suite in suites if suite.found is not None]
    for plan, found in surveyed:
        cells, draws = len(plan.cells), len(found.comparable) * plan.suite.tolerance.draws
        problems = [one.reason for one in found.settled.values() if isinstance(one, Inconclusive)]
        for reason, count in Counter(problems).items():
            # Of these it is not known whether they have one.
            yield f"suite {plan.suite.name}: {count} of {cells} cells cannot be measured: {reason}"
        if len(problems) < cells:
            yield (
                f"suite {plan.suite.name}: {len(found.comparable)} of {cells} cells have a "
                f"baseline, {draws} draws in the first look"
            )
        for target, doubt in foreseen_doubts(plan.suite):
            yield (
                f"suite {plan.suite.name}: weights of {target} cannot be determined, so the check "
                f"will be inconclusive: {doubt}"
            )
    yield from estimate_lines(surveyed)
    yield from upper_bound_lines(surveyed)


def check_suites(
    workspace: wiring.Workspace, suites: Sequence[Prepared], options: LogprobOptions
) -> list[CheckedSuite]:
    """Check one suite after the other; after an interruption the rest is not begun.

    Nor is it after a finding, where that is asked for.
    """
    surveyed = [(suite.plan, suite.found) for suite in suites if suite.found is not None]
    for line in estimate_lines(surveyed):
        warn(f"repro-gate: {line}")
    checked: list[CheckedSuite] = []
    is_stopped = options.is_stopped
    with _log_of([found for _, found in surveyed], options) as log:
        for suite in suites:
            with shown_progress(
                Console(stderr=True), quiet=options.is_quiet, noun="draws"
            ) as progress:
                ports = LogprobPorts(
                    scorer=suite.scorer,
                    baselines=workspace.baselines,
                    log=log,
                    progress=progress,
                )
                if is_stopped:
                    checked.append(unreached(suite.plan, ports=ports, because=STOPPED))
                elif suite.found is None or any(before.interrupted for before in checked):
                    checked.append(unreached(suite.plan, ports=ports))
                else:
                    checked.append(check_logprobs(suite.plan, suite.found, ports=ports))
                    is_stopped = options.fail_fast and has_findings(checked[-1].report)
    return checked


@contextmanager
def _log_of(surveyed: Sequence[Survey], options: LogprobOptions) -> Generator[DrawLog]:
    """Yield the log of the draws; where nothing will be drawn, the one that is there stays."""
    if not surveyed:
        yield _NoLog()
        return
    log = DrawLogFile(
        options.output / FILE,
        fingerprint=digest_of([found.fingerprint for found in surveyed]),
        started_at=options.started_at,
        resume=options.resume,
    )
    with closing(log):
        yield log


class _NoLog:
    """Stands in where nothing is drawn."""

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Keep nothing."""

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Know nothing."""
