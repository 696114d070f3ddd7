"""The answers to a comment that asks to record goldens."""

import pytest

from repro_gate.core.acceptance.request import AcceptComment, Wanted
from repro_gate.core.comments import CiRun, RunId
from repro_gate.reports.github.acceptance import (
    MAX_ANSWER_BYTES,
    render_answer,
    render_recorded,
    render_refusal,
)

_COMMENT = AcceptComment(
    pull_request=7, login="maintainer", user_id=77, created_at="2025-01-02T03:04:05Z", body="x"
)
_RUN = CiRun(
    id=RunId(5, 2),
    repository="octo/gate",
    head_sha="c" * 40,
    head_owner="octo",
    head_branch="topic",
    server_url="https://github.com",
)
_MARKER = "<!-- repro-gate/accept/v1 run=5 attempt=2 -->"


def test_a_refusal_has_no_living_text() -> None:
    """It may quote a file of the pull request."""
    text = render_refusal("found `x`\n<img src=x> @octo", None)

    assert text == ("❌ **Nothing was recorded.**\n\n```text\nfound `x`\\n<img src=x> @octo\n```\n")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(), "Recorded 2 files, as"),
        (Wanted(cause="1a2b3c4d"), "Recorded 2 files for `--cause 1a2b3c4d`, as"),
        (Wanted(only="tiny--*"), "Recorded 2 files for `tiny--*`, as"),
    ],
)
def test_a_recording_names_what_was_wanted(wanted: Wanted, words: str) -> None:
    """All of it, a cause or a pattern."""
    assert render_recorded(wanted, _COMMENT, ["a", "b"], ["new"]).startswith(words)


def test_many_changes_fit_into_a_variable() -> None:
    """The answer is passed on between jobs."""
    lines = ["\N{BAR CHART}" * 300] * 1000

    text = render_recorded(Wanted(), _COMMENT, ["a"], lines)

    assert MAX_ANSWER_BYTES / 2 < len(text.encode()) < 1.1 * MAX_ANSWER_BYTES
    assert "more lines in the log of the job." in text


def test_a_push_that_starts_checks_needs_no_note() -> None:
    """With a token of a person or an app."""
    text = render_answer("Recorded.", run=_RUN, commit="c" * 40, starts_checks=True)

    assert text.split("\n\n")[:3] == [
        _MARKER,
        f"### ✅ Accepted as [`ccccccc`](https://github.com/octo/gate/commit/{'c' * 40})",
        "Recorded.",
    ]
    assert "No check" not in text


def test_a_crash_has_an_answer() -> None:
    """Nothing came from the other jobs, and the log has the reason."""
    text = render_answer("", run=_RUN, commit="", starts_checks=False)

    assert text.startswith(
        f"{_MARKER}\n\n❌ **Nothing was recorded**: a job of this workflow failed"
    )
    assert "[Run 5, attempt 2](" in text


def test_a_refusal_is_answered_as_it_is() -> None:
    """Without a commit."""
    text = render_answer("Refused.\n", run=_RUN, commit="", starts_checks=False)

    assert text.startswith(f"{_MARKER}\n\nRefused.\n\n<sub>")
