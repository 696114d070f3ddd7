"""The comment of a run: its marker, and when it is written."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.comments import (
    CiRun,
    CommentMode,
    CommentState,
    Keep,
    Marker,
    PostedComment,
    RunId,
    Update,
    Writer,
    action_for,
    job_key,
    marker_of,
    name_in_matrix,
    no_comment_reason,
    workflow_key,
)

OURS = Marker(
    name="repro-gate",
    workflow="gate.yml",
    run=RunId(7, 1),
    state=CommentState.FAILED,
    found=True,
    is_relayed=True,
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
def test_an_invalid_run_is_refused(run: int, attempt: int) -> None:
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
def test_an_invalid_marker_is_none(old: str, new: str) -> None:
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


def test_a_relayed_result_can_be_replaced_by_a_rerun() -> None:
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
        replace(OURS, is_relayed=False, state=CommentState(state)) for state in (better, worse)
    )
    over_low, over_high = (PostedComment(id=1, url="", marker=marker) for marker in (low, high))

    assert action_for(CommentMode.AUTO, posted=over_low, ours=high) == Update(over_low)
    kept = action_for(CommentMode.AUTO, posted=over_high, ours=low)
    assert kept == Keep(
        f"this run has already published its result, {worse}",
        remedy="give each gate in a workflow its own artifact-name",
    )


def test_a_marker_names_its_writer() -> None:
    """One of an earlier version names none."""
    ours = replace(OURS, writer=Writer(run=RunId(8, 2), job="0123456789ab"))

    assert marker_of(str(ours)) == ours
    assert marker_of(str(OURS)) == OURS
    assert marker_of(str(ours).replace("by=8.2.", "by=8.0.")) is None


@pytest.mark.parametrize(
    ("theirs", "state", "is_rival"),
    [
        (Writer(run=RunId(8, 2), job="b" * 12), CommentState.PASSED, True),
        (Writer(run=RunId(8, 2), job="b" * 12), CommentState.RUNNING, False),
        (Writer(run=RunId(8, 2), job="a" * 12), CommentState.PASSED, False),
        (Writer(run=RunId(8, 1), job="b" * 12), CommentState.PASSED, False),
        (None, CommentState.PASSED, False),
    ],
)
def test_the_result_of_another_job_of_the_attempt_is_a_rival(
    theirs: Writer | None, state: CommentState, *, is_rival: bool
) -> None:
    """An earlier attempt is replaced, and so is the notice that a check is running."""
    ours = replace(OURS, writer=Writer(run=RunId(8, 2), job="a" * 12))
    other = replace(OURS, writer=theirs, state=state)

    assert other.is_result_of_rival(ours) is is_rival
    assert not other.is_result_of_rival(OURS)


_MATRIX_VALUES = st.one_of(st.text(max_size=40), st.integers(), st.booleans(), st.none())
_LEGS = st.dictionaries(st.text(alphabet="abc", min_size=1), _MATRIX_VALUES, min_size=1, max_size=3)


@given(_LEGS, _LEGS)
def test_legs_of_a_matrix_have_names_of_their_own(
    one: dict[str, object], two: dict[str, object]
) -> None:
    """Each is a name that a marker can have, whatever the matrix holds."""
    names = [name_in_matrix("gate", leg) for leg in (one, two)]

    for name in names:
        assert Marker(name=name, run=RunId(1, 1), state=CommentState.PASSED).name == name
    if [str(value) for value in one.values()] != [str(value) for value in two.values()]:
        assert names[0] != names[1]


def test_plain_values_of_a_matrix_stand_in_the_name() -> None:
    """A reader of the pull request sees which leg it is; others have a digest too."""
    names = [
        name_in_matrix("gate", leg)
        for leg in (
            {},
            {"suite": "embedded"},
            {"suite": "a", "n": 2},
            {"v": "3.11"},
            {"s": "a" * 99},
        )
    ]

    assert names == [
        "repro-gate",
        "repro-gate-gate.embedded",
        "repro-gate-gate.a.2",
        "repro-gate-gate.3.11-92375050",
        f"repro-gate-gate.{'a' * 75}-f48bac50",
    ]


_OWN = CiRun(
    id=RunId(1, 1),
    repository="octo/gate",
    head_sha="",
    head_owner="octo",
    head_branch="topic",
    server_url="https://github.test",
)
_ONLY = "only a run of the event pull_request has one, and this is of"


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (replace(_OWN, event="pull_request", pull_request=7), None),
        (replace(_OWN, event="push"), f"{_ONLY} push"),
        (replace(_OWN, event="merge_group"), f"{_ONLY} merge_group"),
        (_OWN, f"{_ONLY} no event"),
        (
            replace(_OWN, event="pull_request"),
            "the pull_request event does not name its pull request",
        ),
        (replace(_OWN, from_workflow_run=True), None),
        (
            replace(_OWN, from_workflow_run=True, head_owner=""),
            "GitHub does not name the branch of the run; its fork may be deleted",
        ),
    ],
)
def test_only_runs_of_a_pull_request_can_have_a_comment(run: CiRun, reason: str | None) -> None:
    """The reason for any other run is its event."""
    assert no_comment_reason(run) == reason


def test_a_job_of_gitlab_has_pages_of_its_own() -> None:
    """And a note only in the pipeline of a merge request."""
    job = replace(
        _OWN,
        is_gitlab=True,
        server_url="https://gitlab.com",
        repository="a/b/c",
        id=RunId(5, 1),
        event="push",
        head_sha="c0ffee",
    )

    assert job.url == "https://gitlab.com/a/b/c/-/jobs/5"
    assert job.commit_url == f"https://gitlab.com/a/b/c/-/commit/{job.head_sha}"
    assert no_comment_reason(job) == "only a merge request pipeline has one, and this is of push"
    assert no_comment_reason(replace(job, pull_request=7)) is None


def test_comments_can_be_turned_off() -> None:
    """Also where there is one."""
    posted = PostedComment(id=1, url="", marker=OURS)

    assert action_for(CommentMode.NEVER, posted=posted, ours=OURS) == Keep(
        "comments are turned off"
    )


def test_the_key_of_a_job_depends_on_each_fact_of_it() -> None:
    """Facts are not joined, so that moving a character from one to another is another job."""
    keys = {job_key("ab", "c"), job_key("a", "bc"), job_key("abc"), job_key("ab", "c", "")}

    assert len(keys) == 4
    assert job_key("ab", "\udcff") == job_key("ab", "\udcff")
    assert all(replace(OURS, writer=Writer(run=OURS.run, job=key)) for key in keys)
