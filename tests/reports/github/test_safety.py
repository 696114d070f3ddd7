"""Untrusted text of a model, an engine, a file or a fork is inert on GitHub."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import example, given, settings
from hypothesis import strategies as st

from repro_gate.core.comments import CiRun, CommentState, Marker, RunId, marker_of
from repro_gate.core.report import (
    CellReport,
    CheckResult,
    FinishedCheck,
    GateReport,
    UnfinishedCheck,
)
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.verdicts import Unrecorded
from repro_gate.reports.github.annotations import render_annotations
from repro_gate.reports.github.comment import render_comment, render_running
from repro_gate.reports.github.fit import utf8_bytes, utf16_units
from repro_gate.reports.github.job_summary import render_job_summary
from repro_gate.reports.github.sections import hosted_sections, token_sections
from repro_gate.reports.github.state import state_of
from tests.reports.conftest import cell_of, cell_report_of, gate_report_of
from tests.reports.github.rendering import html_of
from tests.reports.github.samples import ARTIFACT, MARKER, RUN
from tests.reports.random_reports import RandomReports, hostile_texts

UNTRUSTED = "\N{OHM SIGN}"
"""Occurs in untrusted text, and in none of our own."""
OURS = {
    *("h1", "h2", "h3", "h4", "p", "ul", "li", "pre", "code", "strong", "em", "sub", "a"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
}
texts = hostile_texts | (
    st.tuples(hostile_texts, st.booleans()).map(
        lambda pair: f"{UNTRUSTED}{pair[0]}" if pair[1] else f"{pair[0]}{UNTRUSTED}"
    )
)
reports = RandomReports(texts)
addresses = st.sampled_from(["https://github.com", "http://ghe.local:8080/x", ARTIFACT]) | texts
runs = st.builds(
    CiRun,
    id=st.builds(RunId, st.integers(0, 10**19 - 1), st.integers(1, 10**9 - 1)),
    repository=st.just("octo-org/serving") | texts,
    head_sha=st.just(RUN.head_sha) | texts,
    head_owner=texts,
    head_branch=texts,
    server_url=addresses,
    page_url=st.none() | addresses,
    from_workflow_run=st.booleans(),
    conclusion=st.none() | st.just("success") | texts,
)
markers = st.sampled_from([MARKER, replace(MARKER, found=False)])
results = st.none() | reports.results
limits = st.integers(2_500, 20_000) | st.just(65_000)


class Page(HTMLParser):
    """What a browser would make of a comment."""

    def __init__(self, markdown: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str, str | None]] = set()
        self.alive = ""
        """The text in which GitHub looks for mentions, references and addresses."""
        self.findings = 0
        self.comments: list[str] = []
        self._open: list[str] = []
        self.feed(html_of(markdown))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that begins."""
        self.tags.add(tag)
        self.attributes |= {(tag, name, value) for name, value in attrs}
        self._open.append(tag)
        self.findings += tag == "h4"

    def handle_endtag(self, tag: str) -> None:
        """Note an element that ends, which has to be the last one that began."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        if not {"code", "pre"} & set(self._open):
            self.alive += data
            self.findings += self._open[-1:] == ["summary"] and data[0] in "❌❔"

    def handle_comment(self, data: str) -> None:
        """Note a comment."""
        self.comments.append(data)

    def handle_decl(self, decl: str) -> None:
        """Refuse a declaration."""
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        """Refuse a processing instruction."""
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        """Refuse a marked section."""
        raise AssertionError(data)


def links_of(run: CiRun, artifact: str | None) -> set[str | None]:
    """Return the only addresses that a comment may link to."""
    commit = f"{run.server_url}/{run.repository}/commit/{run.head_sha}"
    return {run.url, commit, artifact, run.page_url} if run.server_url.startswith("http") else set()


def is_inert(page: Page, run: CiRun, artifact: str | None) -> bool:
    """Tell whether a page has only our elements, attributes and words; show any other."""
    links = {("a", "href", url) for url in links_of(run, artifact)}
    languages = {("pre", "lang", name) for name in ("diff", "json", "sh", "text")}
    assert page.tags <= OURS
    assert page.attributes <= links | languages
    assert not any(character in page.alive for character in "@#<>`~{}")
    assert UNTRUSTED not in page.alive
    return True


def unprintable(text: str) -> set[str]:
    """Return the control, bidirectional and invisible characters of a text."""
    return {char for char in text if escape_text(char) != char} - {"\n", "\\"}


@given(result=results, run=runs, before=markers, artifact=st.none() | addresses, limit=limits)
@settings(deadline=None, max_examples=60)
def test_a_comment_is_inert(
    result: CheckResult | None, run: CiRun, before: Marker, artifact: str | None, limit: int
) -> None:
    """It has only our elements and links, its own marker, and the right size."""
    state = state_of(result, run)
    marker = Marker(name="repro-gate", run=run.id, state=state).after(before)
    body = render_comment(result, marker=marker, run=run, artifact_url=artifact, limit=limit)
    page = Page(body)

    assert is_inert(page, run, artifact)
    assert unprintable(body) == set()
    assert (body.split("\n")[0], body.count("<!--")) == (str(marker), 1)
    assert (len(page.comments), marker_of(body)) == (1, marker)
    assert utf16_units(body) <= limit
    assert utf8_bytes(body) <= 262_144
    assert body.split("\n")[2].startswith("### ")


@given(report=reports.reports, limit=limits)
@settings(deadline=None, max_examples=60)
def test_findings_are_shown_or_counted(report: GateReport, limit: int) -> None:
    """Shown and omitted findings add up to all of them."""
    result = FinishedCheck(report=report)
    if state_of(result, RUN) not in {CommentState.FAILED, CommentState.INCONCLUSIVE}:
        return
    body = render_comment(result, marker=MARKER, run=RUN, artifact_url=None, limit=limit)
    total = len(token_sections(report)) + len(hosted_sections(report))
    page = Page(body)
    omitted = re.search(r"size limit: (\d+) of (\d+) findings?\b", page.alive)
    missing, of_all = (0, total) if omitted is None else (int(omitted[1]), int(omitted[2]))
    listed = sum(map(int, re.findall(r"(\d+) more findings?\b", page.alive)))

    assert (page.findings + listed + missing, of_all) == (total, total)


@given(text=texts)
@settings(deadline=None, max_examples=30)
def test_a_list_of_findings_is_inert(text: str) -> None:
    """The same holds for findings that are only listed."""
    cells = [
        cell_report_of(Unrecorded(reason=f"{each // 2}{text}"), cell_of(f"p{each}"))
        for each in range(60)
    ]
    result = FinishedCheck(report=gate_report_of(*cells))
    body = render_comment(result, marker=MARKER, run=RUN, artifact_url=None, limit=400_000)

    assert is_inert(Page(body), RUN, None)
    assert "<summary>10 more findings</summary>" in body


@given(run=runs)
@settings(deadline=None)
def test_a_running_comment_is_inert(run: CiRun) -> None:
    """The same holds while the check is running."""
    marker = Marker(name="repro-gate", run=run.id, state=CommentState.RUNNING)
    body = render_running(marker=marker, run=run)

    assert is_inert(Page(body), run, None)
    assert marker_of(body) == marker


@given(result=results, run=runs, note=st.none() | texts, limit=limits | st.just(1_000_000))
@settings(deadline=None, max_examples=60)
def test_a_job_summary_is_inert(
    result: CheckResult | None, run: CiRun, note: str | None, limit: int
) -> None:
    """The same holds for the job summary, which has no marker."""
    body = render_job_summary(result, run=run, note=note, limit=limit)

    assert is_inert(Page(body), run, None)
    assert unprintable(body) == set()
    assert "<!--" not in body
    assert utf8_bytes(body) <= limit


@given(result=results, place=st.none() | st.tuples(texts, st.integers(1, 99)))
@settings(deadline=None, max_examples=60)
def test_annotations_are_valid_commands(
    result: CheckResult | None, place: tuple[str, int] | None
) -> None:
    """Each line is one command, and no level exceeds the limit of the runner."""

    def line_of(cell: CellReport) -> tuple[str, int] | None:
        return place

    lines = render_annotations(result, line_of=line_of).split("\n")
    heads = [line.split("::", 2)[1] for line in lines[:-1]]
    levels = [head.split(" ")[0] for head in heads]

    assert lines[-1] == ""
    assert set(levels) <= {"error", "warning", "notice"}
    assert max((levels.count(level) for level in levels), default=0) <= 10
    assert all(len(line.split("::", 2)[2]) <= 4_096 for line in lines[:-1])
    assert unprintable("".join(lines)) == set()
    assert not any("##[" in line for line in lines)


@given(text=texts)
@example(text="```")
@example(text="````\n@you")
def test_a_message_never_leaves_its_fence(text: str) -> None:
    """A message of many lines is one block."""
    result = UnfinishedCheck(exit_code=3, message="\n".join([text] * 40), remedy=text)
    body = render_comment(result, marker=MARKER, run=RUN, artifact_url=ARTIFACT)

    assert is_inert(Page(body), RUN, ARTIFACT)
