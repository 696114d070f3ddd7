"""The answers to a comment that asks to record goldens."""

from collections.abc import Sequence
from typing import Final

from repro_gate.core.acceptance.request import AcceptComment, Wanted
from repro_gate.core.comments import CiRun
from repro_gate.reports.github.links import commit_link, run_label
from repro_gate.reports.text.escape import message
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, code, document, fence, folded

MAX_ANSWER_BYTES: Final = 30_000
"""A variable of Linux has at most 131,072 bytes, and a comment 65,536 characters."""
_NO_CHECK: Final = (
    "**No check has started for this commit**: GitHub starts none for a push with the token of a "
    "job. Close and reopen the pull request, or push another commit."
)
_LOG: Final = (
    "❌ **Nothing was recorded**: a job of this workflow failed or was cancelled; see its log."
)


def render_refusal(reason: str, remedy: str | None) -> str:
    """Return the answer to a comment for which nothing is recorded."""
    remedies = [] if remedy is None else [f"try: {message(remedy)}"]
    return document([["❌ **Nothing was recorded.**"], fence([message(reason), *remedies], "text")])


def render_recorded(
    wanted: Wanted, comment: AcceptComment, files: Sequence[str], lines: Sequence[str]
) -> str:
    """Return the answer for goldens that are recorded, up to the commit.

    Args:
        wanted: what the comment asks for.
        comment: the comment.
        files: the recorded files.
        lines: the changes as `update-snapshots` prints them.
    """
    chosen = {
        "cause": None if wanted.cause is None else f"--cause {wanted.cause}",
        "pattern": wanted.only,
    }
    what = [f" for {code(each)}" for each in chosen.values() if each is not None]
    head = f"Recorded {plural(len(files), 'file')}{''.join(what)}, as {code(comment.login)} asked."
    return document([[head], _changes(lines)])


def render_answer(text: str, *, run: CiRun, commit: str, starts_checks: bool) -> str:
    """Return the whole answer, whose first line no other run writes.

    Args:
        text: of `render_refusal` or `render_recorded`; empty after a crash.
        run: answers; its head is the commit.
        commit: what was pushed; empty if nothing was.
        starts_checks: whether GitHub runs workflows for the push.
    """
    marker = f"<!-- repro-gate/accept/v1 run={run.id.run} attempt={run.id.attempt} -->"
    foot = [f"<sub>{run_label(run)}</sub>"]
    if not commit:
        return document([[marker], [text.strip() or _LOG], foot])
    title = f"### ✅ Accepted as {commit_link(run)}"
    note = [] if starts_checks else [_NO_CHECK]
    return document([[marker], [title], [text.strip()], note, foot])


def _changes(lines: Sequence[str]) -> Block:
    """Return as many lines as an answer can hold."""
    shown: list[str] = []
    left = MAX_ANSWER_BYTES
    for line in map(message, lines):
        left -= len(line.encode()) + 1
        if left < 0:
            break
        shown.append(line)
    more = len(lines) - len(shown)
    rest = [[f"and {plural(more, 'more line')} in the log of the job."]] if more else []
    return folded("Changes", [fence(shown, "text"), *rest])
