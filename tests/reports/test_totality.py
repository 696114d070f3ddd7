"""Every verdict is rendered by every report."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.logprobs.verdicts import Agrees, LogprobVerdict
from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.grade import FailingDrift, Grade
from repro_gate.core.tokens.verdicts import Drift, Match, Orphan, Verdict
from repro_gate.reports.findings.logprob_wording import LOGPROB_WORDS
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.summary import render_summary
from repro_gate.reports.findings.tokens import grade_findings, token_findings
from repro_gate.reports.findings.wording import WORDS
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from tests.fakes.reports import render_json
from tests.reports.conftest import GRADES
from tests.reports.random_reports import RandomReports, hostile_texts

Build = Callable[..., GateReport]


def grades_for(report: GateReport) -> st.SearchStrategy[tuple[Grade, ...]]:
    """Return grades of the drifts in a report, of any word and for any suite."""
    drifted = {
        (cell.suite, cell.cell.model) for cell in report.cells if isinstance(cell.verdict, Drift)
    }
    return st.tuples(
        *(
            st.builds(
                partial(replace, suite=suite, model=model),
                st.sampled_from(GRADES),
                fail_on=st.sampled_from(FailingDrift),
            )
            for suite, model in sorted(drifted)
            if suite
        )
    )


def test_the_sample_has_every_verdict(rich_report: GateReport) -> None:
    """The sample that these tests render covers every verdict."""
    assert {type(cell.verdict) for cell in rich_report.cells} == set(get_args(Verdict))


def test_every_verdict_has_a_word() -> None:
    """Reports count cells by the words of the verdicts."""
    assert {kind.word for kind in get_args(Verdict)} | {Orphan.word} == set(WORDS)


def test_json_has_every_verdict(any_cell: CellReport, gate_report: Build) -> None:
    """The JSON report names the verdict."""
    assert f'"verdict":{{"kind":"{any_cell.verdict.word}"' in render_json(gate_report(any_cell))


def test_markdown_has_every_verdict(any_cell: CellReport, gate_report: Build) -> None:
    """The Markdown report counts the verdict, and names the cell."""
    text = render_markdown(gate_report(any_cell))

    assert f"| {any_cell.verdict.word} | 1 |" in text
    assert any_cell.id in text or isinstance(any_cell.verdict, Match)


def test_junit_has_every_verdict(any_cell: CellReport, gate_report: Build) -> None:
    """The JUnit report has a case for the cell, with the verdict as type unless it passed."""
    text = render_junit(gate_report(any_cell))

    assert f'name="{any_cell.id}"' in text
    assert f'type="{any_cell.verdict.word}"' in text or isinstance(any_cell.verdict, Match)


def test_terminal_has_every_verdict(
    any_cell: CellReport, gate_report: Build, on_terminal: Callable[[GateReport], str]
) -> None:
    """The terminal report has a block for every cell that does not match."""
    text = on_terminal(gate_report(any_cell))

    block = f"{any_cell.verdict.word}  {any_cell.id}\n"
    assert text.startswith(block) or isinstance(any_cell.verdict, Match)


def test_summary_has_every_verdict(any_cell: CellReport, gate_report: Build) -> None:
    """The summary counts the verdict."""
    assert f": 1 {any_cell.verdict.word};" in render_summary(gate_report(any_cell))


def test_every_report_has_the_orphans(
    rich_report: GateReport,
    rich_logprob_report: GateReport,
    on_terminal: Callable[[GateReport], str],
) -> None:
    """Goldens and baselines that no cell uses are findings of each report."""
    report = replace(rich_report, logprobs=rich_logprob_report.logprobs)
    ids = [orphan.id for orphan in (*report.orphans, *report.logprobs[0].orphans)]

    for text in (render_json(report), render_junit(report), render_markdown(report)):
        assert all(each in text for each in ids)
    assert all(each in on_terminal(report) for each in ids)


@given(report=RandomReports(hostile_texts).reports, data=st.data())
@settings(deadline=None)
def test_whatever_fails_a_check_is_a_finding(report: GateReport, data: st.DataObject) -> None:
    """A check fails exactly if it has a finding that failed; a suite may let drifts pass."""
    report = replace(report, grades=data.draw(grades_for(report)))
    hosted = (found for part in report.logprobs for found in logprob_findings(part, report))
    found = (*grade_findings(report), *token_findings(report), *hosted)
    outcomes = {each.outcome for each in found}

    assert (Outcome.FAILED in outcomes) == (decide(report) is Outcome.FAILED)


def test_the_sample_has_every_verdict_on_log_probabilities(
    rich_logprob_report: GateReport,
) -> None:
    """The sample that these tests render covers every verdict."""
    (part,) = rich_logprob_report.logprobs

    assert {type(cell.verdict) for cell in part.cells} == set(get_args(LogprobVerdict))
    assert {kind.word for kind in get_args(LogprobVerdict)} | {Orphan.word} == set(LOGPROB_WORDS)


def test_json_has_every_verdict_on_log_probabilities(
    any_logprob_cell: LogprobCellReport, logprob_suite_report: Build
) -> None:
    """The JSON report names the verdict."""
    text = render_json(logprob_suite_report(any_logprob_cell))

    assert f'"verdict":{{"kind":"{any_logprob_cell.verdict.word}"' in text


def test_markdown_has_every_verdict_on_log_probabilities(
    any_logprob_cell: LogprobCellReport, logprob_suite_report: Build
) -> None:
    """The Markdown report lists the cell, with a section unless it agrees."""
    text = render_markdown(logprob_suite_report(any_logprob_cell))

    word = any_logprob_cell.verdict.word
    assert f"### {word}: `{any_logprob_cell.id}`" in text or word == Agrees.word
    assert f"| `{any_logprob_cell.id}` |" in text


def test_junit_has_every_verdict_on_log_probabilities(
    any_logprob_cell: LogprobCellReport, logprob_suite_report: Build
) -> None:
    """The JUnit report has a case for the cell, with the verdict as type unless it passed."""
    text = render_junit(logprob_suite_report(any_logprob_cell))

    word = any_logprob_cell.verdict.word
    assert f'name="{any_logprob_cell.id}"' in text
    assert f'type="{word}"' in text or word == Agrees.word


def test_terminal_has_every_verdict_on_log_probabilities(
    any_logprob_cell: LogprobCellReport,
    logprob_suite_report: Build,
    on_terminal: Callable[[GateReport], str],
) -> None:
    """The terminal report has a block for every cell that does not agree."""
    text = on_terminal(logprob_suite_report(any_logprob_cell))

    word = any_logprob_cell.verdict.word
    assert text.startswith(f"{word}  {any_logprob_cell.id}\n") or word == Agrees.word


def test_summary_has_every_verdict_on_log_probabilities(
    any_logprob_cell: LogprobCellReport, logprob_suite_report: Build
) -> None:
    """The summary counts the verdict."""
    text = render_summary(logprob_suite_report(any_logprob_cell))

    assert f": hosted: 1 {any_logprob_cell.verdict.word};" in text
