"""What a check will spend, said before the first call."""

from collections.abc import Iterable, Iterator

from repro_gate.checks.logprobs.preflight import Survey
from repro_gate.core.alignment import (
    CALLS_PER_COMPARISON,
    CONTINUATION_TOKENS,
    MAX_COMPARISONS,
)
from repro_gate.core.design import FIRST_WAVE
from repro_gate.core.policies import Budget, LogprobCell, LogprobPlan, Policy
from repro_gate.core.text import printable

_BYTES_PER_TOKEN = 4


def estimate_lines(suites: Iterable[tuple[LogprobPlan, Survey]]) -> Iterator[str]:
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


def upper_bound_lines(suites: Iterable[tuple[LogprobPlan, Survey]]) -> Iterator[str]:
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
