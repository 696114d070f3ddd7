"""A check as one page in HTML, complete without a network and without a script."""

from collections.abc import Iterator
from dataclasses import dataclass

from repro_gate.core.report import GateReport
from repro_gate.reports.html.check.causes import causes_of
from repro_gate.reports.html.check.cells import groups_of
from repro_gate.reports.html.check.filter import filter_of
from repro_gate.reports.html.check.findings import findings_of
from repro_gate.reports.html.check.summary import summary_of
from repro_gate.reports.html.page import render_page

_FOLDER = "html/check/templates"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its template has its name."""

    name: str
    """Also its id."""
    title: str
    view: object
    """The value for the template; the section is left out where it is empty."""
    is_filtered: bool = True
    """Whether it has cells that can be filtered."""

    @property
    def template(self) -> str:
        """The file of the template."""
        return f"{_FOLDER}/{self.name}.html.j2"


def render_html(report: GateReport) -> str:
    """Return the page of a check."""
    return render_page(
        f"{_FOLDER}/page.html.j2",
        script="check/script.js",
        styles=("style.css", "check/style.css"),
        summary=summary_of(report),
        filter=filter_of(report),
        sections=[section for section in _sections(report) if section.view],
    )


def _sections(report: GateReport) -> Iterator[Section]:
    """Yield the sections, in their order on the page."""
    findings = findings_of(report)
    yield Section("causes", "Causes", causes_of(report, findings), is_filtered=False)
    yield Section("findings", "Findings", findings)
    yield Section("cells", "Cells", groups_of(report, findings))
