"""Notes on the whole check, as every report shows them."""

import json
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from repro_gate.core.report import FinishedCheck, GateReport, Note, NoteOrigin
from repro_gate.core.tokens.verdicts import Match
from repro_gate.reports.findings.notes import check_notes
from repro_gate.reports.github.annotations import render_annotations
from repro_gate.reports.github.comment import render_comment
from repro_gate.reports.github.job_summary import render_job_summary
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from tests.fakes.reports import render_json
from tests.reports.conftest import cell_of as reported_cell_of
from tests.reports.conftest import cell_report_of, drift_of, gate_report_of, generation_of
from tests.reports.github.samples import MARKER, RUN

MESSAGE = "the prompt begins with two BOS tokens"
NOTES = tuple(
    Note(about=about, message=MESSAGE, origin=NoteOrigin.ENGINE) for about in ("t--haiku", "t--fox")
)
PASSED = gate_report_of(cell_report_of(Match()), notes=NOTES)
FAILED = gate_report_of(
    drift_of(generation_of("a b"), generation_of("a c"), reported_cell_of()), notes=NOTES
)


def test_notes_with_one_message_are_one_block() -> None:
    """A message is shown once, with all names."""
    (note,) = check_notes(PASSED)

    assert note.subject == "t--haiku and 1 more"
    assert note.claim == "the engine reported something that does not change the outcome"
    assert note.lines == (("about", "t--haiku"), ("about", "t--fox"), ("message", MESSAGE))


@pytest.mark.parametrize("report", [PASSED, FAILED], ids=["passed", "failed"])
def test_every_report_shows_a_message_once(
    report: GateReport, on_terminal: Callable[[GateReport], str]
) -> None:
    """Terminal, Markdown, comment, job summary, annotations and JUnit show it once."""
    evidence = FinishedCheck(report=report)
    texts = (
        on_terminal(report),
        render_markdown(report),
        render_comment(evidence, marker=MARKER, run=RUN, artifact_url=None),
        render_job_summary(evidence, run=RUN, note=None),
        render_annotations(evidence, line_of=lambda _: None),
        render_junit(report),
    )

    assert [text.count(MESSAGE) for text in texts] == [1] * len(texts)


def test_the_report_for_programs_has_each_note() -> None:
    """Each note keeps its name, message and origin."""
    assert json.loads(render_json(PASSED))["result"]["report"]["notes"] == [
        {"about": "t--haiku", "message": MESSAGE, "origin": "engine"},
        {"about": "t--fox", "message": MESSAGE, "origin": "engine"},
    ]


def test_junit_keeps_notes_out_of_the_test_cases() -> None:
    """Notes are output of the first suite."""
    suite = ET.fromstring(render_junit(PASSED))[0]  # noqa: S314 -- our own

    assert [child.tag for child in suite] == ["properties", "testcase", "system-out"]
