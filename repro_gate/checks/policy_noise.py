"""How the draws of each policy vary by themselves: policies, and temperatures, side by side."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from repro_gate.checks.comparison import Comparison
from repro_gate.core.logprob_report import PolicyNoise
from repro_gate.core.policies import Policy


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
