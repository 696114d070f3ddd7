"""The issue of a watch: the state that `watch state` prints, and a link to the run.

Whatever a history holds, each text is within its limit, and no link in it works but our own.
"""

from typing import Final

from repro_gate.core.comments import CiRun, workflow_key
from repro_gate.core.watch.issues import IssueMarker, IssueText, needs_attention, watch_key
from repro_gate.core.watch.status import WatchStatus
from repro_gate.reports.github.comment import LIMIT
from repro_gate.reports.github.fit import Frame, Section, fit, utf16_units
from repro_gate.reports.github.links import run_label
from repro_gate.reports.text.markdown import Block
from repro_gate.reports.watch.words import headline_of, render_status_markdown

_STANDS: Final = (
    "This issue stays up to date, and is closed when nothing has to be done. An alarm ends with "
    "`repro-gate watch accept` or `repro-gate watch dismiss`."
)
_ENDS: Final = "Nothing has to be done, so this issue is closed."


def render_issue(status: WatchStatus, *, run: CiRun, limit: int = LIMIT) -> IssueText:
    """Return the issue of a watch.

    Args:
        status: the status of the watch.
        run: the run that found it.
        limit: in UTF-16 units, at least 2,500.
    """
    marker = IssueMarker(
        suite=status.suite,
        watch=watch_key(status.watch),
        state=status.state,
        run=run.id,
        workflow=workflow_key(run.workflow),
    )
    note = _STANDS if needs_attention(status.state) else _ENDS
    words = render_status_markdown(status)
    body = _fitted(words, [str(marker)], [note, "", f"<sub>{run_label(run)}</sub>"], limit)
    return IssueText(marker=marker, title=f"repro-gate {headline_of(status)}", body=body)


def _fitted(words: str, head: Block, foot: Block, limit: int) -> str:
    frame = Frame(
        head=[head],
        notice=lambda omitted: [f"**Omitted** to fit GitHub's size limit: {omitted}."],
        foot=foot,
    )
    section = Section(block=words.removesuffix("\n").split("\n"), name="the state, see the run")
    return fit(frame, [section], limit=limit, size=utf16_units)
