"""Untrusted text never changes the shape of a report."""

import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from repro_gate.core.report import GateReport
from repro_gate.core.text import escape_text
from repro_gate.reports.findings.summary import render_summary
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from repro_gate.reports.terminal import render_terminal
from tests.fakes.reports import render_json
from tests.reports.random_reports import foreign_texts

Hostile = Callable[[str], GateReport]

MARKDOWN = MarkdownIt("commonmark").enable("table")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
hostile_text = foreign_texts.filter(bool)
"""Empty text is shown as `(empty)`, which has another shape."""


def shape_of(tokens: list[Token]) -> Iterator[tuple[Any, ...]]:
    """Yield everything of a Markdown document except the contents of code spans and fences."""
    for token in tokens:
        if token.type == "inline":
            yield from (
                (child.type, "code_inline" in child.type or child.content)
                for child in token.children or ()
            )
        elif token.type == "fence":
            yield token.type, token.info, token.content.count("\n")
        else:
            yield token.type, token.tag, token.info, token.content


def skeleton_of(element: ET.Element) -> tuple[Any, ...]:
    """Return the elements and attributes of an XML document without their text."""
    return element.tag, sorted(element.attrib), [skeleton_of(child) for child in element]


def printed(report: GateReport) -> str:
    """Return the text on a terminal, without our colours."""
    console = Console(file=StringIO(), force_terminal=True, color_system="standard", width=40)
    with console.capture() as capture:
        render_terminal(report, console)
    return STYLE.sub("", capture.get())


def unprintable(text: str) -> set[str]:
    """Return the control, bidirectional and invisible characters of a report."""
    return {char for char in text if escape_text(char) != char} - {"\n", "\\"}


@given(text=hostile_text)
@settings(deadline=None, max_examples=40)
def test_markdown_keeps_its_shape(text: str, hostile_report: Hostile) -> None:
    """Headings, tables, HTML and our words are the same for any untrusted text."""
    hostile, tame = render_markdown(hostile_report(text)), render_markdown(hostile_report("x"))

    assert list(shape_of(MARKDOWN.parse(hostile))) == list(shape_of(MARKDOWN.parse(tame)))


@given(text=hostile_text)
@settings(deadline=None, max_examples=40)
def test_markdown_source_has_no_comment(text: str, hostile_report: Hostile) -> None:
    """Model output cannot forge a marker."""
    assert "<!--" not in render_markdown(hostile_report(text))


@given(text=hostile_text)
@settings(deadline=None, max_examples=40)
def test_junit_keeps_its_shape(text: str, hostile_report: Hostile) -> None:
    """The document is well-formed, with the same elements for any untrusted text."""
    hostile, tame = (render_junit(hostile_report(each)) for each in (text, "x"))

    assert skeleton_of(ET.fromstring(hostile)) == skeleton_of(ET.fromstring(tame))  # noqa: S314


@given(text=hostile_text)
@settings(deadline=None, max_examples=40)
def test_terminal_keeps_its_lines(text: str, hostile_report: Hostile) -> None:
    """Each line starts with the same label for any untrusted text."""
    hostile, tame = (printed(hostile_report(each)).split("\n") for each in (text, "x"))

    assert [line[:8] for line in hostile if line[:2] == "  "] == [
        line[:8] for line in tame if line[:2] == "  "
    ]
    assert len(hostile) == len(tame)


@given(text=st.just("") | foreign_texts)
@settings(deadline=None, max_examples=20)
def test_no_report_can_move_a_cursor(text: str, hostile_report: Hostile) -> None:
    """No report holds a control, bidirectional or invisible character."""
    report = hostile_report(text)
    renderings = [
        *(render_json(report), render_markdown(report), render_junit(report)),
        *(printed(report), render_summary(report)),
    ]

    assert [unprintable(rendering) for rendering in renderings] == [set()] * 5
