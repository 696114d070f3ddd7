"""What is said of log-probabilities, and what is not claimed."""

from dataclasses import replace

import pytest

from repro_gate.core.logprobs.report import LogprobControl
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Evidence,
    Invalid,
    Sameness,
    Shifted,
)
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded
from repro_gate.reports.findings.logprob_evidence import format_effect, logprob_lines, shift_of
from repro_gate.reports.findings.logprob_wording import (
    describe_equivalence,
    describe_logprob_control,
    describe_logprobs,
)
from repro_gate.reports.findings.wording import Description
from repro_gate.reports.text.escape import one_line
from tests.fakes.logprob_reports import (
    OUTLYING,
    deciding_of,
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    outlier_of,
    token_of,
    unmeasured_of,
)

BROKEN_OFF = Inconclusive(reason="503 from\nthe service", remedy="wait")
CHANGE = FactChange(name="answer.model", before="a", after="b")


@pytest.mark.parametrize(
    ("sameness", "claim"),
    [
        (Sameness.IDENTICAL, "every draw repeats a calibration draw to the last digit"),
        (Sameness.EQUIVALENT, "two one-sided tests place the shift within the floor, at 5 %"),
        (Sameness.NOT_SHOWN, "no difference was found; equivalence was not shown"),
    ],
)
def test_sameness_claims_no_more_than_was_shown(sameness: Sameness, claim: str) -> None:
    """A test that finds nothing is not told as equivalence."""
    assert describe_equivalence(sameness) == claim
    assert describe_logprobs(logprob_cell_report_of(Agrees(sameness=sameness))).claim == claim


def test_outliers_before_a_failure_name_both() -> None:
    """They were seen, and the rest was not; what the service sent stays one line."""
    claim = describe_logprobs(logprob_cell_report_of(OUTLYING)).claim
    verdict = replace(OUTLYING, unfinished=BROKEN_OFF)

    assert describe_logprobs(logprob_cell_report_of(verdict)) == Description(
        claim=claim, reason=one_line("the remaining draws were not made: 503 from\\nthe service")
    )


def test_small_change_is_no_drift_and_no_sameness() -> None:
    """Of a cell that changed a little it is not said that no difference was found."""
    verdict = Agrees(sameness=Sameness.NOT_SHOWN, changed=effect_of())

    assert describe_logprobs(logprob_cell_report_of(verdict)).claim == (
        "the service changed numerically, but within the tolerance"
    )


@pytest.mark.parametrize(
    ("evidence", "claim", "shown_by"),
    [
        (
            Evidence.COINCIDENCES,
            "the draws no longer repeat the calibration draws and shifted",
            "coincidences",
        ),
        (Evidence.SUM, "the log-probability of the response shifted", "the sum"),
        (
            Evidence.TOKENS,
            "log-probabilities of single tokens, which the sum may hide, shifted",
            "single tokens",
        ),
    ],
)
def test_drift_says_what_shows_it(evidence: Evidence, claim: str, shown_by: str) -> None:
    """A reader knows whether to look at the sum or at the tokens."""
    verdict = Shifted(effect=effect_of(evidence=evidence), provenance=(CHANGE,))
    cell = logprob_cell_report_of(verdict)

    assert describe_logprobs(cell) == Description(
        claim=f"{claim} significantly and beyond the tolerance", suspects=(CHANGE,)
    )
    assert logprob_lines(cell)[0] == (
        "evidence",
        f"p = 0.00021 after Holm, by {shown_by}, in two looks",
    )


def test_drift_shows_shift_draws_tokens_and_the_lack_of_suspects() -> None:
    """All that a reader needs to judge a drift stands under it."""
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


def test_drift_of_a_token_names_what_left_its_band() -> None:
    """A sum within its band stands after the token that decided, and explains nothing."""
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


def test_tokens_beyond_the_first_are_counted() -> None:
    """The tokens that moved most are enough at first sight."""
    effect = effect_of(*(token_of(number) for number in range(8)))
    lines = logprob_lines(logprob_cell_report_of(Shifted(effect=effect, provenance=(CHANGE,))))

    assert [text for label, text in lines if label == "token"][5:] == ["and 3 more"]


def test_long_token_is_cut() -> None:
    """A provider that sends a book for a token does not push the verdicts out of sight."""
    effect = effect_of(token_of(data=b"a" * 5000))
    lines = logprob_lines(logprob_cell_report_of(Shifted(effect=effect, provenance=(CHANGE,))))

    assert "and 4005 more characters" in dict(lines)["token"]
    assert len(dict(lines)["token"]) < 1200


def test_outlier_is_told_with_its_cause() -> None:
    """The draw, its distance, the token that made it, and the request to ask about."""
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


def test_invalid_answer_is_told_with_its_token() -> None:
    """The reason is the answer's, and the place is counted as in a baseline."""
    cell = unmeasured_of(Invalid(reason="no\nvalue", position=2, count=3), logprob_cell_of())

    assert describe_logprobs(cell).reason == r"no\nvalue"
    assert logprob_lines(cell) == (
        ("token", "[2] of the response"),
        ("draws", "3 invalid draws"),
    )


def test_invalid_answer_as_a_whole_has_no_token() -> None:
    """An answer that is wrong altogether points at no token."""
    cell = unmeasured_of(Invalid(reason="no", position=None, count=1), logprob_cell_of())

    assert logprob_lines(cell) == (("draws", "1 invalid draw"),)


def test_unrecorded_names_the_source() -> None:
    """A baseline holds for one source, so its absence is told with it."""
    cell = unmeasured_of(Unrecorded(reason="there is none"), logprob_cell_of())

    assert describe_logprobs(cell).reason == "there is none (source fireworks)"


def test_inconclusive_may_have_no_remedy() -> None:
    """What nobody knows to cure is said without a cure."""
    cell = unmeasured_of(Inconclusive(reason="timeout", remedy=None), logprob_cell_of())

    assert describe_logprobs(cell) == Description(
        claim="not measured, so neither a pass nor drift", reason=one_line("timeout")
    )


def test_control_that_differs_is_said_to() -> None:
    """A control shows what the check can see, or that it sees nothing."""
    alive = LogprobControl(policy="base", cell="base--capital", differed=True)

    assert describe_logprob_control(alive) == (
        "another prompt gives different log-probabilities, as expected"
    )
    assert describe_logprob_control(replace(alive, differed=False)) == (
        "another prompt gave the same log-probabilities, so this check cannot fail"
    )


def test_shift_of_a_cell_is_by_the_medians() -> None:
    """One draw far out does not move what is said of a cell."""
    cell = logprob_cell_report_of(Agrees(sameness=Sameness.NOT_SHOWN), totals=(-42.5, -42.5, -50.0))

    assert shift_of(cell) == -0.5
    assert [shift_of(replace(cell, totals=())), shift_of(replace(cell, center=None))] == [None] * 2
