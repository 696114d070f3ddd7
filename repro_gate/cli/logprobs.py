"""The log-probabilities of `repro-gate check`: what they will cost, and the draws."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from repro_gate.adapters.files.draw_log import FILE, DrawLogFile
from repro_gate.checks.logprobs.check import CheckedSuite, check_logprobs, unreached
from repro_gate.checks.logprobs.importance_weights import expected_doubts
from repro_gate.checks.logprobs.measure import LogprobPorts
from repro_gate.checks.logprobs.preflight import Preflight, run_preflight
from repro_gate.cli import wiring
from repro_gate.cli.console import warn
from repro_gate.cli.results import shown_progress
from repro_gate.core.logprobs.alignment import (
    CALLS_PER_COMPARISON,
    CONTINUATION_TOKENS,
    MAX_COMPARISONS,
)
from repro_gate.core.logprobs.draw import DrawOutcome
from repro_gate.core.logprobs.error_rates import FIRST_WAVE
from repro_gate.core.logprobs.policy import Budget, LogprobCell, LogprobPlan, Policy
from repro_gate.core.outcome import Outcome, outcome_of_suite
from repro_gate.core.text import digest_of, printable
from repro_gate.core.tokens.verdicts import STOPPED, Inconclusive
from repro_gate.ports import DrawLog, DrawRequest, Scorer

_BYTES_PER_TOKEN = 4


def estimate_lines(suites: Iterable[tuple[LogprobPlan, Preflight]]) -> Iterator[str]:
    """Yield who gets which key, and for each suite that calls: calls, tokens, cost, budget."""
    suites = list(suites)
    yield from key_lines(cell.policy for _, found in suites for cell in found.comparable)
    for plan, found in suites:
        hosted = [cell for cell in found.comparable if _is_hosted(cell.policy)]
        if hosted:
            draws, policies = plan.suite.tolerance.draws, len(_hosted(plan.policies))
            in_full = plan.suite.controlled
            full = sum(cell.policy.name in in_full for cell in hosted)
            least = (len(hosted) - full) * min(FIRST_WAVE, draws) + full * draws + policies
            most = len(hosted) * 2 * draws + policies
            # Cells of a mixed suite are told apart by their number; their lengths are alike.
            each = found.tokens / len(found.comparable)
            yield (
                f"suite {plan.suite.name}: {len(hosted)} cells, {least} to {most} calls, "
                f"{cost_words(each * least, plan)} to {cost_words(each * most, plan)}"
                f"{_budget_words(plan.suite.budget)}"
            )


def upper_bound_lines(suites: Iterable[tuple[LogprobPlan, Preflight]]) -> Iterator[str]:
    """Yield what each suite costs at most once its cells without a baseline have one."""
    for plan, found in suites:
        hosted = [cell for cell in plan.cells if _is_hosted(cell.policy)]
        if hosted and len(found.comparable) < len(plan.cells):
            calls = len(hosted) * 2 * plan.suite.tolerance.draws + len(_hosted(plan.policies))
            tokens = _text_bytes(hosted) / _BYTES_PER_TOKEN / len(hosted) * calls
            yield (
                f"suite {plan.suite.name}: with a baseline for each of {len(hosted)} cells, "
                f"at most {calls} calls, roughly {cost_words(tokens, plan)} at "
                f"{_BYTES_PER_TOKEN} bytes of text per token{_budget_words(plan.suite.budget)}"
            )


def calibration_line(plan: LogprobPlan, cells: Iterable[LogprobCell]) -> str | None:
    """Return the same for the recording of cells; None when it calls nobody.

    Their tokens are not known before the first call of each, and are guessed by the length.
    """
    hosted = [cell for cell in cells if _is_hosted(cell.policy)]
    if not hosted:
        return None
    each = plan.suite.tolerance.calibration_draws + 1
    # The echo of each model is compared with what it generates, until that shows something.
    longest: dict[tuple[str, str], int] = {}
    for cell in hosted:
        model = cell.policy.provider.name, cell.policy.model
        longest[model] = max(longest.get(model, 0), len(cell.prefix.encode()))
    compared = len(longest) * CALLS_PER_COMPARISON
    tokens = (
        each * _text_bytes(hosted) + CALLS_PER_COMPARISON * sum(longest.values())
    ) / _BYTES_PER_TOKEN
    tokens += compared * CONTINUATION_TOKENS
    controls = len({cell.policy.name for cell in hosted})
    calls = len(hosted) * each + controls + compared
    most = calls + (MAX_COMPARISONS - 1) * compared
    return (
        f"suite {plan.suite.name}: {len(hosted)} baselines, {calls} to {most} calls, roughly "
        f"{cost_words(tokens, plan)}{_budget_words(plan.suite.budget)}"
    )


def key_lines(policies: Iterable[Policy]) -> Iterator[str]:
    """Yield where requests go and which key goes with them, once for each provider."""
    for provider in dict.fromkeys(policy.provider for policy in _hosted(policies)):
        variable = provider.api_key_env
        key = "no key" if variable is None else f"the value of {variable}"
        yield f"provider {provider.name}: {key} is sent to {printable(provider.host)}"


def cost_words(tokens: float, plan: LogprobPlan) -> str:
    """Return a number of tokens, with what it costs where the matrix names a price."""
    price = max(policy.provider.usd_per_million_tokens for policy in plan.policies)
    words = f"{tokens:.0f} tokens"
    return f"{words} (about ${tokens * price / 1e6:.2f})" if price else words


def _text_bytes(cells: Iterable[LogprobCell]) -> int:
    return sum(len((cell.prefix + cell.item.response).encode()) for cell in cells)


def _hosted(policies: Iterable[Policy]) -> list[Policy]:
    return [policy for policy in policies if _is_hosted(policy)]


def _is_hosted(policy: Policy) -> bool:
    return not policy.provider.is_local


def _budget_words(budget: Budget) -> str:
    limits = (
        (budget.max_calls, "calls"),
        (budget.max_tokens, "tokens"),
    )
    said = [f"{limit} {of}" for limit, of in limits if limit is not None]
    return f"; the budget is {' and '.join(said)}" if said else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawOptions:
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
    found: Preflight | None
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
                    found = run_preflight(plan, scorer=scorer, baselines=workspace.baselines)
                except KeyboardInterrupt:
                    is_over = True
            suites.append(Prepared(plan=plan, scorer=scorer, found=found))
        yield suites


def plan_lines(suites: Iterable[Prepared]) -> Iterator[str]:
    """Yield what would be drawn, and what that would cost."""
    surveyed = [(suite.plan, suite.found) for suite in suites if suite.found is not None]
    for plan, found in surveyed:
        cells, draws = len(plan.cells), len(found.comparable) * plan.suite.tolerance.draws
        problems = [one.reason for one in found.decided.values() if isinstance(one, Inconclusive)]
        for reason, count in Counter(problems).items():
            # Of these it is not known whether they have one.
            yield f"suite {plan.suite.name}: {count} of {cells} cells cannot be measured: {reason}"
        if len(problems) < cells:
            yield (
                f"suite {plan.suite.name}: {len(found.comparable)} of {cells} cells have a "
                f"baseline, {draws} draws in the first look"
            )
        for target, doubt in expected_doubts(plan.suite):
            yield (
                f"suite {plan.suite.name}: weights of {target} cannot be determined, so the check "
                f"will be inconclusive: {doubt}"
            )
    yield from estimate_lines(surveyed)
    yield from upper_bound_lines(surveyed)


def check_suites(
    workspace: wiring.Workspace, suites: Sequence[Prepared], options: DrawOptions
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
                    is_stopped = options.fail_fast and (
                        outcome_of_suite(checked[-1].report) is Outcome.FAILED
                    )
    return checked


@contextmanager
def _log_of(surveyed: Sequence[Preflight], options: DrawOptions) -> Generator[DrawLog]:
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
