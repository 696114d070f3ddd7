"""A check as one page in HTML, complete without a network and without a script."""

from collections.abc import Iterator
from dataclasses import dataclass

from repro_gate.core.report import GateReport
from repro_gate.core.timeline import KeptHistory
from repro_gate.reports.html.charts import samples
from repro_gate.reports.html.check.causes import causes_of
from repro_gate.reports.html.check.cells import groups_of
from repro_gate.reports.html.check.circumstances import notes_of, provenance_of, timing_of
from repro_gate.reports.html.check.evidence import controls_of, grades_of, modes_of
from repro_gate.reports.html.check.filter import filter_of
from repro_gate.reports.html.check.findings import findings_of
from repro_gate.reports.html.check.history import history_of
from repro_gate.reports.html.check.hosted import hosted_of
from repro_gate.reports.html.check.summary import STYLES, summary_of
from repro_gate.reports.html.page import render_page
from repro_gate.reports.html.strip import strip_samples

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


def render_html(report: GateReport, *, history: KeptHistory | None = None) -> str:
    """Return the page of a check.

    Args:
        report: what was found.
        history: what is known of the cells that do not agree; None without a history.
    """
    return render_page(
        f"{_FOLDER}/page.html.j2",
        script="check/script.js",
        styles=("style.css", "check/style.css"),
        summary=summary_of(report),
        filter=filter_of(report),
        sections=[section for section in _sections(report, history) if section.view],
        samples={**samples(), **strip_samples()},
        styles_of=STYLES,
    )


def _sections(report: GateReport, history: KeptHistory | None) -> Iterator[Section]:
    """Yield the sections, in their order on the page."""
    findings = findings_of(report)
    yield Section("causes", "Causes", causes_of(report, findings), is_filtered=False)
    yield Section("findings", "Findings", findings)
    yield Section("grades", "Distance from harmless changes", grades_of(report))
    yield Section("hosted", "Log-probabilities", hosted_of(report, findings.of_cells()))
    yield Section("history", "History", history_of(history))
    yield Section("modes", "Modes", modes_of(report))
    yield Section("cells", "Cells", groups_of(report, findings))
    yield Section("controls", "Controls", controls_of(report))
    yield Section("notes", "Notes", notes_of(report))
    yield Section("timing", "Timing", timing_of(report))
    yield Section("provenance", "Provenance", provenance_of(report))
