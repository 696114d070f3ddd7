"""What the test over a whole suite says, and what all its numbers promise."""

from collections.abc import Iterator
from typing import Final, assert_never

from repro_gate.core import design
from repro_gate.core.logprob_report import SuiteTest, SuiteVerdict
from repro_gate.core.logprob_verdicts import Sameness
from repro_gate.core.outcome import Outcome
from repro_gate.core.policies import Tolerance
from repro_gate.reports.figures import chance, nats, percent, plural, shifted
from repro_gate.reports.logprob_words import BELOW_FLOOR, describe_sameness

SESSIONS: Final = "valid for noise between draws, not for noise that is constant within a session"


def describe_matrix(matrix: SuiteTest) -> str:
    """Return what the test over the whole shows."""
    others = plural(matrix.left_out, "cell")
    match matrix.verdict:
        case SuiteVerdict.AGREES if matrix.left_out:
            return (
                f"the suite as a whole agrees with its baselines, excluding {others} that drifted"
            )
        case SuiteVerdict.AGREES:
            return "the suite as a whole agrees with its baselines"
        case SuiteVerdict.CHANGED:
            return BELOW_FLOOR
        case SuiteVerdict.DRIFT if matrix.left_out:
            return f"the suite as a whole shifted, even excluding {others} that drifted"
        case SuiteVerdict.DRIFT:
            return "the suite as a whole shifted: most of its items, as after a model change"
        case SuiteVerdict.NOT_TESTED:
            return "the suite as a whole was not tested: no cell could be compared"
        case _:
            assert_never(matrix.verdict)


def advise_matrix(verdict: SuiteVerdict) -> str:
    """Return what to do about the whole."""
    match verdict:
        case SuiteVerdict.AGREES:
            return "No action needed."
        case SuiteVerdict.CHANGED:
            return "No action needed; re-record to compare with the current service."
        case SuiteVerdict.DRIFT:
            return "If the change is intended, accept it. Otherwise start with model and provider."
        case SuiteVerdict.NOT_TESTED:
            return "Make at least one cell comparable and check again."
        case _:
            assert_never(verdict)


def outcome_of_matrix(verdict: SuiteVerdict) -> Outcome:
    """Return what the test over the whole means by itself."""
    match verdict:
        case SuiteVerdict.AGREES | SuiteVerdict.CHANGED:
            return Outcome.PASSED
        case SuiteVerdict.DRIFT:
            return Outcome.FAILED
        case SuiteVerdict.NOT_TESTED:
            return Outcome.INCONCLUSIVE
        case _:
            assert_never(verdict)


def matrix_words(matrix: SuiteTest) -> str:
    """Return the test over the whole in one line."""
    if matrix.verdict is SuiteVerdict.NOT_TESTED:
        return describe_matrix(matrix)
    shift = f"typical shift {nats(matrix.typical_shift)} nats"
    cells = plural(matrix.cells, "cell")
    without = f", excluding {matrix.left_out} that drifted" if matrix.left_out else ""
    return f"{matrix.verdict.value}, p = {chance(matrix.p_value)} over {cells}{without}, {shift}"


def matrix_evidence(matrix: SuiteTest, tolerance: Tolerance) -> tuple[tuple[str, str], ...]:
    """Return the figures of the test over the whole as labelled lines; none without a test."""
    if matrix.verdict is SuiteVerdict.NOT_TESTED:
        return ()
    cells = plural(matrix.cells, "cell")
    level = percent(design.SUITE_SHARE * tolerance.false_alarm_rate)
    p_value = f"p = {chance(matrix.p_value)}, by the {matrix.evidence}"
    shift = f"{nats(matrix.typical_shift)} nats in the median cell"
    floor = f"where {nats(tolerance.floor_nats)} would matter"
    bound = f"within {nats(matrix.mean_shift_bound)} of 0 with 95 % confidence (TOST)"
    return (
        ("evidence", f"{p_value}, over {cells}; significant at {level}"),
        ("shift", f"{shift}, {floor}"),
        ("mean shift", f"{shifted(matrix.mean_shift)} nats, {bound}"),
        *_sameness(matrix),
        ("second look", "taken, of every cell" if matrix.second_look else "not needed"),
    )


def _sameness(matrix: SuiteTest) -> Iterator[tuple[str, str]]:
    """Yield what is claimed of a mean shift, unless the cells themselves have moved."""
    is_found = matrix.verdict is not SuiteVerdict.AGREES
    if is_found and matrix.sameness is Sameness.NOT_SHOWN:
        yield "sameness", "equivalence was not shown"
    elif matrix.verdict is not SuiteVerdict.DRIFT:
        yield "sameness", describe_sameness(matrix.sameness)


def promise(tolerance: Tolerance) -> str:
    """Return the stated error rate, and how it is shared."""
    rate = tolerance.false_alarm_rate
    parts = (
        (design.CELLS_SHARE, "cells"),
        (design.SUITE_SHARE, "whole"),
        (design.OUTLIERS_SHARE, "outliers"),
        (design.CONTROLS_SHARE, "A/A controls"),
    )
    shared = ", ".join(f"{percent(share * rate)} {name}" for share, name in parts)
    return f"at most {percent(rate)} for the suite as a whole ({shared}); {SESSIONS}"
