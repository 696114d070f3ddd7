"""The tables of a suite of log-probabilities: its policies, and the weights between them."""

from collections.abc import Sequence
from typing import Final

from repro_gate.core.logprobs.report import PolicyNoise, WeightReport
from repro_gate.reports.findings.logprob_wording import (
    format_effective_size,
    format_khat,
    format_mean_weight,
    format_pair,
    format_role,
)
from repro_gate.reports.text.format import amount, chance, percent, shifted

POLICY_COLUMNS: Final = (
    *("policy", "model", "temperature", "log-probabilities", "cells", "draws"),
    *("variance at calibration", "variance now", "identical", "outliers", "verdicts"),
)
WEIGHT_COLUMNS: Final = (
    *("target / base", "role", "items", "mean log-ratio", "control p", "ESS"),
    *("largest share", "mean weight", "k-hat"),
)


def policy_row(noise: PolicyNoise, agreement: str) -> Sequence[str]:
    """Return a policy as a row; the second text, its model, is untrusted."""
    return (
        noise.policy,
        noise.model,
        f"{noise.temperature:g}",
        noise.logprobs.value,
        str(noise.cells),
        str(noise.draws),
        amount(noise.calibration_variance),
        amount(noise.variance),
        percent(noise.atom),
        str(noise.outliers),
        agreement,
    )


def weight_row(found: WeightReport) -> Sequence[str]:
    """Return the weights of a pair of policies as a row."""
    return (
        format_pair(found),
        format_role(found),
        str(found.items),
        shifted(found.mean_log_ratio),
        "" if found.control_p is None else chance(found.control_p),
        format_effective_size(found),
        percent(found.largest_share),
        format_mean_weight(found),
        format_khat(found),
    )
