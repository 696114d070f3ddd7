"""What a reader can meet, a verdict, a code, an error, is explained."""

import re
from dataclasses import replace
from io import StringIO
from typing import get_args

import pytest
from rich.console import Console

from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.logprobs.verdicts import LogprobVerdict
from repro_gate.core.outcome import ExitCode, Outcome, outcome_of_verdict
from repro_gate.core.report import CellReport, GateReport, Timing
from repro_gate.core.tokens.verdicts import (
    Inconclusive,
    Orphan,
    Verdict,
)
from repro_gate.protocol import Method, Refusal
from repro_gate.reports.findings.logprob_wording import describe_logprobs
from repro_gate.reports.findings.wording import describe, describe_orphan
from repro_gate.reports.terminal import render_terminal
from tests.docs.pages import first_column, page
from tests.fakes.logprob_reports import LOGPROB_VERDICTS, rich_logprobs_of
from tests.fakes.reports import every_verdict

_NO_REMEDY = Inconclusive(reason="x", remedy=None)
_EXAMPLES: tuple[CellReport, ...] = tuple(
    replace(cell, verdict=_NO_REMEDY) if isinstance(cell.verdict, Inconclusive) else cell
    for cell in every_verdict()
)
_LOGPROB_EXAMPLES = tuple(LOGPROB_VERDICTS.values())
_LOGPROB_OUTPUTS = [
    block
    for block in page("docs/how-to/read-a-failure.md").blocks("text")
    if "record-baseline" in block
    or block.startswith(("suite ", "note ", "outlier ", "invalid ", "weights "))
]
_HEADINGS = {"drift": "drift of log-probabilities"}
"""Two verdicts are called drift; they have different sections."""


def test_there_is_an_example_of_every_verdict() -> None:
    """The tests of this file know every verdict."""
    assert {type(cell.verdict) for cell in _EXAMPLES} == set(get_args(Verdict))
    assert {type(cell.verdict) for cell in _LOGPROB_EXAMPLES} == set(get_args(LogprobVerdict))


@pytest.mark.parametrize("cell", _EXAMPLES, ids=lambda cell: cell.verdict.word)
def test_every_verdict_has_a_section_with_its_advice(cell: CellReport) -> None:
    """The how-to has a section for each verdict, with an output and the advice of the reports."""
    sections = page("docs/how-to/read-a-failure.md").whole_sections()
    word = cell.verdict.word
    assert describe(cell).advice in sections[word].replace("\n", " ")
    outputs = page("docs/how-to/read-a-failure.md").blocks("text")
    assert any(re.search(rf"\b{word}\b", output) for output in outputs)


def test_orphans_have_a_section_with_their_advice() -> None:
    """An orphan is no verdict on a cell, and has a section all the same."""
    section = page("docs/how-to/read-a-failure.md").whole_sections()[Orphan.word]
    assert describe_orphan("golden").advice in section.replace("\n", " ")


@pytest.mark.parametrize("cell", _LOGPROB_EXAMPLES, ids=lambda cell: cell.verdict.word)
def test_every_verdict_on_log_probabilities_has_its_advice(cell: LogprobCellReport) -> None:
    """So it has for the verdicts on log-probabilities."""
    sections = page("docs/how-to/read-a-failure.md").whole_sections()
    section = sections[_HEADINGS.get(cell.verdict.word, cell.verdict.word)]
    assert describe_logprobs(cell).advice in section.replace("\n", " ")


@pytest.mark.parametrize("shown", _LOGPROB_OUTPUTS, ids=lambda shown: shown.splitlines()[0])
def test_output_about_log_probabilities_has_the_form_of_a_report(shown: str) -> None:
    """Every line that the page shows of a suite starts with a label that is printed."""
    printed = _labels(_printed(rich_logprobs_of()))
    assert _labels(shown)
    assert _labels(shown) <= printed


def test_every_verdict_has_its_code() -> None:
    """The table of verdicts has every verdict, no other, and the code that it leads to."""
    table = page("docs/reference/exit-codes.md").sections()["Verdicts"]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (\d+) \|$", table, re.MULTILINE)
    codes = {
        Outcome.PASSED: ExitCode.PASSED,
        Outcome.FAILED: ExitCode.FINDINGS,
        Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    }
    verdicts: list[Verdict | LogprobVerdict] = [cell.verdict for cell in _EXAMPLES]
    verdicts += [cell.verdict for cell in _LOGPROB_EXAMPLES]
    assert {word: int(code) for word, code in rows} == {
        **{verdict.word: codes[outcome_of_verdict(verdict)] for verdict in verdicts},
        Orphan.word: ExitCode.FINDINGS,
    }


def test_every_exit_code_is_in_the_table() -> None:
    """The table of exit codes has every code, and no other."""
    codes = page("docs/reference/exit-codes.md").text
    rows = re.findall(r"^\| (\d+) \|", codes, re.MULTILINE)
    assert [int(code) for code in rows] == sorted({1, *ExitCode})


def test_every_error_of_an_engine_is_explained() -> None:
    """The protocol's reference has each kind of refusal, and each method."""
    reference = page("docs/reference/engine-protocol.md")
    assert first_column(reference.sections()["Errors"]) == {"kind", *Refusal}
    assert {f"`{method}`" for method in Method} <= reference.sections().keys()


def test_there_are_outputs_about_log_probabilities() -> None:
    """The test of their form would agree with an empty list too."""
    assert {block.split(maxsplit=1)[0] for block in _LOGPROB_OUTPUTS} == {
        *("suite", "drift", "outlier", "invalid", "weights"),
    }


def _printed(part: LogprobReport) -> str:
    report = GateReport(
        tool_version="",
        started_at="",
        suites=(),
        cells=(),
        controls=(),
        engines=(),
        models={},
        timing=Timing(wall_s=0, load_s=0, engine_s=0, generated_tokens=0),
        interrupted=False,
        logprobs=(part,),
    )
    console = Console(file=StringIO(), force_terminal=False)
    with console.capture() as capture:
        render_terminal(report, console)
    return capture.get()


def _labels(output: str) -> set[str]:
    return set(re.findall(r"^  (\S[\w -]*?) {2,}\S", output, re.MULTILINE))
