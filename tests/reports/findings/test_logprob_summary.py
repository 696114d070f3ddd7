"""The sentences on a suite of log-probabilities as a whole."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.logprobs.policy import PolicyKind
from repro_gate.core.logprobs.report import Spending, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence
from repro_gate.core.outcome import Outcome, outcome_of_suite
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from repro_gate.reports.findings import logprob_summary, summary
from tests.fakes.logprob_reports import (
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    orphaned_baseline_of,
    policy_noise_of,
    rich_logprobs_of,
    suite_test_of,
    unmeasured_of,
)

Build = Callable[..., GateReport]
AGREES = Agrees(equivalence=Equivalence.IDENTICAL)
CHANGED = Agrees(equivalence=Equivalence.EQUIVALENT, changed=effect_of(shift=0.01))
NO_KEY = Inconclusive(reason="API_KEY is not set", remedy=None)


def test_passed_suite_in_one_line(logprob_suite_report: Build) -> None:
    """Neither tokens nor an engine are mentioned if none were used."""
    cells = [logprob_cell_report_of(AGREES, logprob_cell_of(item)) for item in ("a", "b")]

    assert summary.render_summary(logprob_suite_report(*cells)) == (
        "passed: hosted: 2 agree; wall 12.500 s"
    )


def test_tokens_and_log_probabilities_in_one_line(
    gate_report: Build, cell_report: Callable[..., CellReport]
) -> None:
    """Each gate has its counts, and the worse outcome decides."""
    report = gate_report(cell_report(Match()), logprobs=(rich_logprobs_of(),))

    assert summary.render_summary(report) == (
        "failed: 1 match; hosted: 2 agree, 2 drift, 1 outlier, 1 invalid, 2 unrecorded, "
        "1 inconclusive, 1 orphaned, drift of the suite as a whole, "
        "1 of 2 controls showed no difference, "
        "1 of 4 sets of weights cannot be used, 1 of 4 sets of weights undetermined; "
        "wall 12.500 s, engine 10.000 s"
    )


def test_local_draws_have_the_time_of_their_engine(logprob_suite_report: Build) -> None:
    """If an engine scored, its time is shown."""
    report = logprob_suite_report(logprob_cell_report_of(AGREES))
    timed = replace(report, timing=replace(report.timing, engine_s=2.0))

    assert summary.format_time(timed) == "wall 12.500 s, engine 2.000 s"


def test_suite_of_nothing_in_one_line(logprob_suite_report: Build) -> None:
    """The line shows that nothing was checked."""
    report = logprob_suite_report()

    assert summary.render_summary(report) == (
        "inconclusive: hosted: nothing was checked; wall 12.500 s"
    )
    assert logprob_summary.format_suite(report.logprobs[0]) == "0 cells: nothing was checked"


def test_outcome_of_a_pass(gate_report: Build, cell_report: Callable[..., CellReport]) -> None:
    """A pass rests on every cell of both gates."""
    cells = [logprob_cell_report_of(found, logprob_cell_of()) for found in (AGREES, CHANGED)]
    report = gate_report(cell_report(Match()), logprobs=(logprob_report_of(*cells),))

    assert summary.explain_outcome(report) == (
        "1 cell measured, and all match; "
        "hosted: 2 cells measured, and all agree, 1 with a change within the tolerance"
    )


def test_outcome_of_a_pass_without_tokens(logprob_suite_report: Build) -> None:
    """Token cells are not mentioned if none were checked."""
    assert summary.explain_outcome(logprob_suite_report(logprob_cell_report_of(AGREES))) == (
        "hosted: 1 cell measured, and all agree"
    )


def test_outcome_of_everything_wrong(rich_logprob_report: GateReport) -> None:
    """Every failure is listed."""
    assert summary.explain_outcome(rich_logprob_report) == (
        "hosted: 6 of 9 cells with a finding, 1 orphaned baseline, "
        "1 of 9 cells not measured, drift of the suite as a whole, "
        "1 of 2 controls showed no difference, "
        "1 of 4 sets of weights cannot be used, 1 of 4 sets of weights undetermined"
    )


def test_outcome_of_what_was_not_measured(logprob_suite_report: Build) -> None:
    """A check without draws never passes."""
    report = logprob_suite_report(unmeasured_of(NO_KEY, logprob_cell_of()))

    assert summary.explain_outcome(report) == (
        "hosted: 1 of 1 cell not measured; nothing was measured"
    )


def test_each_suite_has_its_own_outcome(logprob_gate_report: Build) -> None:
    """A drifted suite does not affect the outcomes of others."""
    fine = logprob_report_of(logprob_cell_report_of(AGREES), suite="fine")
    moved = replace(fine, suite="moved", suite_test=suite_test_of(SuiteVerdict.DRIFT))
    unknown = logprob_report_of(unmeasured_of(NO_KEY, logprob_cell_of()), suite="unknown")
    report = logprob_gate_report(fine, moved, unknown)

    assert [outcome_of_suite(part) for part in report.logprobs] == [
        Outcome.PASSED,
        Outcome.FAILED,
        Outcome.INCONCLUSIVE,
    ]


def test_orphaned_baselines_are_not_counted_as_cells() -> None:
    """Cells and orphans have separate counts."""
    assert logprob_summary.format_suite(rich_logprobs_of()) == (
        "9 cells: 2 agree, 2 drift, 1 outlier, 1 invalid, 2 unrecorded, 1 inconclusive; "
        "1 baseline orphaned"
    )


def test_missing_controls_are_reported() -> None:
    """A suite without controls does not look as if it had some."""
    assert logprob_summary.format_controls(logprob_report_of(controls=())) == (
        "no control was run, so nothing here shows that this check can fail"
    )


def test_controls_that_differ_are_counted() -> None:
    """Controls that passed are reported too."""
    assert logprob_summary.format_controls(logprob_report_of()) == "1 control, all differ"


def test_agreement_is_counted_by_its_strength() -> None:
    """Identical, equivalent, changed within the tolerance, and no difference found."""
    verdicts = [AGREES, Agrees(equivalence=Equivalence.EQUIVALENT), CHANGED, CHANGED]
    verdicts.append(Agrees(equivalence=Equivalence.NOT_SHOWN))
    cells = [logprob_cell_report_of(verdict) for verdict in verdicts]

    assert logprob_summary.format_agreeing(logprob_report_of(*cells)) == (
        "1 identical, 1 equivalent, 2 changed within the tolerance, "
        "1 with no difference found (equivalence was not shown)"
    )


def test_without_agreeing_cells_there_is_no_agreement_line() -> None:
    """Nothing can be claimed of no cell."""
    assert (
        logprob_summary.format_agreeing(logprob_report_of(unmeasured_of(NO_KEY, logprob_cell_of())))
        is None
    )


@pytest.mark.parametrize(
    ("outliers", "words"),
    [(0, "1 cell, 5 draws, 4 identical"), (2, "1 cell, 5 draws, 4 identical, 2 outliers")],
)
def test_policy_in_one_line(outliers: int, words: str) -> None:
    """Draws that repeat the calibration are counted."""
    assert logprob_summary.format_policy(policy_noise_of(outliers=outliers)) == words


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (PolicyKind.FIRST_TOKEN, "what only later tokens show is not seen"),
        (PolicyKind.GENERATED, "what follows the first fork of an answer is not seen"),
    ],
)
def test_a_policy_shows_what_its_kind_cannot_see(kind: PolicyKind, limit: str) -> None:
    """A pass claims no more than was compared."""
    words = logprob_summary.format_policy(policy_noise_of(kind=kind))

    assert words == f"1 cell, 5 draws, 4 identical; {limit}"


def test_agreement_of_each_policy() -> None:
    """Neither other policies nor orphaned baselines are counted."""
    part = logprob_report_of(
        logprob_cell_report_of(AGREES),
        unmeasured_of(NO_KEY, logprob_cell_of(policy="clone")),
        logprob_cell_report_of(AGREES, logprob_cell_of(policy="untold")),
        orphaned_baseline_of("base--gone"),
        policies=(policy_noise_of("clone"), policy_noise_of("base"), policy_noise_of("none")),
    )

    assert logprob_summary.agreements(part) == ("1 inconclusive", "all agree", "all agree")


def test_cost_of_a_local_check() -> None:
    """A check without a price or reused draws mentions neither."""
    spent = Spending(calls=1, saved=0, reused=0, tokens=1, usd=0.0)

    assert logprob_summary.format_cost(spent) == "1 call (0 saved by stopping early), 1 token"


def test_cost_of_a_hosted_check() -> None:
    """Calls, saved and reused draws, tokens and the price."""
    assert logprob_summary.format_cost(logprob_report_of().spending) == (
        "24 calls (36 saved by stopping early, 4 reused), 1200 tokens, 0.0011 USD"
    )
