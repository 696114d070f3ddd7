"""The log-probabilities of `repro-gate check`: what they will cost, and the draws."""

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console

from repro_gate.adapters.logs.draws import FILE, DrawLogFile
from repro_gate.checks.logprobs.check import CheckedSuite, check_logprobs, unreached
from repro_gate.checks.logprobs.importance_weights import expected_doubts
from repro_gate.checks.logprobs.measure import LogprobPorts
from repro_gate.checks.logprobs.preflight import Preflight, run_preflight
from repro_gate.cli import wiring
from repro_gate.cli.results import CheckOptions
from repro_gate.cli.terminal.console import warn
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.logprobs.alignment import (
    CALLS_PER_COMPARISON,
    CONTINUATION_TOKENS,
    MAX_COMPARISONS,
)
from repro_gate.core.logprobs.draw import DrawOutcome
from repro_gate.core.logprobs.error_rates import FIRST_WAVE
from repro_gate.core.logprobs.policy import (
    BYTES_PER_TOKEN,
    Budget,
    LogprobCell,
    LogprobPlan,
    Policy,
)
from repro_gate.core.outcome import Outcome, outcome_of_suite
from repro_gate.core.text import digest_of, escape_text
from repro_gate.core.tokens.verdicts import STOPPED, Inconclusive
from repro_gate.ports import DrawLog, DrawRequest, Scorer
from repro_gate.reports.findings.logprob_sessions import format_false_alarms, format_second_look

_MAX_SLEEP_S = 60.0
_LEAST_USD = 0.01
"""A lower cost is no figure that anybody needs."""


def estimate_lines(suites: Iterable[tuple[LogprobPlan, Preflight]]) -> Iterator[str]:
    """Yield which keys are sent where, and for each hosted suite: calls, tokens, cost, budget."""
    suites = list(suites)
    yield from key_lines(cell.policy for _, found in suites for cell in found.comparable)
    for plan, found in suites:
        hosted = [cell for cell in found.comparable if _is_hosted(cell.policy)]
        if hosted:
            draws, policies = plan.suite.tolerance.draws, len(_hosted(plan.policies))
            in_full = plan.suite.controlled
            full = sum(cell.policy.name in in_full for cell in hosted)
            min_calls = (len(hosted) - full) * min(FIRST_WAVE, draws) + full * draws + policies
            max_calls = len(hosted) * 2 * draws + policies
            # In a mixed suite the hosted share is estimated by the number of cells.
            each = found.tokens / len(found.comparable)
            yield (
                f"suite {plan.suite.name}: {len(hosted)} cells, {min_calls} to {max_calls} calls, "
                f"{cost_words(each * min_calls, plan)} to {cost_words(each * max_calls, plan)}"
                f"{budget_words(plan.suite.budget)}"
            )


def upper_bound_lines(suites: Iterable[tuple[LogprobPlan, Preflight]]) -> Iterator[str]:
    """Yield the maximum cost of each suite once all of its cells have a baseline."""
    for plan, found in suites:
        hosted = [cell for cell in plan.cells if _is_hosted(cell.policy)]
        if hosted and len(found.comparable) < len(plan.cells):
            calls = len(hosted) * 2 * plan.suite.tolerance.draws + len(_hosted(plan.policies))
            tokens = _text_bytes(hosted) / BYTES_PER_TOKEN / len(hosted) * calls
            yield (
                f"suite {plan.suite.name}: with a baseline for each of {len(hosted)} cells, "
                f"at most {calls} calls, roughly {cost_words(tokens, plan)} at "
                f"{BYTES_PER_TOKEN} bytes of text per token{budget_words(plan.suite.budget)}"
            )


def calibration_line(
    plan: LogprobPlan, cells: Iterable[LogprobCell], *, adds: bool = False
) -> str | None:
    """Return the estimate for recording cells; None without hosted cells.

    A session that is added needs no call for the tokens of a cell.

    Tokens are estimated by length, as their number is known after the first call of each cell.
    """
    hosted = [cell for cell in cells if _is_hosted(cell.policy)]
    if not hosted:
        return None
    each = plan.suite.tolerance.calibration_draws + (not adds)
    # Each model's echo is compared with generated tokens until the result is clear.
    longest: dict[tuple[str, str], int] = {}
    for cell in hosted:
        if cell.policy.generates:
            continue
        model = cell.policy.provider.name, cell.policy.model
        longest[model] = max(longest.get(model, 0), len(cell.prefix.encode()))
    compared = len(longest) * CALLS_PER_COMPARISON
    tokens = (
        each * _text_bytes(hosted) + CALLS_PER_COMPARISON * sum(longest.values())
    ) / BYTES_PER_TOKEN
    tokens += compared * CONTINUATION_TOKENS
    controls = len({cell.policy.name for cell in hosted})
    calls = len(hosted) * each + controls + compared
    max_calls = calls + (MAX_COMPARISONS - 1) * compared
    return (
        f"suite {plan.suite.name}: {len(hosted)} baselines, {_range(calls, max_calls)} calls, "
        f"roughly {cost_words(tokens, plan)}{budget_words(plan.suite.budget)}"
    )


def key_lines(policies: Iterable[Policy]) -> Iterator[str]:
    """Yield where requests and keys are sent, once per provider."""
    for provider in dict.fromkeys(policy.provider for policy in _hosted(policies)):
        variable = provider.api_key_env
        key = "no key" if variable is None else f"the value of {variable}"
        yield f"provider {provider.name}: {key} is sent to {escape_text(provider.host)}"


def cost_words(tokens: float, plan: LogprobPlan) -> str:
    """Return a number of tokens, with its cost if the matrix has a price."""
    price = max(policy.provider.usd_per_million_tokens for policy in plan.policies)
    words, usd = f"{tokens:.0f} tokens", tokens * price / 1e6
    cost = f"about ${usd:.2f}" if usd >= _LEAST_USD else f"less than ${_LEAST_USD}"
    return f"{words} ({cost})" if price else words


def _text_bytes(cells: Iterable[LogprobCell]) -> int:
    return sum(
        len((cell.prefix + cell.given_response).encode()) + BYTES_PER_TOKEN * cell.policy.max_tokens
        for cell in cells
    )


def _hosted(policies: Iterable[Policy]) -> list[Policy]:
    return [policy for policy in policies if _is_hosted(policy)]


def _is_hosted(policy: Policy) -> bool:
    return not policy.provider.is_local


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def budget_words(budget: Budget) -> str:
    """Return the limits of a budget as the end of a line, which is empty without any."""
    limits = (
        (budget.max_calls, "calls"),
        (budget.max_tokens, "tokens"),
    )
    listed = [f"{limit} {unit}" for limit, unit in limits if limit is not None]
    return f"; the budget is {' and '.join(listed)}" if listed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSuite:
    """A suite with its scorer and preflight, before any draw."""

    plan: LogprobPlan
    scorer: Scorer
    preflight: Preflight | None
    """None if the check was interrupted or stopped before."""


@contextmanager
def prepare_suites(
    workspace: wiring.Workspace, plans: Sequence[LogprobPlan], *, is_over: bool = False
) -> Generator[list[PreparedSuite]]:
    """Yield the suites after their preflight; afterwards close connections and processes.

    No preflight runs once the check is over or interrupted.

    Raises:
        InputInvalid: baselines are broken.
    """
    with ExitStack() as stack:
        suites: list[PreparedSuite] = []
        for plan in plans:
            scorer = wiring.scorer_for(workspace, plan)
            stack.enter_context(closing(scorer))
            preflight = None
            if not is_over:
                try:
                    preflight = run_preflight(plan, scorer=scorer, baselines=workspace.baselines)
                except KeyboardInterrupt:
                    is_over = True
            suites.append(PreparedSuite(plan=plan, scorer=scorer, preflight=preflight))
        yield suites


def plan_lines(suites: Iterable[PreparedSuite]) -> Iterator[str]:
    """Yield what would be drawn, and the cost."""
    ready = [(suite.plan, suite.preflight) for suite in suites if suite.preflight is not None]
    for plan, found in ready:
        if found.sessions is not None:
            claim = format_false_alarms(plan.suite.tolerance, found.sessions)
            yield f"suite {plan.suite.name}: false alarms: {claim}"
        cells, draws = len(plan.cells), len(found.comparable) * plan.suite.tolerance.draws
        problems = [one.reason for one in found.decided.values() if isinstance(one, Inconclusive)]
        for reason, count in Counter(problems).items():
            # Whether these have a baseline is unknown.
            yield f"suite {plan.suite.name}: {count} of {cells} cells cannot be measured: {reason}"
        if len(problems) < cells:
            yield (
                f"suite {plan.suite.name}: {len(found.comparable)} of {cells} cells have a "
                f"baseline, {draws} draws in the first look"
            )
        later = format_second_look(plan.suite.tolerance)
        if later is not None:
            yield f"suite {plan.suite.name}: second look: {later}"
        for target, doubt in expected_doubts(plan.suite):
            yield (
                f"suite {plan.suite.name}: weights of {target} cannot be determined, so the check "
                f"will be inconclusive: {doubt}"
            )
    yield from estimate_lines(ready)
    yield from upper_bound_lines(ready)


def check_suites(
    workspace: wiring.Workspace,
    suites: Sequence[PreparedSuite],
    options: CheckOptions,
    *,
    started_at: str,
    is_stopped: bool,
) -> list[CheckedSuite]:
    """Check one suite after the other, until an interruption or, with --fail-fast, a finding.

    Args:
        workspace: the workspace.
        suites: the suites after their preflight.
        options: the command line.
        started_at: start of the check, ISO 8601.
        is_stopped: whether --fail-fast has stopped the check before.
    """
    ready = [(suite.plan, suite.preflight) for suite in suites if suite.preflight is not None]
    for line in estimate_lines(ready):
        warn(f"repro-gate: {line}")
    checked: list[CheckedSuite] = []
    with _draw_log([found for _, found in ready], options, started_at) as log:
        for suite in suites:
            with shown_progress(
                Console(stderr=True), quiet=options.result.is_quiet, noun="draws"
            ) as progress:
                ports = LogprobPorts(
                    scorer=suite.scorer,
                    baselines=workspace.baselines,
                    log=log,
                    progress=progress,
                    wait=wait_since,
                )
                if is_stopped:
                    checked.append(unreached(suite.plan, ports=ports, because=STOPPED))
                elif suite.preflight is None or any(before.interrupted for before in checked):
                    checked.append(unreached(suite.plan, ports=ports))
                else:
                    checked.append(check_logprobs(suite.plan, suite.preflight, ports=ports))
                    is_stopped = options.fail_fast and (
                        outcome_of_suite(checked[-1].report) is Outcome.FAILED
                    )
    return checked


def wait_since(since: datetime | None, seconds: float) -> float:
    """Wait until so many seconds have passed, print until when, and return the seconds waited."""
    start = datetime.now(UTC)
    until = (since or start) + timedelta(seconds=seconds)
    if until > start:
        when = f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        warn(f"repro-gate: the second look starts at {when}; after Ctrl-C, --resume waits for it")
    # The time of day, which also passes while a machine is suspended.
    while (left_s := (until - datetime.now(UTC)).total_seconds()) > 0:
        time.sleep(min(left_s, _MAX_SLEEP_S))
    return max(0.0, (datetime.now(UTC) - start).total_seconds())


@contextmanager
def _draw_log(
    ready: Sequence[Preflight], options: CheckOptions, started_at: str
) -> Generator[DrawLog]:
    """Yield the draw log; without draws, an existing log is left alone."""
    if not ready:
        yield _NoLog()
        return
    log = DrawLogFile(
        options.result.output / FILE,
        fingerprint=digest_of([found.fingerprint for found in ready]),
        started_at=started_at,
        resume=options.resume,
    )
    with closing(log):
        yield log


class _NoLog:
    """A draw log that stores nothing."""

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Do nothing."""

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Return None."""
