"""The comment of a run: its marker, and when it is written."""

import pytest

from repro_gate.core.ci import RunId
from repro_gate.core.comments import (
    CommentMode,
    CommentState,
    Keep,
    Marker,
    PostedComment,
    action_for,
    marker_of,
)

OURS = Marker(name="repro-gate", run=RunId(7, 1), state=CommentState.FAILED, found=True)


def test_a_marker_is_read_as_it_was_written() -> None:
    """Whatever follows it is text."""
    assert marker_of(f"{OURS}\nanything") == OURS


@pytest.mark.parametrize("name", ["", "-x", "two words", "a" * 101, "x--> <b>"])
def test_a_name_that_would_break_the_marker_is_refused(name: str) -> None:
    """It stands in an HTML comment."""
    with pytest.raises(ValueError, match="a name has 1 to 100 letters"):
        Marker(name=name, run=RunId(7, 1), state=CommentState.PASSED)


@pytest.mark.parametrize(("run", "attempt"), [(-1, 1), (1, 0)])
def test_a_run_that_cannot_be_is_refused(run: int, attempt: int) -> None:
    """Runs are counted from 0 and attempts from 1."""
    with pytest.raises(ValueError, match="an attempt from 1"):
        RunId(run, attempt)


@pytest.mark.parametrize(
    "body", ["", "text", f" {OURS}", f"text\n{OURS}", str(OURS).replace("failed", "great")]
)
def test_what_is_no_marker_of_ours_is_none(body: str) -> None:
    """It counts in the first line alone, and as a whole."""
    assert marker_of(body) is None


@pytest.mark.parametrize(("old", "new"), [("attempt=1", "attempt=0"), ("name=r", "name=-r")])
def test_a_marker_that_cannot_be_is_none(old: str, new: str) -> None:
    """Somebody else has written it."""
    assert marker_of(str(OURS).replace(old, new)) is None


def test_comments_can_be_turned_off() -> None:
    """Also where there is one."""
    posted = PostedComment(id=1, url="", marker=OURS)

    assert action_for(CommentMode.NEVER, posted=posted, ours=OURS) == Keep(
        "comments are turned off"
    )
