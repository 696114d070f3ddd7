"""Notes on a merge request: ours alone, page after page, and failures without the token."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from repro_gate.adapters.gitlab.job import GitlabJob, read_job
from repro_gate.adapters.gitlab.notes import GitlabMergeRequests
from repro_gate.adapters.http.retry import Runtime
from repro_gate.core.comments import CommentState, Marker, RunId
from repro_gate.errors import CommentGone, PublishFailed, UsageInvalid
from tests.fakes.gitlab.server import (
    MERGE_REQUEST,
    OTHER,
    TOKEN,
    Gitlab,
    job_variables,
    serving,
)
from tests.fakes.hosted import FakeTime

MARKER = Marker(name="repro-gate", run=RunId(5, 1), state=CommentState.FAILED, workflow="gate")
BODY = f"{MARKER}\n\ntext\n"


@pytest.fixture
def gitlab() -> Iterator[Gitlab]:
    """Give a GitLab with one merge request."""
    with serving() as server:
        yield server


def _job(gitlab: Gitlab, **changes: str) -> GitlabJob:
    job = read_job({**job_variables(gitlab), **changes})
    assert job is not None
    return job


def _requests(gitlab: Gitlab, **changes: str) -> GitlabMergeRequests:
    time = FakeTime()
    runtime = Runtime(
        environ={}, now=time.now, clock=time.clock, sleep=time.sleep, random=lambda: 0.0
    )
    return GitlabMergeRequests(_job(gitlab, **changes), runtime=runtime)


def test_a_note_is_written_found_replaced_and_deleted(gitlab: Gitlab) -> None:
    """Its address is that of the merge request."""
    requests = _requests(gitlab)
    made = requests.create(MERGE_REQUEST, BODY)
    later = replace(MARKER, run=RunId(6, 1))

    assert requests.comments(MERGE_REQUEST, like=MARKER) == (made,)
    assert made.url.endswith(f"/group/sub/serving/-/merge_requests/7#note_{made.id}")
    assert requests.update(made, f"{later}\n").marker == later
    assert [note.body for note in gitlab.notes] == [f"{later}\n"]
    requests.delete(made)
    requests.delete(made)
    assert gitlab.notes == []
    with pytest.raises(CommentGone):
        requests.update(made, BODY)


def test_only_our_own_notes_count(gitlab: Gitlab) -> None:
    """Not those of other people, of another gate or without a marker; on any page."""
    gitlab.add(BODY, author=OTHER)
    gitlab.add(str(replace(MARKER, name="other")))
    for _ in range(100):
        gitlab.add("LGTM", author=OTHER)
    ours = gitlab.add(BODY)

    (found,) = _requests(gitlab).comments(MERGE_REQUEST, like=MARKER)
    assert found.id == ours.id


def test_a_list_is_read_again_after_a_failure_and_a_note_is_written_once(gitlab: Gitlab) -> None:
    """GitLab may have written a note whose answer was lost."""
    gitlab.fail_with = [502, 429]
    assert _requests(gitlab).comments(MERGE_REQUEST, like=MARKER) == ()

    gitlab.fail_with = [502]
    with pytest.raises(PublishFailed, match="status 502"):
        _requests(gitlab).create(MERGE_REQUEST, BODY)
    assert [method for method, _ in gitlab.asked] == ["GET", "GET", "GET", "POST"]


def test_a_refusal_has_a_remedy_and_no_token(gitlab: Gitlab) -> None:
    """The remedy names the scope and the variable."""
    with pytest.raises(PublishFailed, match="status 401") as refused:
        _requests(gitlab, GITLAB_TOKEN=f"{TOKEN}x").comments(MERGE_REQUEST, like=MARKER)

    assert "project access token with the scope api" in str(refused.value.remedy)
    assert TOKEN[:12] not in f"{refused.value}{refused.value.remedy}"


@pytest.mark.parametrize("token", ["", "two words", "\N{SNOWMAN}"])
def test_without_a_usable_token_nothing_is_sent(gitlab: Gitlab, token: str) -> None:
    """A protected variable is not set in the pipeline of an unprotected branch."""
    with pytest.raises(PublishFailed, match="there is no GITLAB_TOKEN"):
        _requests(gitlab, GITLAB_TOKEN=token)
    assert gitlab.asked == []


def test_the_token_is_sent_over_https_only(gitlab: Gitlab) -> None:
    """Or to this machine."""
    with pytest.raises(PublishFailed, match="neither https"):
        _requests(gitlab, CI_API_V4_URL="http://gitlab.example.com/api/v4")


def test_a_job_is_read_from_its_variables(gitlab: Gitlab) -> None:
    """A fork, a branch without a merge request, and no job at all."""
    fork = _job(gitlab, CI_MERGE_REQUEST_SOURCE_PROJECT_ID="99").run
    branch = _job(gitlab, CI_MERGE_REQUEST_IID="", CI_PIPELINE_SOURCE="push").run
    merged = _job(gitlab, CI_MERGE_REQUEST_SOURCE_BRANCH_SHA="e" * 40).run

    assert (fork.from_fork, fork.pull_request, branch.pull_request) == (True, 7, None)
    assert _requests(gitlab).of_run(fork) == (7,)
    assert _requests(gitlab).of_run(branch) == ()
    assert (fork.head_sha, merged.head_sha) == ("d" * 40, "e" * 40)
    assert read_job({"CI": "true"}) is None
    assert TOKEN not in repr(_job(gitlab))
    with pytest.raises(UsageInvalid, match="CI_JOB_ID: expected the number"):
        _job(gitlab, CI_JOB_ID="")
    with pytest.raises(UsageInvalid, match="CI_MERGE_REQUEST_PROJECT_ID: expected the number"):
        _job(gitlab, CI_MERGE_REQUEST_PROJECT_ID="../../user?")


@pytest.mark.parametrize("answer", [b"{}", b"[{}]", b"<html>", b"", b"[1]"])
def test_an_odd_answer_is_a_failure(gitlab: Gitlab, answer: bytes) -> None:
    """Never a crash."""
    gitlab.answer_with = [answer]
    with pytest.raises(PublishFailed, match="GitLab: the answer is not"):
        _requests(gitlab).comments(MERGE_REQUEST, like=MARKER)


def test_an_author_that_is_not_named_is_a_failure(gitlab: Gitlab) -> None:
    """It cannot be known which notes are ours."""
    gitlab.add(BODY)
    gitlab.answer_with = [json.dumps([note.document() for note in gitlab.notes]).encode(), b"{}"]
    with pytest.raises(PublishFailed, match="id: expected"):
        _requests(gitlab).comments(MERGE_REQUEST, like=MARKER)
