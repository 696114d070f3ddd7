"""Every format of the report folder, with every verdict and with untrusted text."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

from repro_gate.cli.wiring import REPORTS
from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.logprobs.verdicts import Agrees
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.verdicts import Match
from tests.reports.random_reports import foreign_texts

Render = Callable[[GateReport], str]
Build = Callable[..., GateReport]


@pytest.fixture(name="render", scope="session", params=REPORTS)
def _render(request: pytest.FixtureRequest) -> Render:
    """Return what renders a file of the report folder, for each of them in turn."""
    return REPORTS[request.param]


def test_a_cell_that_does_not_match_is_named(
    render: Render, any_cell: CellReport, gate_report: Build
) -> None:
    """With its verdict."""
    text = render(gate_report(any_cell))

    named = any_cell.id in text and any_cell.verdict.word in text
    assert named or isinstance(any_cell.verdict, Match)


def test_a_cell_that_does_not_agree_is_named(
    render: Render, any_logprob_cell: LogprobCellReport, logprob_suite_report: Build
) -> None:
    """With its verdict, like a cell of the token gate."""
    text = render(logprob_suite_report(any_logprob_cell))

    named = any_logprob_cell.id in text and any_logprob_cell.verdict.word in text
    assert named or isinstance(any_logprob_cell.verdict, Agrees)


def test_orphans_are_named(
    render: Render, rich_report: GateReport, rich_logprob_report: GateReport
) -> None:
    """Goldens and baselines that no cell uses."""
    report = replace(rich_report, logprobs=rich_logprob_report.logprobs)
    text = render(report)

    assert all(orphan.id in text for orphan in (*report.orphans, *report.logprobs[0].orphans))


@given(text=foreign_texts)
@settings(deadline=None, max_examples=40)
def test_no_format_has_a_character_that_cannot_be_printed(
    render: Render, text: str, hostile_report: Callable[[str], GateReport]
) -> None:
    """Control, bidirectional and invalid characters of untrusted text are escaped."""
    found = {char for char in render(hostile_report(text)) if escape_text(char) != char}

    assert found <= {"\n", "\\"}
