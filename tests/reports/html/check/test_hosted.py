"""The suites of log-probabilities on the page of a check."""

from collections.abc import Callable
from dataclasses import replace

from repro_gate.core.outcome import Outcome
from repro_gate.core.report import GateReport
from repro_gate.reports.html.check.hosted import Hosted, HostedRow, HostedSuite, hosted_of
from tests.fakes.logprob_reports import logprob_report_of, rich_logprobs_of, weight_report_of
from tests.fakes.page_reports import hosted_of as many_of

Build = Callable[..., GateReport]


def shown(report: GateReport, **findings: int) -> Hosted:
    """Return what the page shows, which is not nothing."""
    numbers = {name.replace("_", "-"): place for name, place in findings.items()}
    cells = [cell for part in report.logprobs for cell in part.cells if cell.id in numbers]
    found = hosted_of(report, {id(cell): numbers[cell.id] for cell in cells})
    assert found is not None
    return found


def rows_of(suite: HostedSuite) -> dict[str, HostedRow]:
    """Return the rows of a suite by item."""
    return {
        f"{policy.name}--{row.item}": row
        for policy in suite.policies
        for block in policy.blocks
        for row in block
    }


def test_a_check_of_tokens_has_no_suite(gate_report: Build) -> None:
    """The section is left out."""
    assert hosted_of(gate_report(), {}) is None


def test_every_cell_is_a_row_with_its_figures(rich_logprob_report: GateReport) -> None:
    """Those of the token where it decided."""
    (suite,) = shown(rich_logprob_report, base__plane=4).suites
    rows = rows_of(suite)

    assert len(rows) == 9
    plane, river, capital = rows["base--plane"], rows["base--river"], rows["base--capital"]
    assert (plane.word, plane.moved, plane.band, plane.p_value) == (
        *("drift", "-1.2500", "0.5000", "0.00021"),
    )
    assert (plane.finding, river.finding, river.of) == (4, None, "token 3")
    assert (capital.moved, capital.p_value, capital.is_changed) == ("0.0000", "", False)
    assert rows["base--moon"].is_changed


def test_what_was_not_measured_has_a_reason_and_no_figure(
    rich_logprob_report: GateReport,
) -> None:
    """Never a picture of nothing."""
    (suite,) = shown(rich_logprob_report).suites
    found = rows_of(suite)["clone--capital"]

    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.reason == "FIREWORKS_API_KEY is not set"
    assert (found.strip, found.moved, found.band) == (None, "", "")


def test_an_agreement_never_leads_to_a_finding(rich_logprob_report: GateReport) -> None:
    """Such as that of a control, which has the name of its cell."""
    (suite,) = shown(rich_logprob_report, base__capital=3).suites

    assert rows_of(suite)["base--capital"].finding is None


def test_weights_that_cannot_be_used_are_no_success(logprob_gate_report: Build) -> None:
    """Even where they are for information only."""
    part = logprob_report_of(
        weights=(weight_report_of("too few", is_control=False), weight_report_of())
    )
    (suite,) = shown(logprob_gate_report(part)).suites

    assert [outcome for outcome, _, _ in suite.usable] == [Outcome.INCONCLUSIVE, Outcome.PASSED]
    assert len(suite.weights) == 2


def test_the_error_rate_is_stated_once(rich_logprob_report: GateReport) -> None:
    """With what else holds for the suite as a whole."""
    (suite,) = shown(rich_logprob_report).suites

    assert [label for label, _ in suite.facts] == ["cells that agree", "false alarms", "cost"]
    assert suite.whole[:2] == (Outcome.FAILED, "drift")
    assert [outcome for outcome, *_ in suite.controls] == [Outcome.PASSED, Outcome.FAILED]


def test_a_second_look_later_is_stated(logprob_gate_report: Build) -> None:
    """And no agreement where nothing agrees."""
    usual = logprob_report_of()
    later = replace(usual, tolerance=replace(usual.tolerance, second_look_after_s=3600))

    (suite,) = shown(logprob_gate_report(later)).suites

    assert [label for label, _ in suite.facts] == ["false alarms", "second look", "cost"]


def test_policies_are_numbered_over_all_suites(logprob_gate_report: Build) -> None:
    """Their numbers are ids of the page."""
    found = shown(logprob_gate_report(rich_logprobs_of(), rich_logprobs_of()))

    numbers = [policy.number for suite in found.suites for policy in suite.policies]
    assert numbers == [1, 2, 3, 4]


def test_a_full_block_is_known(logprob_gate_report: Build) -> None:
    """Its height is that of the style."""
    (suite,) = shown(logprob_gate_report(many_of(230))).suites

    base = suite.policies[0]
    assert [base.is_full(block) for block in base.blocks] == [True, False]
