"""The work of a report grows linearly with its cells."""

import sys
from collections.abc import Callable
from io import StringIO
from types import FrameType
from typing import Any

import pytest
from rich.console import Console

from repro_gate.core.report import FinishedCheck, GateReport
from repro_gate.core.tokens.verdicts import Unrecorded
from repro_gate.reports.github.annotations import render_annotations
from repro_gate.reports.github.comment import render_comment
from repro_gate.reports.github.job_summary import render_job_summary
from repro_gate.reports.html.check.page import render_html
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown
from repro_gate.reports.terminal import render_terminal
from tests.fakes.logprob_reports import (
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    policy_noise_of,
)
from tests.fakes.reports import render_json
from tests.reports.conftest import (
    cell_of,
    cell_report_of,
    drift_of,
    gate_report_of,
    generation_of,
    orphan_of,
)
from tests.reports.github.samples import MARKER, RUN

FEW = 100

RENDERERS: dict[str, Callable[[GateReport], object]] = {
    "comment": lambda report: render_comment(
        FinishedCheck(report=report), marker=MARKER, run=RUN, artifact_url=None
    ),
    "summary": lambda report: render_job_summary(FinishedCheck(report=report), run=RUN, note=None),
    "cut summary": lambda report: render_job_summary(
        FinishedCheck(report=report), run=RUN, note=None, limit=9_000
    ),
    "annotations": lambda report: render_annotations(
        FinishedCheck(report=report), line_of=lambda _: None
    ),
    "markdown": render_markdown,
    "html": render_html,
    "junit": render_junit,
    "json": render_json,
    "terminal": lambda report: render_terminal(report, Console(file=StringIO())),
}


def unrecorded_of(count: int) -> GateReport:
    """Return cells that have nothing in common, each of a model, suite and class of its own."""
    return gate_report_of(
        *(
            cell_report_of(
                Unrecorded(reason=f"r{each}"),
                cell_of(model=f"m{each}"),
                suite=f"s{each}",
                profile=f"p{each}",
            )
            for each in range(count)
        )
    )


def drifts_of(count: int) -> GateReport:
    """Return a report of drifts that differ from each other, each with its changed facts."""
    golden = generation_of("a b")
    return gate_report_of(
        *(
            drift_of(golden, generation_of(f"a x{seed}"), cell_of(seed=seed))
            for seed in range(1, count + 1)
        ),
        *(orphan_of(f"gone-{each}") for each in range(count)),
    )


def pairs_of(count: int) -> GateReport:
    """Return findings of two cells each, whose ids start alike."""
    cells = [
        cell_report_of(Unrecorded(reason=f"r{seed % (count // 2)}"), cell_of(seed=seed))
        for seed in range(1, count + 1)
    ]
    return gate_report_of(*cells)


def hosted_of(count: int) -> GateReport:
    """Return hosted cells that have nothing in common."""
    cells = [
        logprob_cell_report_of(
            Unrecorded(reason=f"r{each}"), logprob_cell_of("i", policy=f"p{each}")
        )
        for each in range(count)
    ]
    policies = tuple(policy_noise_of(f"p{each}") for each in range(count))
    return gate_report_of(logprobs=(logprob_report_of(*cells, policies=policies),))


def suites_of(count: int) -> GateReport:
    """Return suites of one cell each."""
    cell = logprob_cell_report_of(Unrecorded(reason="r"), logprob_cell_of("i"))
    return gate_report_of(
        logprobs=tuple(logprob_report_of(cell, suite=f"s{each}") for each in range(count))
    )


REPORTS = [unrecorded_of, drifts_of, pairs_of, hosted_of, suites_of]


def calls_of(work: Callable[[GateReport], object], report: GateReport) -> int:
    """Return the number of function calls that some work takes."""
    calls = 0

    def count(_frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work(report)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("report_of", REPORTS)
@pytest.mark.parametrize("name", RENDERERS)
def test_twice_the_cells_are_twice_the_work(
    name: str, report_of: Callable[[int], GateReport]
) -> None:
    """No report takes quadratic time, however many findings it has."""
    render = RENDERERS[name]
    few, many = (calls_of(render, report_of(count)) for count in (FEW, 2 * FEW))

    assert many < 2.4 * few
