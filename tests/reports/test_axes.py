"""The table of axes, for a terminal and as a page."""

from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from repro_gate.core.axes import (
    UNCHANGED,
    AxesReport,
    CellEffect,
    Effect,
    Experiment,
    NotTried,
    cell_effect,
)
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.generation import Choice
from repro_gate.reports.axes import render_axes, render_axes_page
from tests.fakes.setting_engines import model_of
from tests.fakes.values import PROFILE, cell_of, generation_of, verification_of

CELL, BEFORE = cell_of(), generation_of(7, 8, 9, is_traced=True)
_MOVED = Choice(logprob=-0.75, best=BEFORE.trace[0].best)
SAME = cell_effect(CELL, BEFORE, BEFORE, ())
MOVED = cell_effect(CELL, BEFORE, replace(BEFORE, trace=(_MOVED, *BEFORE.trace[1:])), ())
CHANGED = cell_effect(CELL, BEFORE, generation_of(7, 5, 9, is_traced=True), verification_of(BEFORE))
UNKNOWN = cell_effect(CELL, replace(BEFORE, trace=()), replace(BEFORE, trace=()), ())


def effect_of(axis: str, value: str, *cells: CellEffect) -> Effect:
    """Return the effect of a change."""
    return Effect(experiment=Experiment(axis=axis, value=value, model=model_of()), cells=cells)


@pytest.fixture
def report() -> AxesReport:
    """Return a report with every impact."""
    return AxesReport(
        tool_version="0.1.0",
        started_at="2026-01-02T03:04:05+00:00",
        model=model_of(),
        engine=EngineReport(name="cpu", profile=PROFILE, facts={}),
        facts={
            "model.sha256": "ab" * 32,
            "engine.llama": "1|2",
            "device.name": "\x1b[31mTEST",
            "setting.threads": "1",
            "memory.host": "left out",
        },
        cells=(CELL,),
        tokens=3,
        all_cells=15,
        again=effect_of(UNCHANGED, "", SAME),
        findings=(
            effect_of("threads", "2", SAME, SAME),
            effect_of("kv_type", "f32", SAME, MOVED),
            effect_of("kv_type", "q4_0", CHANGED, SAME),
            effect_of("engine", "<b>other|`", UNKNOWN, SAME),
            NotTried(axis="n_batch", value="64", reason="no prompt has more than 7 tokens"),
            NotTried(axis="n_batch", value="512", reason="no prompt has more than 7 tokens"),
            NotTried(axis="device", value="", reason="device_unavailable: \x1b " + "long " * 30),
        ),
    )


def test_the_table(report: AxesReport, snapshot: SnapshotAssertion) -> None:
    """In lines of at most 100 columns, with untrusted texts escaped."""
    text = render_axes(report)

    assert max(map(len, text.splitlines())) <= 100
    assert text == snapshot


def test_the_page(report: AxesReport, snapshot: SnapshotAssertion) -> None:
    """Untrusted texts are code."""
    assert render_axes_page(report) == snapshot


def test_runs_that_differ_are_no_table(report: AxesReport) -> None:
    """The reason is shown instead."""
    again = effect_of(UNCHANGED, "", CHANGED)
    unstable = replace(report, again=again, findings=(), facts={})

    for text in (render_axes(unstable), render_axes_page(unstable)):
        assert "does not repeat itself in another process" in text
        assert "changed:" not in render_axes(unstable)
        assert "Not tried" not in text


def test_an_interrupted_table_shows_it(report: AxesReport) -> None:
    """As the rest is missing."""
    interrupted = replace(report, interrupted=True, again=None, findings=())

    assert render_axes(interrupted).endswith("Interrupted: the rest was not measured.\n")
    assert "Interrupted: the rest was not measured." in render_axes_page(interrupted)
