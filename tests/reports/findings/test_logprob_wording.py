"""The sentences on log-probabilities, and what they do not claim."""

import math
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.logprobs import error_rates
from repro_gate.core.logprobs.draw import Piece
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import LogprobControl, SuiteVerdict
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Equivalence,
    Evidence,
    Fork,
    Invalid,
    Shifted,
)
from repro_gate.core.outcome import Outcome
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded
from repro_gate.reports.findings import logprob_wording
from repro_gate.reports.findings.logprob_evidence import format_effect, logprob_lines, shift_of
from repro_gate.reports.findings.logprob_wording import (
    describe_equivalence,
    describe_logprob_control,
    describe_logprobs,
)
from repro_gate.reports.findings.wording import Description
from repro_gate.reports.text.escape import one_line
from repro_gate.reports.text.format import percent
from tests.fakes.logprob_reports import (
    OUTLYING,
    deciding_of,
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    outlier_of,
    suite_test_of,
    token_of,
    unmeasured_of,
    weight_report_of,
)

BROKEN_OFF = Inconclusive(reason="503 from\nthe service", remedy="wait")
CHANGE = FactChange(name="answer.model", before="a", after="b")


@pytest.mark.parametrize(
    ("equivalence", "claim"),
    [
        (Equivalence.IDENTICAL, "every draw repeats a calibration draw to the last digit"),
        (Equivalence.EQUIVALENT, "two one-sided tests place the shift within the floor, at 5 %"),
        (Equivalence.NOT_SHOWN, "no difference was found; equivalence was not shown"),
    ],
)
def test_agreement_claims_no_more_than_was_shown(equivalence: Equivalence, claim: str) -> None:
    """A test that finds no difference is not reported as equivalence."""
    assert describe_equivalence(equivalence) == claim
    assert describe_logprobs(logprob_cell_report_of(Agrees(equivalence=equivalence))).claim == claim


def test_outliers_before_a_failure_name_both() -> None:
    """The outliers and the failure are both described, on one line."""
    alone = describe_logprobs(logprob_cell_report_of(OUTLYING))
    verdict = replace(OUTLYING, unfinished=BROKEN_OFF)

    assert describe_logprobs(logprob_cell_report_of(verdict)) == replace(
        alone, reason=one_line("the remaining draws were not made: 503 from\\nthe service")
    )


def test_a_small_change_is_neither_drift_nor_equivalence() -> None:
    """A cell that changed slightly is not described as unchanged."""
    verdict = Agrees(equivalence=Equivalence.NOT_SHOWN, changed=effect_of())

    assert describe_logprobs(logprob_cell_report_of(verdict)).claim == (
        "the service changed numerically, but within the tolerance"
    )


@pytest.mark.parametrize(
    ("evidence", "claim", "shown_by"),
    [
        (
            Evidence.EXACT_REPEATS,
            "the draws no longer repeat the calibration draws and shifted",
            "exact repeats",
        ),
        (Evidence.SUM, "the log-probability of the response shifted", "the sum"),
        (
            Evidence.TOKENS,
            "log-probabilities of single tokens, which the sum may hide, shifted",
            "single tokens",
        ),
    ],
)
def test_drift_names_its_statistic(evidence: Evidence, claim: str, shown_by: str) -> None:
    """A reader knows whether to look at the sum or at the tokens."""
    verdict = Shifted(effect=effect_of(evidence=evidence), provenance=(CHANGE,))
    cell = logprob_cell_report_of(verdict)

    assert describe_logprobs(cell) == Description(
        claim=f"{claim} significantly and beyond the tolerance",
        advice="If the change is intended, accept it. Otherwise start with what changed.",
        suspects=(CHANGE,),
    )
    assert logprob_lines(cell)[0] == (
        "evidence",
        f"p = 0.00021 after Holm, by {shown_by}, in both looks",
    )


def test_drift_shows_shift_draws_tokens_and_the_lack_of_suspects() -> None:
    """The evidence of a drift is complete."""
    cell = logprob_cell_report_of(Shifted(effect=effect_of(), provenance=()))
    lines = logprob_lines(cell)

    assert [label for label, _ in lines] == [
        *("evidence", "shift", "draws", "draws", "draws", "draws", "token", "changed"),
    ]
    assert [line for line in lines if line[0] != "draws"][1:] == [
        ("shift", "-1.2500 nats of the sum; the band is 0.5000"),
        ("token", '[3] 43 " Paris"  -0.5000 -> -1.7500 nats (-1.2500)'),
        ("changed", "nothing recorded with the baseline"),
    ]


def test_drift_of_a_token_shows_its_band_first() -> None:
    """The sum, still within its band, comes after the token that decided."""
    token = token_of(shift=-0.3467)
    effect = effect_of(
        token, evidence=Evidence.TOKENS, shift=-0.0172, band=0.1, deciding=deciding_of(token)
    )
    lines = logprob_lines(logprob_cell_report_of(Shifted(effect=effect, provenance=())))

    assert [line for line in lines if line[0] != "draws"][1:3] == [
        ("shift", "-0.3467 nats of token 3; its band is 0.1000; the draws are of this token"),
        ("sum", "-0.0172 nats of the sum; the band is 0.1000"),
    ]
    assert format_effect(effect).startswith("-0.3467 nats of token 3, p = ")


@pytest.mark.parametrize(
    ("evidence", "claim", "shown_by"),
    [
        (
            Evidence.SUM,
            "the log-probabilities of the likely first tokens shifted",
            "the mean distance over all tokens (S)",
        ),
        (
            Evidence.TOKENS,
            "log-probabilities of some likely first tokens shifted",
            "single tokens",
        ),
    ],
)
def test_drift_of_first_tokens_shows_their_distance(
    evidence: Evidence, claim: str, shown_by: str
) -> None:
    """There is no response whose sum could have shifted."""
    token = token_of(shift=-1.5)
    effect = effect_of(
        token, evidence=evidence, shift=0.75, deciding=deciding_of(token), by_distance=True
    )
    cell = logprob_cell_report_of(Shifted(effect=effect, provenance=()))
    lines = dict(logprob_lines(cell))

    assert describe_logprobs(cell).claim == f"{claim} significantly and beyond the tolerance"
    assert lines["evidence"] == f"p = 0.00021 after Holm, by {shown_by}, in both looks"
    assert lines["distance"] == "0.7500 nats, the mean over all tokens; the band is 0.5000"


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (
            Piece(7, b" the"),
            '4 of 10 answers continue at [3] with 7 " the", 1.2500 nats likelier there',
        ),
        (None, "4 of 10 answers end before [3], and the recorded one does not"),
    ],
)
def test_drift_of_an_answer_shows_its_fork(piece: Piece | None, words: str) -> None:
    """With the margin, by which a near tie is distinguished from a change."""
    fork = Fork(position=3, piece=piece, margin=1.25, draws=4, of=10)
    cell = logprob_cell_report_of(Shifted(effect=effect_of(fork=fork), provenance=()))

    assert dict(logprob_lines(cell))["fork"] == words


def test_tokens_beyond_the_first_are_counted() -> None:
    """Only the tokens that shifted most are listed."""
    effect = effect_of(*(token_of(number) for number in range(8)))
    lines = logprob_lines(logprob_cell_report_of(Shifted(effect=effect, provenance=(CHANGE,))))

    assert [text for label, text in lines if label == "token"][5:] == ["and 3 more"]


def test_long_token_is_cut() -> None:
    """A very long token does not push the verdicts out of sight."""
    effect = effect_of(token_of(data=b"a" * 5000))
    lines = logprob_lines(logprob_cell_report_of(Shifted(effect=effect, provenance=(CHANGE,))))

    assert "and 4005 more characters" in dict(lines)["token"]
    assert len(dict(lines)["token"]) < 1200


def test_an_outlier_is_shown_with_its_cause() -> None:
    """The draw, its distance, the token that caused it, and the request."""
    verdict = OUTLYING
    cell = logprob_cell_report_of(verdict, outliers=(outlier_of(),))

    assert describe_logprobs(cell).claim == (
        "more outliers than allowed: 6 of the suite's 75 draws; the limit is 5 %, "
        "and up to 5 may occur by chance"
    )
    distance = "114.5000 from the center -42.0000, where up to 3.0000 is expected"

    assert logprob_lines(cell)[5:] == (
        ("outlier", f"-156.5000 nats, {distance}; redrawn"),
        ("token", '[3] 43 " Paris"  -0.5000 -> -114.5000 nats (-114.0000)'),
        ("request", "req-7"),
    )


def test_outlier_without_a_request_id_has_no_line_for_it() -> None:
    """Not every provider names its requests."""
    cell = logprob_cell_report_of(OUTLYING, outliers=(outlier_of(""),))

    assert "request" not in dict(logprob_lines(cell))


def test_an_invalid_response_is_shown_with_its_token() -> None:
    """The position is counted as in a baseline."""
    cell = unmeasured_of(Invalid(reason="no\nvalue", position=2, count=3), logprob_cell_of())

    assert describe_logprobs(cell).reason == r"no\nvalue"
    assert logprob_lines(cell) == (
        ("token", "[2] of the response"),
        ("draws", "3 invalid draws"),
    )


def test_an_invalid_response_may_have_no_token() -> None:
    """Not every problem is at one token."""
    cell = unmeasured_of(Invalid(reason="no", position=None, count=1), logprob_cell_of())

    assert logprob_lines(cell) == (("draws", "1 invalid draw"),)


def test_unrecorded_names_the_source() -> None:
    """A baseline holds for one source, so the message names it."""
    cell = unmeasured_of(Unrecorded(reason="there is none"), logprob_cell_of())

    assert describe_logprobs(cell).reason == "there is none (source fireworks)"


def test_inconclusive_may_have_no_remedy() -> None:
    """Not every problem has a known remedy."""
    cell = unmeasured_of(Inconclusive(reason="timeout", remedy=None), logprob_cell_of())

    assert describe_logprobs(cell) == Description(
        claim="not measured, so neither a pass nor drift",
        advice="No known remedy for this reason; repro-gate doctor shows the installed versions "
        "and devices.",
        reason=one_line("timeout"),
    )


def test_a_control_is_described_by_its_result() -> None:
    """A control that fails shows that the check cannot fail."""
    alive = LogprobControl(policy="base", cell="base--capital", differed=True)

    assert describe_logprob_control(alive).claim == (
        "another prompt gives different log-probabilities, as expected"
    )
    assert describe_logprob_control(replace(alive, differed=False)).claim == (
        "another prompt gave the same log-probabilities, so this check cannot fail"
    )


def test_shift_of_a_cell_is_by_the_medians() -> None:
    """A single outlier does not change the shift of a cell."""
    cell = logprob_cell_report_of(
        Agrees(equivalence=Equivalence.NOT_SHOWN), totals=(-42.5, -42.5, -50.0)
    )

    assert shift_of(cell) == -0.5
    assert [shift_of(replace(cell, totals=())), shift_of(replace(cell, center=None))] == [None] * 2


TOLERANCE = Tolerance()


@pytest.mark.parametrize(
    ("verdict", "claim", "advice", "outcome"),
    [
        (
            SuiteVerdict.AGREES,
            "the suite as a whole agrees with its baselines",
            "No action needed.",
            Outcome.PASSED,
        ),
        (
            SuiteVerdict.CHANGED,
            "the service changed numerically, but below the configured floor",
            "No action needed; re-record to compare with the current service.",
            Outcome.PASSED,
        ),
        (
            SuiteVerdict.DRIFT,
            "the suite as a whole shifted: most of its items, as after a model change",
            "If the change is intended, accept it. Otherwise start with model and provider.",
            Outcome.FAILED,
        ),
        (
            SuiteVerdict.NOT_TESTED,
            "the suite as a whole was not tested: no cell could be compared",
            "Make at least one cell comparable and check again.",
            Outcome.INCONCLUSIVE,
        ),
    ],
)
def test_each_verdict_on_a_suite_has_its_sentences(
    verdict: SuiteVerdict, claim: str, advice: str, outcome: Outcome
) -> None:
    """Description, advice and outcome."""
    described = logprob_wording.describe_suite_test(suite_test_of(verdict))
    assert described == Description(claim=claim, advice=advice)
    assert logprob_wording.outcome_of_suite_test(verdict) is outcome


@pytest.mark.parametrize(
    ("verdict", "claim"),
    [
        (
            SuiteVerdict.AGREES,
            "the suite as a whole agrees with its baselines, excluding 1 cell that drifted",
        ),
        (
            SuiteVerdict.DRIFT,
            "the suite as a whole shifted, even excluding 1 cell that drifted",
        ),
    ],
)
def test_cells_excluded_from_the_suite_test_are_named(verdict: SuiteVerdict, claim: str) -> None:
    """Cells that drifted by themselves are not part of it."""
    test = suite_test_of(verdict, left_out=1)

    assert logprob_wording.describe_suite_test(test).claim == claim
    assert "over 12 cells, excluding 1 that drifted, typical" in logprob_wording.format_suite_test(
        test
    )


def test_evidence_of_agreement() -> None:
    """The p-value is shown with its level, and the shift with the floor."""
    level = percent(error_rates.SUITE_SHARE * TOLERANCE.false_alarm_rate)

    assert logprob_wording.suite_test_lines(suite_test_of(), TOLERANCE) == (
        ("evidence", f"p = 0.41, by exact repeats, over 12 cells; significant at {level}"),
        ("shift", "median 0.0000 nats; the floor is 0.1000"),
        ("mean shift", "+0.0021 nats, within 0.0312 of 0 with 95 % confidence (TOST)"),
        ("equivalence", "two one-sided tests place the shift within the floor, at 5 %"),
        ("second look", "not needed"),
    )


@pytest.mark.parametrize(
    ("verdict", "equivalence", "text"),
    [
        (
            SuiteVerdict.AGREES,
            Equivalence.NOT_SHOWN,
            "no difference was found; equivalence was not shown",
        ),
        (SuiteVerdict.CHANGED, Equivalence.NOT_SHOWN, "not shown"),
        (
            SuiteVerdict.CHANGED,
            Equivalence.EQUIVALENT,
            "two one-sided tests place the shift within the floor, at 5 %",
        ),
        (SuiteVerdict.DRIFT, Equivalence.NOT_SHOWN, "not shown"),
        (SuiteVerdict.DRIFT, Equivalence.EQUIVALENT, None),
    ],
)
def test_equivalence_of_the_mean_shift(
    verdict: SuiteVerdict, equivalence: Equivalence, text: str | None
) -> None:
    """A difference that was found is not denied."""
    test = suite_test_of(verdict, equivalence=equivalence, second_look=True)
    lines = dict(logprob_wording.suite_test_lines(test, TOLERANCE))

    assert lines.get("equivalence") == text
    assert lines["second look"] == "taken, of every cell"


def test_what_was_not_tested_has_no_figures() -> None:
    """There is no p-value without a test."""
    test = suite_test_of(SuiteVerdict.NOT_TESTED)

    assert logprob_wording.suite_test_lines(test, TOLERANCE) == ()
    assert logprob_wording.format_suite_test(test) == (
        "the suite as a whole was not tested: no cell could be compared"
    )


def test_suite_test_in_one_line() -> None:
    """Verdict, p-value and shift are one line."""
    assert logprob_wording.format_suite_test(suite_test_of()) == (
        "agrees, p = 0.41 over 12 cells, typical shift 0.0000 nats"
    )


def test_usable_weights_are_described() -> None:
    """The sentence has no reason."""
    assert logprob_wording.format_usability(weight_report_of()) == "These weights can be used."


def test_unusable_weights_are_described_with_every_reason() -> None:
    """A reader need not study the figures."""
    assert logprob_wording.format_usability(weight_report_of("too few\nitems", "a long tail")) == (
        r"These weights cannot be used: too few\nitems; a long tail"
    )


def test_undetermined_weights_are_described() -> None:
    """A reason against the weights would be shown instead of the doubts."""
    found = weight_report_of(doubts=("9 items\nare too few",))

    assert logprob_wording.format_usability(found) == (
        r"It cannot be determined whether these weights can be used: 9 items\nare too few"
    )
    assert logprob_wording.format_usability(replace(found, problems=("a long tail",))) == (
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
    """The same holds for a control that could not have failed."""
    found = weight_report_of(**{"doubts": ("too few",), **changes})

    assert logprob_wording.outcome_of_weights(found) is outcome
    advice = logprob_wording.describe_weights(found).advice
    assert advice.startswith("Add items") is (outcome is Outcome.INCONCLUSIVE)


def test_evidence_of_a_control() -> None:
    """The figures of a control that fails its ESS."""
    assert logprob_wording.weight_lines(weight_report_of()) == (
        ("role", "A/A control, every weight should be 1"),
        ("items", "1000 items; w = exp(target - base), one for each item"),
        ("log-ratio", "mean -0.0123 nats, p = 0.3 if the policies are the same"),
        ("ESS", "215 (21.5 %)"),
        ("largest", "4.3 % of the sum of all weights"),
        ("mean weight", "1.282 (p = 1)"),
        ("k-hat", "0.49 (limit 0.6667)"),
    )


def test_evidence_of_another_policy() -> None:
    """Numbers beyond a float, and a tail that was not fitted, are described in words."""
    found = weight_report_of(
        is_control=False,
        mean_weight=math.inf,
        mean_p=1e-99,
        khat=None,
        khat_bar=None,
        control_p=None,
    )
    lines = dict(logprob_wording.weight_lines(found))

    assert lines["log-ratio"] == "mean -0.0123 nats"
    assert lines["mean weight"] == "too large for a number (p = 1e-99)"
    assert lines["k-hat"] == "not fitted, too few items"


def test_the_effective_size_of_no_items() -> None:
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
    """Only weights that must be usable can fail a check."""
    found = weight_report_of("no", is_control=is_control, must_be_usable=must_be_usable)

    assert (logprob_wording.format_role(found), logprob_wording.outcome_of_weights(found)) == (
        role,
        outcome,
    )


def test_a_suite_within_the_band_of_sessions_names_it() -> None:
    """The floor is not what kept it from being drift."""
    test = suite_test_of(verdict=SuiteVerdict.CHANGED, band=0.5)

    claim = logprob_wording.describe_suite_test(test).claim
    (_, (_, shift), *_) = logprob_wording.suite_test_lines(test, TOLERANCE)
    assert claim == "the service changed numerically, but no more than between sessions"
    assert shift.endswith("nats; another session may be 0.5000 away")
