"""The job summary is the report, up to the limit of GitHub."""

from dataclasses import replace

from repro_gate.core.report import FinishedCheck
from repro_gate.reports.github.fit import utf8_bytes
from repro_gate.reports.github.job_summary import render_job_summary
from repro_gate.reports.markdown import render_markdown
from tests.reports.github.samples import ARTIFACT, INVALID, RUN, drifted


def test_the_summary_is_the_report() -> None:
    """If it fits, nothing is omitted."""
    report = drifted()

    assert render_job_summary(FinishedCheck(report=report), run=RUN, note=None) == render_markdown(
        report
    )


def test_the_page_is_linked_first() -> None:
    """One click opens the report."""
    run = replace(RUN, page_url=ARTIFACT)
    text = render_job_summary(FinishedCheck(report=drifted()), run=run, note=None)

    assert text.startswith(f"[Open the report]({ARTIFACT})\n\n# Reproducibility report\n")


def test_a_note_comes_first() -> None:
    """A problem with the comment is shown at the top, escaped."""
    report = drifted()
    text = render_job_summary(FinishedCheck(report=report), run=RUN, note="403: @you <b>")

    assert text == f"**Note**: `403: @you <b>`\n\n{render_markdown(report)}"


def test_a_long_note_is_cut() -> None:
    """It is untrusted text."""
    text = render_job_summary(INVALID, run=RUN, note="x" * 999)

    assert text.startswith(f"**Note**: `{'x' * 199}…`\n\n# ⛔ No verdict: a file is invalid, at ")


def test_a_large_report_is_cut_by_whole_findings() -> None:
    """The limit is in bytes, and the notice counts the rest."""
    text = render_job_summary(FinishedCheck(report=drifted()), run=RUN, note=None, limit=4_200)

    assert text.startswith("# ❌ Failed at [`8f3c2a9`](https://github.com/octo-org/")
    assert "\n\n**1 nondeterministic, 4 drift, " in text
    assert "**Omitted** to fit GitHub's size limit: 4 of 8 findings, " in text
    assert utf8_bytes(text) <= 4_200


def test_another_run_is_named() -> None:
    """The page belongs to the publishing run, not to the run that made the result."""
    run = replace(RUN, from_workflow_run=True, conclusion="failure")
    text = render_job_summary(FinishedCheck(report=drifted()), run=run, note=None)

    assert text.startswith("This is the result of another run, at [`8f3c2a9`](https://github.com/")
