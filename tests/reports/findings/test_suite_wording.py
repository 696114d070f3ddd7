"""What is said of a whole suite, and what its error rate is."""

import pytest

from repro_gate.core.logprobs import error_rates
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import SuiteVerdict
from repro_gate.core.logprobs.verdicts import Sameness
from repro_gate.core.outcome import Outcome
from repro_gate.reports.findings import logprob_wording
from repro_gate.reports.text.format import percent
from tests.fakes.logprob_reports import suite_test_of

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
def test_each_verdict_has_its_words(
    verdict: SuiteVerdict, claim: str, advice: str, outcome: Outcome
) -> None:
    """What the test says, what to do, and what it means for the check."""
    assert logprob_wording.describe_suite_test(suite_test_of(verdict)) == claim
    assert logprob_wording.advise_suite_test(verdict) == advice
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
def test_what_was_left_out_of_the_whole_is_named(verdict: SuiteVerdict, claim: str) -> None:
    """One cell that drifted by itself does not speak for the others."""
    test = suite_test_of(verdict, left_out=1)

    assert logprob_wording.describe_suite_test(test) == claim
    assert "over 12 cells, excluding 1 that drifted, typical" in logprob_wording.format_suite_test(
        test
    )


def test_evidence_of_agreement() -> None:
    """The p-value stands beside its level, and the shift beside the floor."""
    level = percent(error_rates.SUITE_SHARE * TOLERANCE.false_alarm_rate)

    assert logprob_wording.suite_test_lines(suite_test_of(), TOLERANCE) == (
        ("evidence", f"p = 0.41, by the coincidences, over 12 cells; significant at {level}"),
        ("shift", "0.0000 nats in the median cell, where 0.1000 would matter"),
        ("mean shift", "+0.0021 nats, within 0.0312 of 0 with 95 % confidence (TOST)"),
        ("equivalence", "two one-sided tests place the shift within the floor, at 5 %"),
        ("second look", "not needed"),
    )


@pytest.mark.parametrize(
    ("verdict", "sameness", "said"),
    [
        (
            SuiteVerdict.AGREES,
            Sameness.NOT_SHOWN,
            "no difference was found; equivalence was not shown",
        ),
        (SuiteVerdict.CHANGED, Sameness.NOT_SHOWN, "not shown"),
        (
            SuiteVerdict.CHANGED,
            Sameness.EQUIVALENT,
            "two one-sided tests place the shift within the floor, at 5 %",
        ),
        (SuiteVerdict.DRIFT, Sameness.NOT_SHOWN, "not shown"),
        (SuiteVerdict.DRIFT, Sameness.EQUIVALENT, None),
    ],
)
def test_sameness_of_the_whole(verdict: SuiteVerdict, sameness: Sameness, said: str | None) -> None:
    """Where a difference was found it is not denied, and cells that cancel out are not the same."""
    test = suite_test_of(verdict, sameness=sameness, second_look=True)
    lines = dict(logprob_wording.suite_test_lines(test, TOLERANCE))

    assert lines.get("equivalence") == said
    assert lines["second look"] == "taken, of every cell"


def test_what_was_not_tested_has_no_figures() -> None:
    """The p-value of no test is not shown."""
    test = suite_test_of(SuiteVerdict.NOT_TESTED)

    assert logprob_wording.suite_test_lines(test, TOLERANCE) == ()
    assert logprob_wording.format_suite_test(test) == (
        "the suite as a whole was not tested: no cell could be compared"
    )


def test_whole_in_one_line() -> None:
    """Verdict, evidence and effect are one line at a terminal."""
    assert logprob_wording.format_suite_test(suite_test_of()) == (
        "agrees, p = 0.41 over 12 cells, typical shift 0.0000 nats"
    )


def test_promise_is_shared() -> None:
    """The stated rate is told with its parts, which add up to it."""
    cells, whole, outliers, controls = (
        percent(share * 0.05)
        for share in (
            error_rates.CELLS_SHARE,
            error_rates.SUITE_SHARE,
            error_rates.OUTLIERS_SHARE,
            error_rates.CONTROLS_SHARE,
        )
    )

    assert logprob_wording.format_false_alarms(Tolerance(false_alarm_rate=0.05)) == (
        "at most 5 % for the suite as a whole "
        f"({cells} cells, {whole} suite test, {outliers} outliers, {controls} A/A controls); "
        "valid for noise between draws, not for noise that is constant within a session"
    )
