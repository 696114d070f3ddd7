"""The comment on a pull request: what a reviewer needs at first sight, and all else folded.

Whatever a report holds, the text is within its limit, and no link in it works but our own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from repro_gate.core.comments import CiRun, CommentState, Marker
from repro_gate.core.report import CheckResult, FinishedCheck
from repro_gate.reports.github.body import headline_of
from repro_gate.reports.github.fit import Frame, fit, utf16_units
from repro_gate.reports.github.links import artifact_link, commit_link, page_blocks, run_label
from repro_gate.reports.github.state import state_of
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.markdown import Block, code, document

LIMIT: Final = 65_000
"""In UTF-16 units, of which GitHub takes 65,536; each is at most 3 bytes of its 262,144."""
_MAX_VERSION_LENGTH: Final = 40


def render_running(*, marker: Marker, run: CiRun) -> str:
    """Return the comment to show while a check is running."""
    title = f"### ⏳ A check is running at {commit_link(run)}"
    note = "Earlier results no longer apply; the new result will appear here."
    marker = replace(marker, state=CommentState.RUNNING)
    return document([[str(marker)], [title], [note], _foot([run_label(run)], marker)])


def render_comment(
    result: CheckResult | None,
    *,
    marker: Marker,
    run: CiRun,
    artifact_url: str | None,
    limit: int = LIMIT,
) -> str:
    """Return the comment on the result of a run, with the marker as its first line.

    Args:
        result: what the check left behind; None when it left nothing.
        marker: its state becomes that of the result, see `state_of`.
        run: the run that made the result.
        artifact_url: where the files of the report are kept, if anywhere.
        limit: in UTF-16 units, at least 2,500.
    """
    marker = replace(marker, state=state_of(result, run))
    headline = headline_of(result, run, was_found=marker.found)
    frame = Frame(
        head=[[str(marker)], [f"### {headline.title}"], headline.lead, *page_blocks(run)],
        notice=lambda omitted: omission_notice(omitted, run, artifact_url),
        foot=_foot(sources(result, run, artifact_url), marker),
    )
    return fit(frame, headline.sections, limit=limit, size=utf16_units)


def omission_notice(omitted: str, run: CiRun, artifact_url: str | None) -> Block:
    """Return the notice of what was omitted, and where to find it."""
    full = "full report"
    full = f"{full} of the run" if artifact_url is None else artifact_link(artifact_url, run, full)
    return [f"**Omitted** to fit GitHub's size limit: {omitted}. See the {full}."]


def sources(result: CheckResult | None, run: CiRun, artifact_url: str | None) -> Iterator[str]:
    """Yield links to the run and the full report, and the version that made them."""
    yield run_label(run)
    if artifact_url is not None:
        yield artifact_link(artifact_url, run, "full report")
    if isinstance(result, FinishedCheck):
        yield f"repro-gate {code(clipped(result.report.tool_version, _MAX_VERSION_LENGTH))}"


def _foot(sources: Iterator[str] | Sequence[str], marker: Marker) -> Block:
    return [f"<sub>{' · '.join([*sources, f'comment {code(marker.name)}'])}</sub>"]
