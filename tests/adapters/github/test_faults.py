"""A GitHub that rejects, limits, fails or returns garbage: reported or retried, once each."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from repro_gate.adapters.http.retry import status_text
from repro_gate.core.comments import CommentState, Marker, RunId
from repro_gate.errors import CommentGone, PublishFailed
from tests.fakes.github.server import Github
from tests.fakes.github.world import ACTIONS, OF_FORK, OF_JOB, STRANGER, Fault, Pull
from tests.fakes.hosted import START, FakeTime

if TYPE_CHECKING:
    from tests.adapters.github.conftest import PullsOf

NAME = "repro-gate"
MARKER = Marker(name=NAME, run=RunId(100, 1), state=CommentState.FAILED, found=True)
BODY = f"{MARKER}\nDrift."
COMMENTS = "/repos/octo/gate/issues/7/comments"
POST, GET = f"POST {COMMENTS}", f"GET {COMMENTS}"
FORK = "for a pull request from a fork, let a workflow_run job publish the result"
ALWAYS = 1000


def test_a_missing_permission_is_reported(github: Github, pulls_of: "PullsOf") -> None:
    """GitHub names the permissions, of which one is enough."""
    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url, OF_FORK).create(7, BODY)

    assert caught.value.reason == (
        "GitHub: status 403 (Forbidden): Resource not accessible by integration"
    )
    assert caught.value.remedy == (
        f"grant `pull-requests: write` or `issues: write` to the job; {FORK}"
    )
    assert github.world.asks() == [POST]


def test_an_invalid_token_is_rejected(github: Github, pulls_of: "PullsOf") -> None:
    """The remedy asks for another one."""
    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url, "ghs_unknown").create(7, BODY)

    assert caught.value.reason == "GitHub: status 401 (Unauthorized): Bad credentials"
    assert caught.value.remedy == ("give the step a valid token, such as ${{ github.token }}")


def test_a_missing_pull_request_is_reported(github: Github, pulls_of: "PullsOf") -> None:
    """It may also be hidden from the token, which GitHub does not show."""
    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url).create(99, BODY)

    assert caught.value.reason == "GitHub: status 404 (Not Found): Not Found"
    assert caught.value.remedy == ("check that the token can see this repository and pull request")


def test_a_locked_conversation_is_reported(github: Github, pulls_of: "PullsOf") -> None:
    """With GitHub's message."""
    github.world.pulls[8] = Pull(number=8, is_locked=True)

    with pytest.raises(
        PublishFailed, match="Unable to create comment because issue is locked"
    ) as caught:
        pulls_of(github.api_url).create(8, BODY)

    assert caught.value.remedy == "unlock the conversation of the pull request"


def test_a_comment_that_is_too_long_is_reported(github: Github, pulls_of: "PullsOf") -> None:
    """With GitHub's message, after one attempt."""
    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url).create(7, BODY.ljust(65_537, "x"))

    assert caught.value.reason == (
        "GitHub: status 422 (Unprocessable Entity): Validation Failed: "
        "Body is too long (maximum is 65536 characters)"
    )
    assert github.world.asks() == [POST]


def test_the_longest_comment_is_accepted(github: Github, pulls_of: "PullsOf") -> None:
    """Its length is counted in UTF-16, where most pictures are two."""
    body = BODY.ljust(65_534, "x") + "\N{PILE OF POO}"

    pulls_of(github.api_url).create(7, body)

    assert github.world.bodies() == [body]


@pytest.mark.parametrize(
    ("accepted", "named"),
    [
        ("pull_requests=write", "`pull-requests: write`"),
        ("issues=write", "`issues: write`"),
        ("contents=read,issues=write", "`contents: read` and `issues: write`"),
        ("", "`pull-requests: write`"),
        ("`; rm -rf /`=write;<b>=write", "`pull-requests: write`"),
        (f"{OF_JOB[:9]}=write", "`pull-requests: write`"),
    ],
)
def test_a_permission_is_named_as_in_a_workflow(
    github: Github, pulls_of: "PullsOf", accepted: str, named: str
) -> None:
    """The header cannot add any other text."""
    headers = {"x-accepted-github-permissions": accepted}
    github.world.strike(Fault(status=403, headers=headers, body='{"message": "no"}'))

    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url).create(7, BODY)

    assert caught.value.remedy == f"grant {named} to the job; {FORK}"


@pytest.mark.parametrize("status", [404, 410])
def test_a_deleted_comment_is_distinguished(
    github: Github, pulls_of: "PullsOf", status: int
) -> None:
    """GitHub has two statuses for it."""
    comment = pulls_of(github.api_url).create(7, BODY)
    github.world.strike(Fault(method="PATCH|DELETE", status=status, times=2))

    with pytest.raises(CommentGone):
        pulls_of(github.api_url).update(comment, BODY)
    pulls_of(github.api_url).delete(comment)


def test_a_rejected_deletion_is_an_error(github: Github, pulls_of: "PullsOf") -> None:
    """Only a comment that is gone counts as deleted."""
    comment = pulls_of(github.api_url).create(7, BODY)

    with pytest.raises(PublishFailed, match="status 403"):
        pulls_of(github.api_url, OF_FORK).delete(comment)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_renamed_repository_is_reported(github: Github, pulls_of: "PullsOf", status: int) -> None:
    """No redirect is followed, as the token is not for its target."""
    headers = {"location": "https://elsewhere.example/repositories/1?secret=x"}
    github.world.strike(Fault(status=status, headers=headers))

    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url).create(7, BODY)

    assert caught.value.reason == (
        f"GitHub: {status_text(status)}: a redirect to elsewhere.example is not followed"
    )
    assert caught.value.remedy == (
        "if the repository was renamed or moved, run the job again under its new name"
    )
    assert github.world.asks() == [POST]


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("after", ["7", "Tue, 01 Jan 2030 00:00:07 GMT"])
def test_a_secondary_limit_is_waited_for(
    github: Github, pulls_of: "PullsOf", time: FakeTime, status: int, after: str
) -> None:
    """As long as GitHub asks, and then there is one comment."""
    message = '{"message": "You have exceeded a secondary rate limit."}'
    github.world.strike(Fault(status=status, headers={"retry-after": after}, body=message))

    pulls_of(github.api_url).create(7, BODY)

    assert time.slept == [7.0]
    assert github.world.asks() == [POST, POST]
    assert github.world.bodies() == [BODY]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429),
        Fault(status=403, body='{"message": "You have exceeded a secondary rate limit."}'),
        Fault(status=429, headers={"retry-after": "soon"}),
    ],
)
def test_a_limit_without_a_time_is_waited_for_a_minute(
    github: Github, pulls_of: "PullsOf", time: FakeTime, fault: Fault
) -> None:
    """GitHub's documentation asks for this."""
    github.world.strike(fault)

    pulls_of(github.api_url).create(7, BODY)

    assert time.slept == [60.0]


def test_a_primary_limit_is_waited_for_until_it_is_reset(
    github: Github, pulls_of: "PullsOf", time: FakeTime
) -> None:
    """By the time of day, and for one second more."""
    reset = str(int((START + timedelta(seconds=20)).timestamp()))
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    github.world.strike(Fault(status=403, headers=headers))

    pulls_of(github.api_url).create(7, BODY)

    assert time.slept == [21.0]


@pytest.mark.parametrize("reset", ["inf", "1e400", "1e308"])
def test_a_limit_that_is_never_reset_is_not_waited_for(
    github: Github, pulls_of: "PullsOf", time: FakeTime, reset: str
) -> None:
    """The failure names a day at most, and is an ordinary one."""
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    github.world.strike(Fault(status=403, headers=headers))

    with pytest.raises(PublishFailed, match="waiting 86400 s would exceed the deadline"):
        pulls_of(github.api_url).create(7, BODY)

    assert time.slept == []


def test_a_limit_that_has_just_been_reset_costs_a_second(
    github: Github, pulls_of: "PullsOf", time: FakeTime
) -> None:
    """A clock that is ahead makes no wait negative."""
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}
    github.world.strike(Fault(status=403, headers=headers))

    pulls_of(github.api_url).create(7, BODY)

    assert time.slept == [1.0]


def test_a_long_limit_is_not_waited_for(
    github: Github, pulls_of: "PullsOf", time: FakeTime
) -> None:
    """A comment must not occupy a runner for an hour."""
    github.world.strike(Fault(status=429, headers={"retry-after": "3600"}, times=ALWAYS))

    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url).create(7, BODY)

    assert caught.value.reason == (
        "GitHub: status 429 (Too Many Requests) (a rate limit); "
        "waiting 3600 s would exceed the deadline of 90 s for all calls"
    )
    assert caught.value.remedy == "run the job again later"
    assert time.slept == []


def test_all_waits_share_one_deadline(github: Github, pulls_of: "PullsOf", time: FakeTime) -> None:
    """It is for all calls of a publication."""
    github.world.strike(Fault(status=429, headers={"retry-after": "40"}, times=ALWAYS))
    pulls = pulls_of(github.api_url)

    for _ in range(2):
        with pytest.raises(PublishFailed, match="would exceed the deadline of 90 s"):
            pulls.comments(7, like=MARKER)

    assert time.slept == [40.0, 40.0]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_server_error_is_retried(github: Github, pulls_of: "PullsOf", status: int) -> None:
    """Reading, changing and deleting are idempotent."""
    pulls = pulls_of(github.api_url)
    comment = pulls.create(7, BODY)
    for method in ("GET", "PATCH", "DELETE"):
        github.world.strike(Fault(method=method, path="/repos/.*", status=status, times=3))

    found = pulls.comments(7, like=MARKER)
    pulls.update(comment, BODY + "!")
    bodies = github.world.bodies()
    pulls.delete(comment)

    assert found == (comment,)
    assert bodies == [BODY + "!"]
    assert github.world.bodies() == []


def test_a_lasting_server_error_is_given_up(github: Github, pulls_of: "PullsOf") -> None:
    """After five attempts; a page of HTML is not shown."""
    page = "<html><script>alert(1)</script></html>"
    github.world.strike(Fault(status=502, body=page, times=ALWAYS))

    with pytest.raises(PublishFailed) as caught:
        pulls_of(github.api_url).comments(7, like=MARKER)

    assert caught.value.reason == "GitHub: status 502 (Bad Gateway)"
    assert github.world.asks() == [GET] * 5


GARBAGE = {
    "no JSON": Fault(method="POST", status=201, body="{"),
    "NaN": Fault(method="POST", status=201, body="NaN"),
    "nested": Fault(method="POST", status=201, body="[" * 100_000),
    "another shape": Fault(method="POST", status=201, body='{"id": "1001"}'),
    "no author": Fault(method="POST", status=201, body='{"id": 1, "html_url": "https://a"}'),
    "server error": Fault(method="POST", status=502),
    "cut off": Fault(method="POST", cut_after=10),
    "nothing": Fault(method="POST", cut_after=0),
}


@pytest.mark.parametrize("fault", GARBAGE.values(), ids=GARBAGE)
def test_a_post_with_a_lost_answer_is_not_repeated(
    github: Github, pulls_of: "PullsOf", fault: Fault
) -> None:
    """The existing comment is found."""
    github.world.strike(
        Fault(
            method="POST",
            path=COMMENTS,
            status=fault.status,
            body=fault.body,
            cut_after=fault.cut_after,
            is_done=True,
        )
    )

    comment = pulls_of(github.api_url).create(7, BODY)

    assert comment.id == 1001
    assert github.world.asks() == [POST, GET, "GET /user", "POST /graphql"]
    assert github.world.bodies() == [BODY]


@pytest.mark.parametrize("times", [1, 3])
def test_a_failed_post_is_repeated(github: Github, pulls_of: "PullsOf", times: int) -> None:
    """When no comment is found, it was not posted."""
    github.world.strike(Fault(method="POST", status=502, times=times))

    pulls_of(github.api_url).create(7, BODY)

    assert github.world.asks() == [*([POST, GET] * times), POST]
    assert github.world.bodies() == [BODY]


def test_a_post_that_timed_out_is_looked_for(github: Github, pulls_of: "PullsOf") -> None:
    """It was posted, and only its answer came too late."""
    github.world.strike(Fault(method="POST", path=COMMENTS, delay_s=2.0, is_done=True))

    # Only waiting moves this clock, so that each attempt has all of the time.
    comment = pulls_of(github.api_url, deadline_s=0.5).create(7, BODY)

    assert comment.id == 1001
    assert github.world.bodies() == [BODY]


def test_another_comment_of_ours_is_not_taken_for_a_lost_one(
    github: Github, pulls_of: "PullsOf"
) -> None:
    """Nor is the same comment by another author."""
    older = Marker(name=NAME, run=RunId(99, 1), state=CommentState.FAILED)
    github.world.comment(ACTIONS, f"{older}\nolder")
    github.world.comment(STRANGER, BODY)
    github.world.strike(Fault(method="POST", path=COMMENTS, status=502))

    comment = pulls_of(github.api_url).create(7, BODY)

    assert comment.id == 1003


@pytest.mark.parametrize(
    "body",
    ["{}", "null", "7", '[{"body": "x"}]', "[7]", '[{"id": true}]'],
)
def test_an_unexpected_list_is_an_error(github: Github, pulls_of: "PullsOf", body: str) -> None:
    """A comment that was missed would be posted twice."""
    github.world.strike(Fault(status=200, body=body))

    with pytest.raises(PublishFailed, match="GitHub: the answer is"):
        pulls_of(github.api_url).comments(7, like=MARKER)


@pytest.mark.parametrize("body", ["{", "", "<html>", "[NaN]"])
def test_a_list_that_is_not_json_is_requested_again(
    github: Github, pulls_of: "PullsOf", body: str
) -> None:
    """A proxy may have answered."""
    github.world.strike(Fault(status=200, body=body))

    assert pulls_of(github.api_url).comments(7, like=MARKER) == ()
    assert github.world.asks() == [GET, GET]
