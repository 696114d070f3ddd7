"""Whole sections are fitted into a limit, and omitted ones are named."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.comments import RunId
from repro_gate.core.report import FinishedCheck
from repro_gate.core.tokens.verdicts import Match, Unrecorded
from repro_gate.reports.github.comment import render_comment
from repro_gate.reports.github.fit import Frame, Section, fit, utf8_bytes, utf16_units
from tests.fakes.logprob_reports import rich_logprobs_of
from tests.reports.conftest import (
    GRADES,
    cell_of,
    cell_report_of,
    drift_of,
    gate_report_of,
    generation_of,
    rich_report_of,
)
from tests.reports.github.samples import MARKER, RUN

FRAME = Frame(head=[["head"]], notice=lambda words: [f"cut: {words}"], foot=["foot"])


def sections_of(*sizes: int) -> Sequence[Section]:
    """Return findings with so many characters."""
    return [Section(block=["x" * size]) for size in sizes]


def test_everything_is_shown_if_it_fits() -> None:
    """There is no notice."""
    assert fit(FRAME, sections_of(1, 2), limit=2_500, size=len) == "head\n\nx\n\nxx\n\nfoot\n"


def test_a_large_section_does_not_hide_smaller_ones() -> None:
    """Later sections that fit are shown."""
    text = fit(FRAME, sections_of(3, 3_000, 2), limit=2_500, size=len)

    assert text == "head\n\nxxx\n\nxx\n\ncut: 1 of 3 findings\n\nfoot\n"


def test_omitted_sections_are_named() -> None:
    """Findings are counted first; each name is listed once."""
    long = "x" * 3_000
    tables = [Section(name="models", block=[long])] * 2
    text = fit(FRAME, [*tables, Section(block=[long])], limit=2_500, size=len)

    assert text == "head\n\ncut: 1 of 1 finding, models\n\nfoot\n"


def test_a_cut_without_findings_does_not_count_them() -> None:
    """All findings are shown."""
    text = fit(
        FRAME, [*sections_of(1), Section(name="models", block=["x" * 3_000])], limit=2_500, size=len
    )

    assert text == "head\n\nx\n\ncut: models\n\nfoot\n"


@given(sizes=st.lists(st.integers(1, 900), max_size=9), limit=st.integers(2_500, 4_000))
def test_the_limit_is_kept_and_used(sizes: list[int], limit: int) -> None:
    """No omitted section would have fitted."""
    text = fit(FRAME, sections_of(*sizes), limit=limit, size=len)
    missing = len(sizes) - text.count("x\n")

    assert len(text) <= limit
    assert ("cut:" in text) == (missing > 0)
    assert not missing or len(text) + min(sizes) + 2 > limit or len(text) + 900 > limit


def test_too_small_a_limit_is_refused() -> None:
    """It is a programming error."""
    with pytest.raises(ValueError, match="the limit must be at least 2500, got 2499"):
        fit(FRAME, (), limit=2_499, size=len)


def test_sizes_are_those_of_github() -> None:
    """A character outside the Basic Multilingual Plane is two UTF-16 units and four bytes."""
    assert (utf16_units("a€😀"), utf8_bytes("a€😀")) == (4, 8)


def test_the_largest_frame_fits_into_the_smallest_limit() -> None:
    """Title, notice and footer fit with the longest names and addresses."""
    run = replace(
        RUN,
        id=RunId(10**19 - 1, 10**9 - 1),
        server_url=f"https://{'a' * 40}.example.com:65535/github",
        repository=f"{'o' * 39}/{'r' * 100}",
    )
    run = replace(run, page_url=f"{run.server_url}/{'a' * 150}")
    marker = replace(MARKER, name="n" * 100, run=run.id)
    report = replace(rich_report_of(), logprobs=(rich_logprobs_of(),) * 9, tool_version="v" * 99)
    body = render_comment(
        FinishedCheck(report=replace(report, interrupted=True)),
        marker=marker,
        run=run,
        artifact_url=f"{run.server_url}/{'a' * 150}",
        limit=2_500,
    )

    assert utf16_units(body) <= 2_500
    assert body.startswith(f"{marker}\n\n### ❌ Failed at ")
    assert "**Omitted** to fit GitHub's size limit: " in body
    assert body.endswith(f"comment `{'n' * 100}`</sub>\n")


@pytest.mark.parametrize("limit", [2_500, 5_000])
def test_findings_are_shown_whole_or_not_at_all(limit: int) -> None:
    """The notice counts the others."""
    report = gate_report_of(
        *(
            cell_report_of(Unrecorded(reason=f"reason {seed}"), cell_of(seed=seed))
            for seed in range(1, 401)
        )
    )
    body = render_comment(
        FinishedCheck(report=report), marker=MARKER, run=RUN, artifact_url=None, limit=limit
    )
    shown = body.count("❌ unrecorded: ")
    by_reason = sum(body.count(f"Reason: `reason {seed} (") for seed in range(1, 401))

    assert utf16_units(body) <= limit
    assert utf16_units(body) > limit - 600
    assert (shown, by_reason) == (shown, shown)
    assert f"size limit: {400 - shown} of 400 findings" in body


def test_the_grade_of_a_drift_survives_a_cut() -> None:
    """It decides what to do about the findings, so it comes before them."""
    cells = [
        drift_of(generation_of("a"), generation_of(f"x{seed}"), cell_of(seed=seed, model="smollm2"))
        for seed in range(1, 401)
    ]
    report = gate_report_of(*cells, grades=GRADES)
    text = render_comment(
        FinishedCheck(report=report), marker=MARKER, run=RUN, artifact_url=None, limit=3_000
    )

    assert "\n\n**400 drift (beyond rounding)**.\n\n#### " in text
    assert "#### ❌ beyond rounding: `smollm2 in suite embedded`\n" in text
    assert "**Omitted** to fit GitHub's size limit: 400 of 400 findings, " in text


def test_many_grades_are_listed() -> None:
    """The first five are shown in full."""
    grades = [replace(GRADES[0], model=f"m{number}") for number in range(8)]
    text = render_comment(
        FinishedCheck(report=gate_report_of(cell_report_of(Match()), grades=tuple(grades))),
        marker=MARKER,
        run=RUN,
        artifact_url=None,
    )

    assert text.count("#### ✅ consistent with rounding: ") == 5
    assert "<summary>3 more grades</summary>" in text
    assert "\nconsistent with rounding: m7 in suite embedded\n" in text
