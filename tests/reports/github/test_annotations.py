"""Annotations are commands to a runner, which reads every line of a log."""

from dataclasses import replace

import pytest

from repro_gate.core.report import CellReport, FinishedCheck, GateReport, UnfinishedCheck
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded
from repro_gate.reports.github.annotations import (
    Annotation,
    render_annotations,
    render_early_annotations,
)
from tests.fakes.logprob_reports import logprob_report_of, rich_logprobs_of
from tests.reports.conftest import cell_of, cell_report_of, drift_of, gate_report_of, generation_of


def nowhere(cell: CellReport) -> None:
    """Return no place for any cell."""


def lines_of(report: GateReport) -> list[str]:
    """Return the annotations of a report."""
    return render_annotations(FinishedCheck(report=report), line_of=nowhere).splitlines()


def unrecorded_of(number: int) -> GateReport:
    """Return a report of so many findings."""
    return gate_report_of(
        *(
            cell_report_of(Unrecorded(reason=f"reason {seed}"), cell_of(seed=seed))
            for seed in range(1, number + 1)
        )
    )


def test_a_drift_is_shown_at_its_golden() -> None:
    """The path and the line are escaped."""
    found = drift_of(generation_of("a"), generation_of("b"), cell_of())
    asked: list[CellReport] = []

    def line_of(cell: CellReport) -> tuple[str, int]:
        asked.append(cell)
        return "snap,shots/100%:x.json", 12

    (line,) = render_annotations(
        FinishedCheck(report=gate_report_of(found)), line_of=line_of
    ).splitlines()

    assert asked == [found]
    assert line.startswith(
        "::error file=snap%2Cshots/100%25%3Ax.json,line=12,"
        "title=drift%3A tiny-qwen2--autumn-leaves--seed42::10 identical runs, but they"
    )


def test_without_a_line_there_is_no_file() -> None:
    """The runner would show a wrong place."""
    assert lines_of(unrecorded_of(1))[0].startswith("::error title=unrecorded%3A tiny-qwen2--")


@pytest.mark.parametrize(
    ("count", "titles", "last"),
    [(9, 9, "title=unrecorded"), (10, 8, "title=And 2 more"), (50, 8, "title=And 42 more")],
)
def test_nine_errors_are_shown(count: int, titles: int, last: str) -> None:
    """If there are more, the last one counts them."""
    lines = lines_of(unrecorded_of(count))

    assert len(lines) == 9
    assert sum("title=unrecorded" in line for line in lines) == titles
    assert lines[-1].startswith(f"::error {last}")


@pytest.mark.parametrize("level", ["error", "warning", "notice"])
def test_early_annotations_leave_the_limit_of_the_runner(level: str) -> None:
    """Annotations at the start and those of the result fit together."""
    first = [Annotation(level=level, title=f"t{each}", message="m") for each in range(50)]
    result = FinishedCheck(report=unrecorded_of(50))
    early = render_early_annotations(first).splitlines()
    late = render_annotations(result, line_of=nowhere, first=first).splitlines()
    shown = [line for line in (*early, *late) if line.startswith(f"::{level} ")]

    assert len(shown) == 10
    assert [line.split("::")[1] for line in early if "more" not in line] == [
        f"{level} title=t{each}" for each in range(len(early) - 1)
    ]


def test_a_warning_at_the_start_is_shown() -> None:
    """It is not dropped for the limit."""
    assert render_early_annotations([Annotation(level="warning", title="t", message="m")]) == (
        "::warning title=t::m\n"
    )


def test_each_level_has_its_own_limit() -> None:
    """Many errors do not crowd out warnings and notices."""
    unknown = Inconclusive(reason="no device", remedy=None)
    note = logprob_report_of(rich_logprobs_of().cells[1])
    report = unrecorded_of(20)
    lost = cell_report_of(unknown, cell_of("lost"))
    lines = lines_of(replace(report, cells=(lost, *report.cells), logprobs=(note,)))

    assert [line.split(" ")[0] for line in lines] == [
        *["::error"] * 9,
        "::warning",
        *["::notice"] * 2,
    ]
    assert lines[-1] == (
        "::notice title=note%3A 1 cell::Outliers were redrawn; above 5 %25 of all draws they "
        "are a finding.%0Acell: base--moon%0Aoutlier: -156.5000 nats, 114.5000 from the center "
        "-42.0000, where up to 3.0000 is expected; redrawn%0A"
        'token: [3] 43 " Paris"  -0.5000 -> -114.5000 nats (-114.0000)'
    )


def test_a_message_fits() -> None:
    """The runner cuts at 4,096 characters, escapes included."""
    result = UnfinishedCheck(exit_code=3, message="%" * 5_000)
    (line,) = render_annotations(result, line_of=nowhere).splitlines()
    message = line.split("::", 2)[2]

    assert message == f"{'%25' * 1_299}…"
    assert len(message) <= 4_096


def test_a_message_is_no_command() -> None:
    """Neither form of a runner command survives in a line."""
    message = "a\r\n::set-output name=x::y\n##[error]z\x1b[31m"
    (line,) = render_annotations(
        UnfinishedCheck(exit_code=3, message=message), line_of=nowhere
    ).splitlines()

    assert line == (
        "::error title=The check could not run::"
        "a%0A::set-output name=x::y%0A#\\x23[error]z\\x1b[31m"
    )
