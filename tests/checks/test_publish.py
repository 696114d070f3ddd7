"""One comment on each pull request with the latest result, also under races."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from repro_gate.checks.publish import (
    CommentAttempt,
    Message,
    MessageLevel,
    NotPosted,
    Posted,
    Publication,
    publish_comment,
    try_publish_comment,
)
from repro_gate.core.comments import CiRun, CommentMode, CommentState, Marker, RunId, Writer
from repro_gate.errors import CommentGone, PublishFailed
from tests.fakes.pull_requests import MemoryPullRequests, Turn, interleavings, take_turns

RUN = CiRun(
    id=RunId(100, 1),
    repository="octo/gate",
    head_sha="c0ffee",
    head_owner="octo",
    head_branch="topic",
    server_url="https://github.test",
    pull_request=7,
)


def marker(
    state: CommentState = CommentState.FAILED,
    *,
    run: int = 100,
    attempt: int = 1,
    found: bool | None = None,
    name: str = "repro-gate",
    workflow: str = "gate.yml",
    job: str | None = None,
) -> Marker:
    """Return the marker of a run, which has findings when it failed."""
    has_found = state is CommentState.FAILED if found is None else found
    id = RunId(run, attempt)
    writer = None if job is None else Writer(run=id, job=job * 12)
    return Marker(name=name, workflow=workflow, run=id, state=state, found=has_found, writer=writer)


def body(of: Marker) -> str:
    """Return a comment that names its run."""
    return f"{of}\nrun {of.run.run} {of.state.value}"


def publish(
    pulls: MemoryPullRequests,
    ours: Marker,
    *,
    mode: CommentMode = CommentMode.AUTO,
    run: CiRun = RUN,
) -> tuple[Publication, ...]:
    """Publish a result on all pull requests."""
    return publish_comment(pulls, run=run, mode=mode, ours=ours, body_of=body)


def markers(pulls: MemoryPullRequests, pull: int = 7) -> list[Marker]:
    """Return the markers of the comments that are there."""
    return [comment.marker for comment in pulls.posted[pull]]


def test_a_finding_gets_a_new_comment() -> None:
    """It is posted, and read again once."""
    pulls = MemoryPullRequests(7)

    outcomes = publish(pulls, marker())

    assert outcomes == (Posted(pull_request=7, url="https://github.test/1"),)
    assert pulls.bodies == {1: body(marker())}
    assert pulls.asks == ["comments 7", "create 7", "comments 7"]


def test_a_later_result_replaces_an_earlier_one() -> None:
    """The comment is the same one, and remembers earlier findings."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(run=99))

    outcomes = publish(pulls, marker(CommentState.PASSED))

    assert outcomes == (Posted(pull_request=7, url="https://github.test/1"),)
    assert markers(pulls) == [marker(CommentState.PASSED, found=True)]
    assert pulls.bodies == {1: body(marker(CommentState.PASSED, found=True))}


def test_an_earlier_run_does_not_overwrite_a_later_one() -> None:
    """Neither an earlier run nor an earlier attempt of the same run writes."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(CommentState.PASSED, attempt=2), mode=CommentMode.ALWAYS)

    outcomes = publish(pulls, marker(attempt=1)) + publish(pulls, marker(run=99, attempt=9))

    reason = "a later run has already published its result"
    assert outcomes == (NotPosted(reason=reason, pull_request=7),) * 2
    assert markers(pulls) == [marker(CommentState.PASSED, attempt=2)]


def test_a_pass_gets_no_new_comment() -> None:
    """With mode `auto` the first comment is about a problem."""
    pulls = MemoryPullRequests(7)

    outcomes = publish(pulls, marker(CommentState.PASSED))

    assert outcomes == (
        NotPosted(
            reason="everything passed, and there is no earlier comment to update", pull_request=7
        ),
    )
    assert pulls.bodies == {}


def test_a_started_check_marks_an_existing_comment() -> None:
    """It marks the comment as outdated, and creates none."""
    empty, outcomes = MemoryPullRequests(7), MemoryPullRequests(7)
    publish(outcomes, marker(run=99))

    publish(empty, marker(CommentState.RUNNING))
    publish(outcomes, marker(CommentState.RUNNING))

    assert empty.bodies == {}
    assert markers(outcomes) == [marker(CommentState.RUNNING, found=True)]


def attempt(
    pulls: MemoryPullRequests,
    ours: Marker,
    *,
    mode: CommentMode = CommentMode.AUTO,
    run: CiRun = RUN,
) -> CommentAttempt:
    """Publish a result as the command does."""
    return try_publish_comment(lambda: pulls, run=run, mode=mode, ours=ours, body_of=body)


def test_nothing_is_requested_when_comments_are_turned_off() -> None:
    """With mode `never` there is no request, no comment and no message."""
    pulls = MemoryPullRequests(7)

    done = attempt(pulls, marker(), mode=CommentMode.NEVER)

    assert (done, done.url, pulls.asks) == (CommentAttempt(), None, [])


def test_an_attempt_knows_the_address_of_its_comment() -> None:
    """The first comment that was posted is the one to link to."""
    done = attempt(MemoryPullRequests(7), marker())

    assert (done.url, done.messages) == ("https://github.test/1", ())


def test_a_run_that_cannot_have_a_comment_logs_the_reason() -> None:
    """A nightly run has no pull request, and the API is not opened."""
    pulls = MemoryPullRequests(7)

    done = attempt(pulls, marker(), run=replace(RUN, event="schedule", pull_request=None))

    reason = "only a run of the event pull_request has one, and this is of schedule"
    assert done.publications == (NotPosted(reason=reason),)
    assert done.messages == (
        Message(level=MessageLevel.LOG, text=f"repro-gate: no comment was written: {reason}"),
    )
    assert pulls.asks == []


def test_a_check_that_starts_does_not_mention_a_missing_comment() -> None:
    """It marks an existing comment, and is silent without one."""
    assert attempt(MemoryPullRequests(7), marker(CommentState.RUNNING)).messages == ()


def test_a_comment_that_is_missing_for_a_reason_is_a_warning() -> None:
    """Another job under the same name has a worse result: the user can do something."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(job="a"))

    done = attempt(pulls, marker(CommentState.INCONCLUSIVE))

    assert [(each.level, each.text) for each in done.messages] == [
        (
            MessageLevel.WARNING,
            (
                "No comment was written: this run has already published its result, failed "
                "(give each gate in a workflow its own artifact-name)"
            ),
        )
    ]


def test_two_jobs_with_one_name_are_warned_of() -> None:
    """Each has its comment, and the job that came second names the mistake."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(job="a"))

    done = attempt(pulls, marker(job="b"))

    assert [each.level for each in done.messages] == [MessageLevel.WARNING]
    assert "Another job of this run also comments as repro-gate" in done.messages[0].text


@pytest.mark.parametrize(
    ("run", "remedy", "message"),
    [
        (
            RUN,
            None,
            Message(level=MessageLevel.WARNING, text="The comment could not be posted: down"),
        ),
        (
            replace(RUN, from_fork=True),
            "wait",
            Message(
                level=MessageLevel.NOTICE,
                text="A run from a fork cannot comment; a workflow triggered by workflow_run "
                "can: down (wait)",
            ),
        ),
        (
            replace(RUN, from_fork=True, is_gitlab=True),
            None,
            Message(
                level=MessageLevel.NOTICE,
                text="A pipeline of a fork has no token of this project, so there is no note: down",
            ),
        ),
    ],
    ids=["own", "fork", "fork at GitLab"],
)
def test_a_failure_of_the_api_becomes_a_message(
    run: CiRun, remedy: str | None, message: Message
) -> None:
    """It is a warning, or a notice where it is expected, and never an exception."""

    def connect() -> MemoryPullRequests:
        raise PublishFailed("down", remedy=remedy)

    done = try_publish_comment(connect, run=run, mode=CommentMode.AUTO, ours=marker(), body_of=body)

    assert (done.publications, done.messages) == ((), (message,))


def test_a_run_without_a_pull_request_has_a_reason() -> None:
    """A push to a branch has nowhere to comment."""
    outcomes = publish(MemoryPullRequests(), marker())

    reason = "no open pull request has the commit of this run as its head"
    assert outcomes == (NotPosted(reason=reason),)


def test_every_pull_request_of_a_commit_gets_a_comment() -> None:
    """A branch may have several pull requests."""
    pulls = MemoryPullRequests(7, 8)

    outcomes = publish(pulls, marker())

    assert outcomes == (
        Posted(pull_request=7, url="https://github.test/1"),
        Posted(pull_request=8, url="https://github.test/2"),
    )


def test_each_gate_has_its_own_comment() -> None:
    """Gates and workflows do not touch each other's comments."""
    pulls = MemoryPullRequests(7)
    gates = [marker(name="gpu"), marker(name="cpu"), marker(name="cpu", workflow="nightly.yml")]

    for gate in gates:
        publish(pulls, gate)

    assert markers(pulls) == gates


@pytest.mark.parametrize("state", [CommentState.PASSED, CommentState.INCONCLUSIVE])
def test_a_job_does_not_take_back_what_another_of_its_run_has_found(state: CommentState) -> None:
    """Two jobs with one name are a mistake, which must not turn a finding into a pass."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker())

    (outcomes,) = publish(pulls, marker(state))

    assert outcomes == NotPosted(
        pull_request=7,
        reason="this run has already published its result, failed",
        remedy="give each gate in a workflow its own artifact-name",
    )
    assert markers(pulls) == [marker()]


def test_a_finding_replaces_a_pass_of_the_same_run() -> None:
    """In any order of two jobs with one name."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(CommentState.PASSED), mode=CommentMode.ALWAYS)

    publish(pulls, marker())

    assert markers(pulls) == [marker()]


def test_jobs_of_one_run_with_one_name_keep_both_results() -> None:
    """Neither replaces the other, and both warn of the mistake."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(run=99, job="0"))
    jobs = [marker(job="a"), marker(job="b")]

    outcomes = [publish(pulls, job) for job in jobs]

    assert markers(pulls) == jobs
    assert outcomes == [
        (Posted(pull_request=7, url="https://github.test/1"),),
        (Posted(pull_request=7, url="https://github.test/2", has_name_clash=True),),
    ]


def test_a_pass_does_not_replace_what_another_job_of_the_run_has_found() -> None:
    """Where all is well in one of them, there is nothing to add."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(job="a"))

    (outcomes,) = publish(pulls, marker(CommentState.PASSED, job="b"))

    assert outcomes == NotPosted(
        pull_request=7,
        reason="everything passed, and there is no earlier comment to update",
        has_name_clash=True,
    )
    assert markers(pulls) == [marker(job="a")]


def test_a_later_attempt_replaces_all_comments_of_the_earlier_one() -> None:
    """Also those of jobs that shared a name."""
    pulls = MemoryPullRequests(7)
    for job in "ab":
        publish(pulls, marker(job=job))

    publish(pulls, marker(CommentState.PASSED, attempt=2, found=False, job="c"))

    assert markers(pulls) == [marker(CommentState.PASSED, attempt=2, found=True, job="c")]


def test_a_pass_of_a_fork_is_not_published_on_several_pull_requests() -> None:
    """They merge into different branches, and the measured one is unknown."""
    pulls = MemoryPullRequests(7, 8)
    of_fork = replace(RUN, from_workflow_run=True)

    outcomes = publish(pulls, marker(CommentState.PASSED), mode=CommentMode.ALWAYS, run=of_fork)

    assert outcomes == (
        NotPosted(
            reason="several open pull requests have the commit of this run as their head, "
            "and it is unknown for which of them a run of a fork passed",
            remedy="close all of them but one, and run the check again",
        ),
    )
    assert pulls.bodies == {}


def test_a_finding_of_a_fork_is_published_on_all_of_its_pull_requests() -> None:
    """One of them was measured, and the others have the same code."""
    pulls = MemoryPullRequests(7, 8)

    publish(pulls, marker(), run=replace(RUN, from_workflow_run=True))

    assert (markers(pulls, 7), markers(pulls, 8)) == ([marker()], [marker()])


def test_several_comments_of_ours_become_the_oldest_of_them() -> None:
    """What a killed publisher has left behind is put in order, and none of it is forgotten."""
    pulls = MemoryPullRequests(7)
    pulls.create(7, body(marker(CommentState.PASSED, run=97)))
    pulls.create(7, body(marker(run=98)))
    pulls.create(7, body(marker(CommentState.PASSED, run=99)))

    outcomes = publish(pulls, marker(CommentState.PASSED))

    assert outcomes == (Posted(pull_request=7, url="https://github.test/1"),)
    assert markers(pulls) == [marker(CommentState.PASSED, found=True)]


def test_the_latest_of_several_comments_counts() -> None:
    """An older run does not overwrite the oldest comment when a younger one knows better."""
    pulls = MemoryPullRequests(7)
    pulls.create(7, body(marker(run=98)))
    pulls.create(7, body(marker(run=101)))

    (outcomes,) = publish(pulls, marker())

    assert outcomes == NotPosted(
        reason="a later run has already published its result", pull_request=7
    )
    assert [one.run.run for one in markers(pulls)] == [98, 101]


def test_a_comment_deleted_before_its_update_is_posted_again() -> None:
    """Users may delete comments at any time."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(run=99))
    (old,) = pulls.posted[7]

    outcomes = publish(_interrupted(pulls, "update 1", lambda: pulls.delete(old)), marker())

    assert outcomes == (Posted(pull_request=7, url="https://github.test/2"),)
    assert markers(pulls) == [marker()]


def test_a_comment_deleted_after_its_update_is_posted_again() -> None:
    """It is not mistaken for one that the list does not show yet."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(run=99))
    (old,) = pulls.posted[7]
    looks = 0

    def delete_before_the_second_look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            pulls.delete(old)

    outcomes = publish(_interrupted(pulls, "comments 7", delete_before_the_second_look), marker())

    assert outcomes == (Posted(pull_request=7, url="https://github.test/2"),)


def test_a_comment_that_the_list_does_not_show_yet_is_not_posted_twice() -> None:
    """The response to the post counts, as lists may lag behind."""

    class Lagging(MemoryPullRequests):
        def comments(self, pull_request: int, *, like: Marker) -> tuple[()]:
            self.asks.append(f"comments {pull_request} {like.name}")
            return ()

    pulls = Lagging(7)

    outcomes = publish(pulls, marker())

    assert outcomes == (Posted(pull_request=7, url="https://github.test/1"),)
    assert len(pulls.bodies) == 1


def test_a_comment_that_is_always_gone_is_a_failure() -> None:
    """After a few rounds it is an error."""

    class Vanishing(MemoryPullRequests):
        def update(self, *_: object) -> None:  # type: ignore[override]
            raise CommentGone("gone")

    pulls = Vanishing(7)
    pulls.create(7, body(marker(run=99)))

    with pytest.raises(PublishFailed, match="deleted before every update"):
        publish(pulls, marker())


def test_a_quarrel_over_a_comment_ends() -> None:
    """Where an older run writes after each of our writes, we write a bounded number of times."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(run=99))
    (old,) = pulls.posted[7]

    outcomes = publish(
        _interrupted(pulls, "comments 7", lambda: pulls.update(old, body(marker(run=98)))),
        marker(),
    )

    assert outcomes == (Posted(pull_request=7, url="https://github.test/1"),)
    assert len([ask for ask in pulls.asks if ask.startswith("update")]) < 20


def test_the_comment_of_a_later_run_is_left_alone() -> None:
    """Our result was published before it."""
    pulls = MemoryPullRequests(7)
    publish(pulls, marker(run=99))
    (old,) = pulls.posted[7]
    looks = 0

    def overwrite_before_the_second_look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            pulls.update(old, body(marker(run=101)))

    outcomes = publish(
        _interrupted(pulls, "comments 7", overwrite_before_the_second_look), marker()
    )

    assert outcomes == (Posted(pull_request=7, url="https://github.test/1"),)
    assert markers(pulls) == [marker(run=101)]


def test_a_refusal_is_raised() -> None:
    """The caller reports it."""

    class ReadOnly(MemoryPullRequests):
        def create(self, *_: object) -> None:  # type: ignore[override]
            raise PublishFailed("status 403", remedy="grant `pull-requests: write`")

    with pytest.raises(PublishFailed, match="status 403"):
        publish(ReadOnly(7), marker())


def _publishing(
    pulls: MemoryPullRequests, ours: Marker, *, mode: CommentMode = CommentMode.AUTO
) -> Callable[[Turn], tuple[Publication, ...]]:
    return lambda turn: publish(pulls.seen_by(turn), ours, mode=mode)


ORDERS = list(interleavings(5, 5))


@pytest.mark.parametrize("has_comment", [False, True], ids=["first", "again"])
def test_two_publishers_leave_one_comment_in_every_order(*, has_comment: bool) -> None:
    """Under every interleaving of their calls, no comment is duplicated or lost.

    The comment shows the later run, except when the earlier one is delayed between reading and
    writing until the later one has read for the last time: no client can prevent that.
    """
    for order in ORDERS:
        pulls = MemoryPullRequests(7)
        if has_comment:
            publish(pulls, marker(run=90))

        turns = take_turns(
            order,
            _publishing(pulls, marker(CommentState.FAILED, run=100)),
            _publishing(pulls, marker(CommentState.BROKEN, run=101)),
        )

        (left,) = markers(pulls)
        held_up = turns.taken[-2:] == [(0, "update 1"), (0, "comments 7")] and has_comment
        assert left.run.run == 101 or held_up, turns.taken
        assert left.found or not has_comment, turns.taken


@pytest.mark.parametrize("has_comment", [False, True], ids=["first", "again"])
def test_two_jobs_of_one_run_keep_the_finding(*, has_comment: bool) -> None:
    """Under every interleaving, except the one that no client can prevent."""
    for order in ORDERS:
        pulls = MemoryPullRequests(7)
        if has_comment:
            publish(pulls, marker(run=90))

        turns = take_turns(
            order,
            _publishing(pulls, marker(CommentState.PASSED), mode=CommentMode.ALWAYS),
            _publishing(pulls, marker(CommentState.FAILED)),
        )

        (left,) = markers(pulls)
        held_up = turns.taken[-2:] == [(0, "update 1"), (0, "comments 7")] and has_comment
        assert left.state is CommentState.FAILED or held_up, turns.taken


@pytest.mark.parametrize("has_comment", [False, True], ids=["first", "again"])
def test_two_failed_jobs_with_one_name_keep_both_comments(*, has_comment: bool) -> None:
    """In every order of their calls, but for the one that no client can prevent."""
    for order in ORDERS:
        pulls = MemoryPullRequests(7)
        if has_comment:
            publish(pulls, marker(run=90))
        jobs = [marker(job="a"), marker(job="b")]

        turns = take_turns(order, *(_publishing(pulls, job) for job in jobs))

        held_up = [turns.taken[-2:] == [(one, "update 1"), (one, "comments 7")] for one in range(2)]
        left = sorted(markers(pulls), key=str)
        assert left == jobs or (has_comment and any(held_up)), turns.taken


@pytest.mark.parametrize("later", [0, 1])
def test_three_publishers_leave_one_comment(later: int) -> None:
    """Some interleavings of three runs, two of which start at once."""
    for order in list(interleavings(3, 3, 3))[:: 7 + later]:
        pulls = MemoryPullRequests(7)

        turns = take_turns(
            order, *(_publishing(pulls, marker(run=100 + number)) for number in range(3))
        )

        assert len(markers(pulls)) == 1, turns.taken


def _interrupted(
    pulls: MemoryPullRequests, at: str, what: Callable[[], object]
) -> MemoryPullRequests:
    """Return pull requests where something happens before each of these calls."""

    def turn(ask: str) -> AbstractContextManager[None]:
        if ask == at:
            what()
        return nullcontext()

    return pulls.seen_by(turn)
