"""The comment of a run: its marker, and when it is written."""

import itertools
from dataclasses import replace

import pytest

from repro_gate.core.ci import RunId
from repro_gate.core.comments import (
    CommentMode,
    CommentState,
    Keep,
    Marker,
    PostedComment,
    Update,
    action_for,
    marker_of,
    workflow_key,
)

OURS = Marker(
    name="repro-gate",
    workflow="gate.yml",
    run=RunId(7, 1),
    state=CommentState.FAILED,
    found=True,
    is_retold=True,
)


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


@pytest.mark.parametrize("file", ["", "gate.yml", "a-b_c.yaml"])
def test_a_plain_file_of_a_workflow_stands_in_the_marker(file: str) -> None:
    """A reader of the source of a comment sees which workflow it is of."""
    assert workflow_key(file) == file


@pytest.mark.parametrize("file", ["two words.yml", "--> <b>.yml", "ü.yml", "\ud800", "a" * 101])
def test_any_other_file_stands_there_as_its_digest(file: str) -> None:
    """The marker is an HTML comment of ASCII, and two files stay two."""
    key = workflow_key(file)
    marker = replace(OURS, workflow=key)

    assert marker_of(str(marker)) == marker
    assert key != workflow_key(f"{file}x")


def test_what_was_retold_can_be_told_better() -> None:
    """The second half of a fork's run is made again once its artifact can be read."""
    unread = replace(OURS, state=CommentState.BROKEN)
    read = replace(OURS, state=CommentState.PASSED)
    posted = PostedComment(id=1, url="", marker=unread)

    assert action_for(CommentMode.AUTO, posted=posted, ours=read) == Update(posted)


_BEST_TO_WORST = ["running", "passed", "inconclusive", "broken", "failed"]


@pytest.mark.parametrize(("better", "worse"), list(itertools.pairwise(_BEST_TO_WORST)))
def test_the_worse_of_two_results_of_one_attempt_stands(better: str, worse: str) -> None:
    """Whichever of two jobs with one name comes first."""
    low, high = (
        replace(OURS, is_retold=False, state=CommentState(state)) for state in (better, worse)
    )
    over_low, over_high = (PostedComment(id=1, url="", marker=marker) for marker in (low, high))

    assert action_for(CommentMode.AUTO, posted=over_low, ours=high) == Update(over_low)
    kept = action_for(CommentMode.AUTO, posted=over_high, ours=low)
    assert kept == Keep(
        f"another job of this run has told its result, {worse}",
        remedy="give each gate of a workflow an artifact-name of its own",
    )


def test_comments_can_be_turned_off() -> None:
    """Also where there is one."""
    posted = PostedComment(id=1, url="", marker=OURS)

    assert action_for(CommentMode.NEVER, posted=posted, ours=OURS) == Keep(
        "comments are turned off"
    )
