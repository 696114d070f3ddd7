"""Comments: found on all pages, and ours only when their author is."""

import json
from typing import TYPE_CHECKING

import pytest

import repro_gate
from repro_gate.core.comments import CommentState, Marker, PostedComment, RunId
from repro_gate.errors import CommentGone, PublishFailed
from tests.fakes.github.server import Github, serving
from tests.fakes.github.world import (
    ACTIONS,
    MAINTAINER,
    OF_JOB,
    OF_OTHER_APP,
    OF_PERSON,
    OTHER_APP,
    STRANGER,
    Account,
    Fault,
)

if TYPE_CHECKING:
    from tests.adapters.github.conftest import PullsOf

NAME = "repro-gate"
MARKER = Marker(name=NAME, run=RunId(100, 1), state=CommentState.FAILED, found=True)
BODY = f"{MARKER}\nDrift."
COMMENTS = "/repos/octo/gate/issues/7/comments"


def posted(id: int, github: Github, *, pull: int = 7, marker: Marker = MARKER) -> PostedComment:
    """Return a comment as the adapter returns it."""
    url = f"{github.server_url}/octo/gate/pull/{pull}#issuecomment-{id}"
    return PostedComment(id=id, url=url, marker=marker)


def test_a_comment_is_posted(github: Github, pulls_of: "PullsOf") -> None:
    """It has the URL and the id that GitHub assigned."""
    comment = pulls_of(github.api_url).create(7, BODY)

    assert comment == posted(1001, github)
    assert github.world.bodies() == [BODY]


def test_a_request_names_client_and_api_version(github: Github, pulls_of: "PullsOf") -> None:
    """GitHub rejects requests without a client, and may change an unpinned API."""
    pulls_of(github.api_url).create(7, BODY)

    (asked,) = github.world.asked
    headers = {name: asked.headers.get(name) for name in ("accept", "user-agent", "content-type")}
    assert headers == {
        "accept": "application/vnd.github+json",
        "user-agent": f"repro-gate/{repro_gate.__version__}",
        "content-type": "application/json",
    }
    assert asked.headers["x-github-api-version"] == "2022-11-28"
    assert asked.by == "github-actions[bot]"


def test_a_comment_is_changed_in_place(github: Github, pulls_of: "PullsOf") -> None:
    """It keeps its id and has the new marker."""
    pulls = pulls_of(github.api_url)
    later = Marker(name=NAME, run=RunId(101, 1), state=CommentState.PASSED)
    comment = pulls.create(7, BODY)

    changed = pulls.update(comment, f"{later}\nFixed.")

    assert changed == posted(1001, github, marker=later)
    assert github.world.bodies() == [f"{later}\nFixed."]


def test_a_comment_is_deleted_once(github: Github, pulls_of: "PullsOf") -> None:
    """Deleting it again is a success."""
    pulls = pulls_of(github.api_url)
    comment = pulls.create(7, BODY)

    pulls.delete(comment)
    pulls.delete(comment)

    assert github.world.bodies() == []


def test_a_comment_that_is_gone_cannot_be_changed(github: Github, pulls_of: "PullsOf") -> None:
    """The caller can distinguish this from a rejection."""
    pulls = pulls_of(github.api_url)
    comment = pulls.create(7, BODY)
    github.world.comments.clear()

    with pytest.raises(CommentGone):
        pulls.update(comment, BODY)


def test_our_comment_is_found_among_250(github: Github, pulls_of: "PullsOf") -> None:
    """All pages are read, a hundred comments each."""
    for number in range(240):
        github.world.comment(STRANGER, f"opinion {number}")
    ours = github.world.comment(ACTIONS, BODY)
    for number in range(9):
        github.world.comment(STRANGER, f"late opinion {number}")

    found = pulls_of(github.api_url).comments(7, like=MARKER)

    assert found == (posted(ours.id, github),)
    asked = [one.query for one in github.world.asked if one.path == COMMENTS]
    assert asked == [{"per_page": "100", "page": str(number)} for number in (1, 2, 3)]


def test_our_comments_come_the_oldest_first(github: Github, pulls_of: "PullsOf") -> None:
    """Publishers keep the oldest one."""
    first, second = (github.world.comment(ACTIONS, BODY) for _ in range(2))
    github.world.comments.reverse()

    found = pulls_of(github.api_url).comments(7, like=MARKER)

    assert [comment.id for comment in found] == [first.id, second.id]


@pytest.mark.parametrize(
    "author", [STRANGER, OTHER_APP, Account(login="github-actions", id=41898282)]
)
def test_a_forged_marker_is_not_ours(github: Github, pulls_of: "PullsOf", author: Account) -> None:
    """Neither a person nor the bot of another app can write in our name."""
    github.world.comment(author, BODY)

    assert pulls_of(github.api_url).comments(7, like=MARKER) == ()


@pytest.mark.parametrize(
    "body",
    [
        f"\n{BODY}",
        f"> {BODY}",
        f"Look: {BODY}",
        f"{MARKER} and more",
        str(MARKER).replace("name=repro-gate", "name=another"),
        str(MARKER).replace("state=failed", "state=happy"),
        "",
    ],
)
def test_a_marker_elsewhere_is_text(github: Github, pulls_of: "PullsOf", body: str) -> None:
    """Only a complete first line with the gate's name counts."""
    github.world.comment(ACTIONS, body)

    assert pulls_of(github.api_url).comments(7, like=MARKER) == ()


def test_a_marker_may_end_with_a_carriage_return(github: Github, pulls_of: "PullsOf") -> None:
    """A browser ends the lines of an edited comment so."""
    github.world.comment(ACTIONS, BODY.replace("\n", "\r\n"))

    assert len(pulls_of(github.api_url).comments(7, like=MARKER)) == 1


@pytest.mark.parametrize(
    ("secret", "author", "asked"),
    [
        (OF_JOB, ACTIONS, ["GET /user", "POST /graphql"]),
        (OF_OTHER_APP, OTHER_APP, ["GET /user", "POST /graphql"]),
        (OF_PERSON, MAINTAINER, ["GET /user"]),
    ],
)
def test_our_login_is_that_of_the_token(
    github: Github, pulls_of: "PullsOf", secret: str, author: Account, asked: list[str]
) -> None:
    """A person is a user; the bot of an app is known to GraphQL only; it is requested once."""
    ours = github.world.comment(author, BODY)
    for other in {ACTIONS, OTHER_APP, MAINTAINER, STRANGER} - {author}:
        github.world.comment(other, BODY)
    pulls = pulls_of(github.api_url, secret)

    found = [pulls.comments(7, like=MARKER) for _ in range(2)]

    assert found == [(posted(ours.id, github),)] * 2
    assert github.world.asks() == [f"GET {COMMENTS}", *asked, f"GET {COMMENTS}"]


def test_our_login_is_learned_from_our_post(github: Github, pulls_of: "PullsOf") -> None:
    """No request is needed then."""
    pulls = pulls_of(github.api_url)
    comment = pulls.create(7, BODY)

    assert pulls.comments(7, like=MARKER) == (comment,)
    assert github.world.asks() == [f"POST {COMMENTS}", f"GET {COMMENTS}"]


def test_our_login_is_not_needed_without_a_marker(github: Github, pulls_of: "PullsOf") -> None:
    """Most conversations take one request."""
    github.world.comment(STRANGER, "nice")

    assert pulls_of(github.api_url).comments(7, like=MARKER) == ()
    assert github.world.asks() == [f"GET {COMMENTS}"]


def test_without_graphql_we_are_the_bot_of_a_job(github: Github, pulls_of: "PullsOf") -> None:
    """This is the author for the token of a job, which is the one in use."""
    github.world.comment(OTHER_APP, BODY)
    ours = github.world.comment(ACTIONS, BODY)
    github.world.strike(Fault(path="/graphql", status=404))

    assert pulls_of(github.api_url).comments(7, like=MARKER) == (posted(ours.id, github),)


def test_a_graphql_error_has_the_status_of_a_success(github: Github, pulls_of: "PullsOf") -> None:
    """It means the same as a server without GraphQL."""
    ours = github.world.comment(ACTIONS, BODY)
    refusal = '{"data": null, "errors": [{"message": "Resource not accessible by integration"}]}'
    github.world.strike(Fault(path="/graphql", status=200, body=refusal))

    assert pulls_of(github.api_url).comments(7, like=MARKER) == (posted(ours.id, github),)


@pytest.mark.parametrize("answer", ["{}", '{"data": null}', '{"data": {"viewer": {"login": 1}}}'])
def test_an_unclear_answer_is_an_error(github: Github, pulls_of: "PullsOf", answer: str) -> None:
    """A wrong guess would post a second comment."""
    github.world.comment(ACTIONS, BODY)
    github.world.strike(Fault(path="/graphql", status=200, body=answer))

    with pytest.raises(PublishFailed, match="does not return our login"):
        pulls_of(github.api_url).comments(7, like=MARKER)


@pytest.mark.parametrize("path", ["/user", "/graphql"])
def test_a_server_error_does_not_make_us_the_bot(
    github: Github, pulls_of: "PullsOf", path: str
) -> None:
    """Only a rejection shows what kind of token it is; a failing server shows nothing."""
    github.world.comment(ACTIONS, BODY)
    github.world.strike(Fault(path=path, status=502, times=9))

    with pytest.raises(PublishFailed, match=r"status 502 \(Bad Gateway\)"):
        pulls_of(github.api_url).comments(7, like=MARKER)


def test_an_enterprise_server_has_its_api_on_a_path(pulls_of: "PullsOf") -> None:
    """GraphQL is next to it; the token goes nowhere else."""
    with serving(path="/api/v3") as github:
        ours = github.world.comment(OTHER_APP, BODY)
        github.world.comment(ACTIONS, BODY)

        found = pulls_of(github.api_url, OF_OTHER_APP).comments(7, like=MARKER)

    assert found == (posted(ours.id, github),)


@pytest.mark.parametrize("url", ["javascript:alert(1)", f"https://github.test/?t={OF_JOB[:9]}"])
def test_an_invalid_url_is_dropped(github: Github, pulls_of: "PullsOf", url: str) -> None:
    """It would be shown as a link, and may contain the token; the comment itself is kept."""
    answer = json.dumps({"id": 5, "html_url": url, "user": {"login": "x"}})
    github.world.strike(Fault(method="POST", status=201, body=answer))

    assert pulls_of(github.api_url).create(7, BODY) == PostedComment(id=5, url="", marker=MARKER)


def test_a_body_without_a_marker_is_refused(github: Github, pulls_of: "PullsOf") -> None:
    """The comment could never be found again."""
    pulls = pulls_of(github.api_url)
    comment = pulls.create(7, BODY)

    with pytest.raises(ValueError, match="start with their marker"):
        pulls.create(7, "hello")
    with pytest.raises(ValueError, match="start with their marker"):
        pulls.update(comment, "hello")
