"""The job summary: the whole report if it fits."""

from collections.abc import Iterator
from typing import Final

from repro_gate.core.comments import CiRun, CommentState
from repro_gate.core.report import CheckResult, FinishedCheck
from repro_gate.reports.github.body import headline_of
from repro_gate.reports.github.comment import omission_notice, sources
from repro_gate.reports.github.fit import Frame, fit, utf8_bytes
from repro_gate.reports.github.links import commit_link, page_blocks, run_label
from repro_gate.reports.github.state import state_of
from repro_gate.reports.markdown import render_markdown
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.markdown import Block, code, document

LIMIT: Final = 1_000_000
"""In bytes, of which GitHub takes 1,048,576; of a longer summary it shows nothing."""
_MAX_NOTE_LENGTH: Final = 200


def render_job_summary(
    result: CheckResult | None, *, run: CiRun, note: str | None, limit: int = LIMIT
) -> str:
    """Return the job summary for the result of a check.

    Args:
        result: what the check left behind; None when it left nothing.
        run: the run that made the result; not always the one that publishes it.
        note: what went wrong with the comment; untrusted text.
        limit: in bytes, at least 2,500.
    """
    noted = [*_notes(run, note), *page_blocks(run)]
    if isinstance(result, FinishedCheck) and state_of(result, run) is not CommentState.BROKEN:
        whole = document([*noted, [render_markdown(result.report).removesuffix("\n")]])
        if utf8_bytes(whole) <= limit:
            return whole
    headline = headline_of(result, run, was_found=False)
    foot = " · ".join(sources(result, run, None))
    frame = Frame(
        head=[*noted, [f"# {headline.title}"], headline.lead],
        notice=lambda omitted: omission_notice(omitted, run, None),
        foot=[f"<sub>{foot}</sub>"],
    )
    return fit(frame, headline.sections, limit=limit, size=utf8_bytes)


def _notes(run: CiRun, note: str | None) -> Iterator[Block]:
    if note is not None:
        yield [f"**Note**: {code(clipped(note, _MAX_NOTE_LENGTH))}"]
    if run.from_workflow_run:
        yield [f"This is the result of another run, at {commit_link(run)}: {run_label(run)}."]
