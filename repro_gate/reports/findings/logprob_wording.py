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
    Effect,
    Equivalence,
    Evidence,
    Invalid,
    LogprobVerdict,
    Outlying,
    Shifted,
)
from repro_gate.core.outcome import Outcome
from repro_gate.core.tokens.verdicts import Inconclusive, Orphan, Unrecorded
from repro_gate.reports.findings.wording import (
    ACCEPT_OR_START_WITH,
    NO_ACTION,
    Description,
    describe_inconclusive,
)
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import Escape, message
from repro_gate.reports.text.format import amount, chance, nats, percent, plural, shifted

LOGPROB_WORDS: Final[tuple[str, ...]] = (
    *(kind.word for kind in get_args(LogprobVerdict)),
    Orphan.word,
)
"""In the order in which reports count them."""

BELOW_FLOOR: Final = "the service changed numerically, but below the configured floor"
WITHIN_SESSIONS: Final = "the service changed numerically, but no more than between sessions"
WITHIN_BAND: Final = "the service changed numerically, but within its own noise band"
"""The service is so noisy that a shift above the floor is still within its band."""


def describe_logprobs(cell: LogprobCellReport) -> Description:
    """Describe the verdict on a cell."""
    match cell.verdict:
        case Agrees() as verdict:
            return Description(claim=_agreeing(verdict), advice=NO_ACTION)
        case Shifted() as verdict:
            return Description(
                claim=f"{_moved(verdict.effect)} significantly and beyond the tolerance",
                advice=ACCEPT_OR_START_WITH.format("what changed"),
                suspects=tuple(map(escape.escape_change, verdict.provenance)),
            )
        case Outlying() as verdict:
            return _outlying(verdict)
        case Invalid(reason=reason):
            claim = "the response is about other content than the request, or has impossible values"
            advice = "Find out why the response does not fit the request; it cannot be compared."
            return Description(claim=claim, advice=advice, reason=escape.message(reason))
        case Unrecorded(reason=reason):
            return Description(
                claim="no baseline recorded for this cell at this source",
                advice="Record a baseline and commit it.",
                reason=escape.message(f"{reason} (source {cell.source})"),
            )
        case Inconclusive() as verdict:
            return describe_inconclusive(verdict)
        case _:
            assert_never(cell.verdict)


def _outlying(found: Outlying) -> Description:
    share = f"{found.count} of the suite's {plural(found.draws, 'draw')}"
    limit = f"the limit is {percent(found.allowed)}, and up to {found.most} may occur by chance"
    problem = found.unfinished
    reason = None if problem is None else f"the remaining draws were not made: {problem.reason}"
    return Description(
        claim=f"more outliers than allowed: {share}; {limit}",
        advice="Ask the provider about these requests; the draws that replaced them are fine.",
        reason=None if reason is None else escape.message(reason),
    )


def describe_equivalence(equivalence: Equivalence) -> str:
    """Describe how closely draws agree with the baseline."""
    match equivalence:
        case Equivalence.IDENTICAL:
            return "every draw repeats a calibration draw to the last digit"
        case Equivalence.EQUIVALENT:
            return "two one-sided tests place the shift within the floor, at 5 %"
        case Equivalence.NOT_SHOWN:
            return "no difference was found; equivalence was not shown"
        case _:
            assert_never(equivalence)


def describe_logprob_control(control: LogprobControl) -> Description:
    """Describe the result of a control."""
    if control.failed:
        claim = "another prompt gave the same log-probabilities, so this check cannot fail"
        advice = "Check whether the API uses the prompt; until it does, a pass proves nothing."
        return Description(claim=claim, advice=advice)
    claim = "another prompt gives different log-probabilities, as expected"
    return Description(claim=claim, advice=NO_ACTION)


def _agreeing(verdict: Agrees) -> str:
    # A significant change must not be reported as no difference.
    changed = "the service changed numerically, but within the tolerance"
    return describe_equivalence(verdict.equivalence) if verdict.changed is None else changed


def format_statistic(evidence: Evidence, *, by_distance: bool = False) -> str:
    """Name the statistic that showed a difference."""
    match evidence:
        case Evidence.EXACT_REPEATS:
            return "exact repeats"
        case Evidence.SUM:
            return "the mean distance over all tokens (S)" if by_distance else "the sum"
        case Evidence.TOKENS:
            return "single tokens"
        case _:
            assert_never(evidence)


def _moved(effect: Effect) -> str:
    match effect.evidence:
        case Evidence.EXACT_REPEATS:
            return "the draws no longer repeat the calibration draws and shifted"
        case Evidence.SUM if effect.by_distance:
            return "the log-probabilities of the likely first tokens shifted"
        case Evidence.SUM:
            return "the log-probability of the response shifted"
        case Evidence.TOKENS if effect.by_distance:
            return "log-probabilities of some likely first tokens shifted"
        case Evidence.TOKENS:
            return "log-probabilities of single tokens, which the sum may hide, shifted"
        case _:
            assert_never(effect.evidence)


def describe_suite_test(test: SuiteTest) -> Description:
    """Describe the test of a suite as a whole."""
    excluding = f"excluding {plural(test.left_out, 'cell')} that drifted"
    match test.verdict:
        case SuiteVerdict.AGREES:
            claim, advice = "the suite as a whole agrees with its baselines", NO_ACTION
            claim += f", {excluding}" if test.left_out else ""
        case SuiteVerdict.CHANGED:
            claim = BELOW_FLOOR if test.band is None else WITHIN_SESSIONS
            advice = "No action needed; re-record to compare with the current service."
        case SuiteVerdict.DRIFT:
            claim = "the suite as a whole shifted"
            detail = ": most of its items, as after a model change"
            claim += f", even {excluding}" if test.left_out else detail
            advice = ACCEPT_OR_START_WITH.format("model and provider")
        case SuiteVerdict.NOT_TESTED:
            claim = "the suite as a whole was not tested: no cell could be compared"
            advice = "Make at least one cell comparable and check again."
        case _:
            assert_never(test.verdict)
    return Description(claim=claim, advice=advice)


def outcome_of_suite_test(verdict: SuiteVerdict) -> Outcome:
    """Return the outcome of the test of a suite by itself."""
    match verdict:
        case SuiteVerdict.AGREES | SuiteVerdict.CHANGED:
            return Outcome.PASSED
        case SuiteVerdict.DRIFT:
            return Outcome.FAILED
        case SuiteVerdict.NOT_TESTED:
            return Outcome.INCONCLUSIVE
        case _:
            assert_never(verdict)


def format_suite_test(test: SuiteTest) -> str:
    """Return the test of a suite in one line."""
    if test.verdict is SuiteVerdict.NOT_TESTED:
        return describe_suite_test(test).claim
    shift = f"typical shift {nats(test.typical_shift)} nats"
    cells = plural(test.cells, "cell")
    without = f", excluding {test.left_out} that drifted" if test.left_out else ""
    return f"{test.verdict.value}, p = {chance(test.p_value)} over {cells}{without}, {shift}"


def suite_test_lines(test: SuiteTest, tolerance: Tolerance) -> tuple[tuple[str, str], ...]:
    """Return the figures of the test of a suite as labelled lines; empty without a test."""
    if test.verdict is SuiteVerdict.NOT_TESTED:
        return ()
    cells = plural(test.cells, "cell")
    level = percent(error_rates.SUITE_SHARE * tolerance.false_alarm_rate)
    p_value = f"p = {chance(test.p_value)}, by {format_statistic(test.evidence)}"
    shift = f"median {nats(test.typical_shift)} nats"
    floor = f"the floor is {nats(tolerance.floor_nats)}"
    if test.band is not None:
        floor = f"another session may be {nats(test.band)} away"
    bound = f"within {nats(test.mean_shift_bound)} of 0 with 95 % confidence (TOST)"
    return (
        ("evidence", f"{p_value}, over {cells}; significant at {level}"),
        ("shift", f"{shift}; {floor}"),
        ("mean shift", f"{shifted(test.mean_shift)} nats, {bound}"),
        *_equivalence(test),
        ("second look", "taken, of every cell" if test.second_look else "not needed"),
    )


def _equivalence(test: SuiteTest) -> Iterator[tuple[str, str]]:
    """Yield whether the mean shift is equivalent to none, unless the suite drifted."""
    is_found = test.verdict is not SuiteVerdict.AGREES
    if is_found and test.equivalence is Equivalence.NOT_SHOWN:
        yield "equivalence", "not shown"
    elif test.verdict is not SuiteVerdict.DRIFT:
        yield "equivalence", describe_equivalence(test.equivalence)


FORMULA = "w = exp(target - base), one for each item"


def format_pair(found: WeightReport) -> str:
    """Name the policies of a comparison."""
    return f"{found.target} / {found.base}"


def format_role(found: WeightReport) -> str:
    """Return the purpose of a comparison."""
    if found.is_control:
        return "A/A control, every weight should be 1"
    return "must be usable" if found.must_be_usable else "for information"


def outcome_of_weights(found: WeightReport) -> Outcome:
    """Return the outcome of weights; only weights that must be usable can fail."""
    if found.failed:
        return Outcome.FAILED
    return Outcome.INCONCLUSIVE if found.inconclusive else Outcome.PASSED


def describe_weights(found: WeightReport) -> Description:
    """Describe whether weights can be used, with the reason."""
    reason = "; ".join(found.problems or found.doubts)
    return Description(
        claim=_usability_claim(found.usability),
        advice=_advise_weights(found),
        reason=message(reason) if reason else None,
    )


def format_usability(found: WeightReport, *, reason_as: Escape = escape.one_line) -> str:
    """Return in a sentence whether weights can be used; `reason_as` escapes the reason."""
    description = describe_weights(found)
    claim = f"{description.claim[0].upper()}{description.claim[1:]}"
    return (
        f"{claim}." if description.reason is None else f"{claim}: {reason_as(description.reason)}"
    )


def _usability_claim(usability: Usability) -> str:
    match usability:
        case Usability.USABLE:
            return "these weights can be used"
        case Usability.UNUSABLE:
            return "these weights cannot be used"
        case Usability.UNDETERMINED:
            return "it cannot be determined whether these weights can be used"
        case _:
            assert_never(usability)


def _advise_weights(found: WeightReport) -> str:
    if outcome_of_weights(found) is Outcome.PASSED:
        return NO_ACTION
    if found.inconclusive:
        return "Add items, or draws where the reason asks for them; this cannot pass until then."
    if found.is_control:
        return "Make the clone call exactly the same model; the weights mean nothing until then."
    return "Do not estimate with these weights; compare policies that are closer to the base."


def format_effective_size(found: WeightReport) -> str:
    """Return the effective sample size, and its share of the items."""
    share = found.effective_size / found.items if found.items else 0.0
    return f"{amount(found.effective_size)} ({percent(share)})"


def format_mean_weight(found: WeightReport) -> str:
    """Return the mean weight, with the p-value of its distance from 1."""
    return f"{amount(found.mean_weight)} (p = {chance(found.mean_p)})"


def format_khat(found: WeightReport) -> str:
    """Return the tail shape k-hat, with its limit."""
    if found.khat is None or found.khat_bar is None:
        return "not fitted, too few items"
    return f"{amount(found.khat)} (limit {amount(found.khat_bar)})"


def weight_lines(found: WeightReport) -> tuple[tuple[str, str], ...]:
    """Return the figures of a comparison as labelled lines."""
    centred = (
        f", p = {chance(found.control_p)} if the policies are the same"
        if found.control_p is not None
        else ""
    )
    return (
        ("role", format_role(found)),
        ("items", f"{plural(found.items, 'item')}; {FORMULA}"),
        ("log-ratio", f"mean {shifted(found.mean_log_ratio)} nats{centred}"),
        ("ESS", f"{format_effective_size(found)}"),
        ("largest", f"{percent(found.largest_share)} of the sum of all weights"),
        ("mean weight", format_mean_weight(found)),
        ("k-hat", format_khat(found)),
    )
