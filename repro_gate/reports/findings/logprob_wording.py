"""The verdicts on log-probabilities in words, and what to do about them.

They are about a cell, about a suite as a whole, or about importance weights between policies.
"""

from collections.abc import Iterator
from typing import Final, assert_never, get_args

from repro_gate.core.logprobs import error_rates
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobControl,
    SuiteTest,
    SuiteVerdict,
    Usability,
    WeightReport,
)
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Evidence,
    Invalid,
    LogprobVerdict,
    Outlying,
    Sameness,
    Shifted,
)
from repro_gate.core.outcome import Outcome
from repro_gate.core.tokens.verdicts import Inconclusive, Orphan, Unrecorded
from repro_gate.reports.findings.wording import Description, advise
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import Escaped, message
from repro_gate.reports.text.format import amount, chance, nats, percent, plural, shifted

LOGPROB_WORDS: Final[tuple[str, ...]] = (
    *(kind.word for kind in get_args(LogprobVerdict)),
    Orphan.word,
)
"""In the order in which reports count them."""

BELOW_FLOOR: Final = "the service changed numerically, but below the configured floor"
"""A note, and never drift."""
WITHIN_BAND: Final = "the service changed numerically, but within its own noise band"
"""A note too: of a service so noisy that even a larger shift is none that could be told."""


def describe_logprobs(cell: LogprobCellReport) -> Description:
    """Return what the verdict on a cell says."""
    match cell.verdict:
        case Agrees() as verdict:
            return Description(claim=_agreeing(verdict))
        case Shifted() as verdict:
            suspects = tuple(map(escape.change, verdict.provenance))
            claim = f"{_moved(verdict.effect.evidence)} significantly and beyond the tolerance"
            return Description(claim=claim, suspects=suspects)
        case Outlying() as verdict:
            return _outlying(verdict)
        case Invalid(reason=reason):
            claim = "the response is about other content than the request, or has impossible values"
            return Description(claim=claim, reason=escape.message(reason))
        case Unrecorded(reason=reason):
            named = escape.message(f"{reason} (source {cell.source})")
            claim = "no baseline recorded for this cell at this source"
            return Description(claim=claim, reason=named)
        case Inconclusive(reason=reason, remedy=remedy):
            said = None if remedy is None else escape.message(remedy)
            claim = "not measured, so neither a pass nor drift"
            return Description(claim=claim, reason=escape.message(reason), remedy=said)
        case _:
            assert_never(cell.verdict)


def _outlying(found: Outlying) -> Description:
    share = f"{found.count} of the suite's {plural(found.draws, 'draw')}"
    limit = f"the limit is {percent(found.allowed)}, and up to {found.most} may occur by chance"
    claim = f"more outliers than allowed: {share}; {limit}"
    if found.unfinished is None:
        return Description(claim=claim)
    reason = f"the remaining draws were not made: {found.unfinished.reason}"
    return Description(claim=claim, reason=escape.message(reason))


def advise_logprobs(verdict: LogprobVerdict) -> str:
    """Return what to do about a verdict."""
    match verdict:
        case Agrees():
            return "No action needed."
        case Shifted():
            return "If the change is intended, accept it. Otherwise start with what changed."
        case Outlying():
            return "Ask the provider about these requests; the draws that replaced them are fine."
        case Invalid():
            return "Find out why the response does not fit the request; it cannot be compared."
        case Unrecorded():
            return "Record a baseline and commit it."
        case Inconclusive():
            return advise(verdict)
        case _:
            assert_never(verdict)


def describe_equivalence(sameness: Sameness) -> str:
    """Return what is claimed of draws that agree, and what is not."""
    match sameness:
        case Sameness.IDENTICAL:
            return "every draw repeats a calibration draw to the last digit"
        case Sameness.EQUIVALENT:
            return "two one-sided tests place the shift within the floor, at 5 %"
        case Sameness.NOT_SHOWN:
            return "no difference was found; equivalence was not shown"
        case _:
            assert_never(sameness)


def describe_logprob_control(control: LogprobControl) -> str:
    """Return what a control shows."""
    if control.failed:
        return "another prompt gave the same log-probabilities, so this check cannot fail"
    return "another prompt gives different log-probabilities, as expected"


def _agreeing(verdict: Agrees) -> str:
    # Where a difference was found, nothing must be said of none.
    changed = "the service changed numerically, but within the tolerance"
    return describe_equivalence(verdict.sameness) if verdict.changed is None else changed


def _moved(evidence: Evidence) -> str:
    match evidence:
        case Evidence.COINCIDENCES:
            return "the draws no longer repeat the calibration draws and shifted"
        case Evidence.SUM:
            return "the log-probability of the response shifted"
        case Evidence.TOKENS:
            return "log-probabilities of single tokens, which the sum may hide, shifted"
        case _:
            assert_never(evidence)


SESSIONS: Final = "valid for noise between draws, not for noise that is constant within a session"


def describe_suite_test(matrix: SuiteTest) -> str:
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


def advise_suite_test(verdict: SuiteVerdict) -> str:
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


def outcome_of_suite_test(verdict: SuiteVerdict) -> Outcome:
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


def format_suite_test(matrix: SuiteTest) -> str:
    """Return the test over the whole in one line."""
    if matrix.verdict is SuiteVerdict.NOT_TESTED:
        return describe_suite_test(matrix)
    shift = f"typical shift {nats(matrix.typical_shift)} nats"
    cells = plural(matrix.cells, "cell")
    without = f", excluding {matrix.left_out} that drifted" if matrix.left_out else ""
    return f"{matrix.verdict.value}, p = {chance(matrix.p_value)} over {cells}{without}, {shift}"


def suite_test_lines(matrix: SuiteTest, tolerance: Tolerance) -> tuple[tuple[str, str], ...]:
    """Return the figures of the test over the whole as labelled lines; none without a test."""
    if matrix.verdict is SuiteVerdict.NOT_TESTED:
        return ()
    cells = plural(matrix.cells, "cell")
    level = percent(error_rates.SUITE_SHARE * tolerance.false_alarm_rate)
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
        yield "sameness", describe_equivalence(matrix.sameness)


def format_false_alarms(tolerance: Tolerance) -> str:
    """Return the stated error rate, and how it is shared."""
    rate = tolerance.false_alarm_rate
    parts = (
        (error_rates.CELLS_SHARE, "cells"),
        (error_rates.SUITE_SHARE, "whole"),
        (error_rates.OUTLIERS_SHARE, "outliers"),
        (error_rates.CONTROLS_SHARE, "A/A controls"),
    )
    shared = ", ".join(f"{percent(share * rate)} {name}" for share, name in parts)
    return f"at most {percent(rate)} for the suite as a whole ({shared}); {SESSIONS}"


USABLE = "These weights can be used"
NOT_USABLE = "These weights cannot be used"
UNDETERMINED = "It cannot be determined whether these weights can be used"
FORMULA = "w = exp(target - base), one for each item"


def format_pair(found: WeightReport) -> str:
    """Return what is compared with what."""
    return f"{found.target} / {found.base}"


def format_role(found: WeightReport) -> str:
    """Return why the two are compared."""
    if found.is_control:
        return "A/A control, every weight should be 1"
    return "must be usable" if found.must_be_usable else "for information"


def outcome_of_weights(found: WeightReport) -> Outcome:
    """Return what weights mean for the check: those that nobody needs cannot fail it."""
    if found.failed:
        return Outcome.FAILED
    return Outcome.INCONCLUSIVE if found.inconclusive else Outcome.PASSED


def statement(found: WeightReport) -> str:
    """Return whether the weights can be used, and why not."""
    why = reason(found)
    return f"{claim(found)}: {why}" if why else f"{claim(found)}."


def claim(found: WeightReport) -> str:
    """Return whether the weights can be used, without a full stop."""
    match found.usability:
        case Usability.USABLE:
            return USABLE
        case Usability.UNUSABLE:
            return NOT_USABLE
        case Usability.UNDETERMINED:
            return UNDETERMINED
        case _:
            assert_never(found.usability)


def reason(found: WeightReport) -> Escaped:
    """Return why weights cannot be used, or cannot be judged; empty when they can be used."""
    return message("; ".join(found.problems or found.doubts))


def advise_weights(found: WeightReport) -> str:
    """Return what to do about weights that are no pass."""
    if found.inconclusive:
        return "Add items, or draws where the reason asks for them; this cannot pass until then."
    if found.is_control:
        return "Make the clone call exactly the same model; the weights mean nothing until then."
    return "Do not estimate with these weights; compare policies that are closer to the base."


def format_effective_size(found: WeightReport) -> str:
    """Return the effective sample size, and how much of the sample it is."""
    share = found.effective_size / found.items if found.items else 0.0
    return f"{amount(found.effective_size)} ({percent(share)})"


def format_mean_weight(found: WeightReport) -> str:
    """Return the mean weight, and how likely one so far from 1 would be by chance."""
    return f"{amount(found.mean_weight)} (p = {chance(found.mean_p)})"


def format_khat(found: WeightReport) -> str:
    """Return the shape of the tail beside its bar."""
    if found.khat is None or found.khat_bar is None:
        return "not fitted, too few items"
    return f"{amount(found.khat)} (bar {amount(found.khat_bar)})"


def weight_lines(found: WeightReport) -> tuple[tuple[str, str], ...]:
    """Return the figures of a comparison as labelled lines."""
    centred = (
        f", p = {chance(found.control_p)} if both are the same"
        if found.control_p is not None
        else ""
    )
    return (
        ("role", format_role(found)),
        ("items", f"{plural(found.items, 'item')}; {FORMULA}"),
        ("log-ratio", f"{shifted(found.mean_log_ratio)} nats in the mean{centred}"),
        ("ESS", f"{format_effective_size(found)}"),
        ("largest", f"{percent(found.largest_share)} of the sum of all weights"),
        ("mean weight", format_mean_weight(found)),
        ("k-hat", format_khat(found)),
    )
