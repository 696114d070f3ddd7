"""What is said of importance weights."""

import math
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.outcome import Outcome
from repro_gate.reports.findings import logprob_wording
from tests.fakes.logprob_reports import weight_report_of


def test_usable_weights_are_said_to_be() -> None:
    """The statement is clear."""
    assert logprob_wording.statement(weight_report_of()) == "These weights can be used."


def test_unusable_weights_are_said_to_be_with_every_reason() -> None:
    """A reader does not have to read the figures to know."""
    assert logprob_wording.statement(weight_report_of("too few\nitems", "a long tail")) == (
        r"These weights cannot be used: too few\nitems; a long tail"
    )


def test_undetermined_weights_are_said_to_be() -> None:
    """With the reason; what speaks against them would come first."""
    found = weight_report_of(doubts=("9 items\nare too few",))

    assert logprob_wording.statement(found) == (
        r"It cannot be determined whether these weights can be used: 9 items\nare too few"
    )
    assert logprob_wording.statement(replace(found, problems=("a long tail",))) == (
        "These weights cannot be used: a long tail"
    )


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"is_control": False}, Outcome.PASSED),
        ({"is_control": False, "must_be_usable": True}, Outcome.INCONCLUSIVE),
        ({"is_control": True}, Outcome.PASSED),
        ({"is_control": True, "control_doubt": "1 item"}, Outcome.INCONCLUSIVE),
        ({"is_control": True, "control_doubt": "1 item", "problems": ("no",)}, Outcome.FAILED),
    ],
)
def test_undetermined_weights_are_no_pass_where_they_are_needed(
    changes: dict[str, Any], outcome: Outcome
) -> None:
    """Nor is a control that could not have failed."""
    found = weight_report_of(**{"doubts": ("too few",), **changes})

    assert logprob_wording.outcome_of_weights(found) is outcome
    assert (logprob_wording.advise_weights(found)[:9] == "Add items") is (
        outcome is Outcome.INCONCLUSIVE
    )


def test_evidence_of_a_control() -> None:
    """The figures of the public sample: k-hat passes, and the ESS is a fifth."""
    assert logprob_wording.weight_lines(weight_report_of()) == (
        ("role", "A/A control, every weight should be 1"),
        ("items", "1000 items; w = exp(target - base), one for each item"),
        ("log-ratio", "-0.0123 nats in the mean, p = 0.3 if both are the same"),
        ("ESS", "215 (21.5 %)"),
        ("largest", "4.3 % of the sum of all weights"),
        ("mean weight", "1.282 (p = 1)"),
        ("k-hat", "0.49 (limit 0.6667)"),
    )


def test_evidence_of_another_policy() -> None:
    """Weights beyond every number are told in words, and a tail that was not fitted too."""
    found = weight_report_of(
        is_control=False,
        mean_weight=math.inf,
        mean_p=1e-99,
        khat=None,
        khat_bar=None,
        control_p=None,
    )
    lines = dict(logprob_wording.weight_lines(found))

    assert lines["log-ratio"] == "-0.0123 nats in the mean"
    assert lines["mean weight"] == "too large for a number (p = 1e-99)"
    assert lines["k-hat"] == "not fitted, too few items"


def test_size_of_nothing() -> None:
    """Without items there is no share to compute."""
    assert (
        logprob_wording.format_effective_size(weight_report_of(items=0, effective_size=0.0))
        == "0 (0 %)"
    )


@pytest.mark.parametrize(
    ("is_control", "must_be_usable", "role", "outcome"),
    [
        (True, False, "A/A control, every weight should be 1", Outcome.FAILED),
        (False, True, "must be usable", Outcome.FAILED),
        (False, False, "for information", Outcome.PASSED),
    ],
)
def test_role_decides_what_a_problem_means(
    is_control: bool,  # noqa: FBT001 -- a parameter of the test
    must_be_usable: bool,  # noqa: FBT001
    role: str,
    outcome: Outcome,
) -> None:
    """Only weights that somebody needs can fail a check."""
    found = weight_report_of("no", is_control=is_control, must_be_usable=must_be_usable)

    assert (logprob_wording.format_role(found), logprob_wording.outcome_of_weights(found)) == (
        role,
        outcome,
    )
