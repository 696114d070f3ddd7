"""Issues: found on all pages, and ours only when their author is."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from repro_gate.adapters.github.issues import GithubIssues
from repro_gate.adapters.github.repository import Repository
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.comments import RunId
from repro_gate.core.watch.issues import IssueMarker, PostedIssue
from repro_gate.core.watch.state import WatchState
from repro_gate.errors import PublishFailed
from tests.fakes.github.server import Github
from tests.fakes.github.world import (
    ACTIONS,
    MAINTAINER,
    OF_FORK,
    OF_JOB,
    OF_PERSON,
    OTHER_APP,
    REPOSITORY,
    STRANGER,
    Account,
    Fault,
)

IssuesOf: TypeAlias = Callable[..., GithubIssues]
MARKER = IssueMarker(suite="hosted", watch="a" * 16, state=WatchState.DRIFT, run=RunId(100, 1))
BODY = f"{MARKER}\nDrift."
TITLE = "repro-gate: hosted: drift"
ISSUES = "/repos/octo/gate/issues"


@pytest.fixture
def issues_of(runtime: Runtime) -> IssuesOf:
    """Return a function that makes the adapter for a server and one of its tokens."""

    def make(github: Github, secret: str = OF_JOB) -> GithubIssues:
        token = Secret(secret)
        return GithubIssues(Repository(github.api_url, REPOSITORY, token, runtime=runtime))

    return make


def posted(number: int, github: Github, *, is_open: bool = True) -> PostedIssue:
    """Return an issue as the adapter returns it."""
    url = f"{github.server_url}/octo/gate/issues/{number}"
    return PostedIssue(number=number, url=url, is_open=is_open, marker=MARKER)


@pytest.mark.parametrize("secret", [OF_JOB, OF_PERSON])
def test_an_issue_is_opened_and_found_again(
    github: Github, issues_of: IssuesOf, secret: str
) -> None:
    """By a client that has not posted yet, also when it is closed."""
    issue = issues_of(github, secret).create(TITLE, BODY)
    github.world.issues[101].is_open = False

    assert issue == posted(101, github)
    assert issues_of(github, secret).of_watch(MARKER) == (posted(101, github, is_open=False),)
    assert github.world.issues[101].title == TITLE


def test_our_issue_is_found_among_250(github: Github, issues_of: IssuesOf) -> None:
    """All pages of our own issues are read, the oldest is first, and no pull request is one."""
    ours = [github.world.issue(ACTIONS, TITLE, BODY)]
    for number in range(250):
        github.world.issue(ACTIONS, f"of another workflow {number}", "text")
    ours.append(github.world.issue(ACTIONS, TITLE, BODY))

    found = issues_of(github).of_watch(MARKER)

    assert found == tuple(posted(issue.number, github) for issue in ours)
    asked = [one.query for one in github.world.asked if one.path == ISSUES]
    query = {"state": "all", "creator": "github-actions[bot]", "per_page": "100"}
    assert asked == [{**query, "page": str(number)} for number in (1, 2, 3)]


@pytest.mark.parametrize("author", [STRANGER, MAINTAINER, OTHER_APP])
def test_an_issue_by_somebody_else_is_not_ours(
    github: Github, issues_of: IssuesOf, author: Account
) -> None:
    """Whoever copies the marker cannot have their issue overwritten, nor get ours."""
    github.world.issue(author, TITLE, BODY)
    assert issues_of(github).of_watch(MARKER) == ()


def test_the_filter_of_the_server_is_not_trusted(github: Github, issues_of: IssuesOf) -> None:
    """The author of each issue is checked as well."""
    forged = github.world.issue(STRANGER, TITLE, BODY)
    github.world.ignores_filters = True

    assert issues_of(github).of_watch(MARKER) == ()
    assert forged.body == BODY


@pytest.mark.parametrize("body", ["", "text", f"text\n{MARKER}", f"{MARKER} text"])
def test_another_text_is_not_ours(github: Github, issues_of: IssuesOf, body: str) -> None:
    """The marker is the whole first line."""
    github.world.issue(ACTIONS, TITLE, body)
    assert issues_of(github).of_watch(MARKER) == ()


def test_another_watch_has_another_issue(github: Github, issues_of: IssuesOf) -> None:
    """The suite is in the marker."""
    github.world.issue(ACTIONS, TITLE, f"{replace(MARKER, suite='other')}\n")
    assert issues_of(github).of_watch(MARKER) == ()


def test_an_issue_is_changed_closed_and_opened(github: Github, issues_of: IssuesOf) -> None:
    """Closing leaves its text alone."""
    issues = issues_of(github)
    issue = issues.create(TITLE, BODY)
    (kept,) = github.world.issues.values()

    issues.close(issue)
    closed = replace(kept)
    issues.update(issue, "again", f"{BODY} Again.", is_open=True)

    assert (closed.title, closed.body, closed.is_open) == (TITLE, BODY, False)
    assert (kept.title, kept.body, kept.is_open) == ("again", f"{BODY} Again.", True)


@pytest.mark.parametrize("status", [500, 502])
def test_a_lost_answer_opens_one_issue(github: Github, issues_of: IssuesOf, status: int) -> None:
    """Before it is opened again, it is looked for."""
    github.world.strike(Fault(method="POST", path=ISSUES, is_done=True, status=status))

    assert issues_of(github).create(TITLE, BODY) == posted(101, github)
    assert len(github.world.issues) == 1


def test_a_lost_answer_makes_one_comment(github: Github, issues_of: IssuesOf) -> None:
    """A comment by somebody else with our marker is not ours."""
    issue = issues_of(github).create(TITLE, BODY)
    github.world.comment(STRANGER, BODY, pull=101)
    path = f"{ISSUES}/101/comments"
    github.world.strike(Fault(method="POST", path=path, is_done=True, status=502))

    issues_of(github).comment(issue, BODY)

    assert [one.author for one in github.world.comments] == [STRANGER, ACTIONS]


def test_a_comment_that_never_arrived_is_made_again(github: Github, issues_of: IssuesOf) -> None:
    """The failed attempt may have had an effect, but it had none."""
    issue = issues_of(github).create(TITLE, BODY)
    github.world.strike(Fault(method="POST", path=f"{ISSUES}/101/comments", status=502))

    issues_of(github).comment(issue, BODY)

    assert github.world.bodies(101) == [BODY]


def test_a_token_without_the_right_gets_the_remedy(github: Github, issues_of: IssuesOf) -> None:
    """Nothing is written."""
    with pytest.raises(PublishFailed, match="not accessible") as caught:
        issues_of(github, OF_FORK).create(TITLE, BODY)

    assert str(caught.value.remedy).startswith("grant `issues: write` to the job; ")
    assert github.world.issues == {}


def test_a_repository_without_issues_gets_the_remedy(github: Github, issues_of: IssuesOf) -> None:
    """Its owner can turn them on."""
    github.world.has_issues = False

    with pytest.raises(PublishFailed, match="disabled") as caught:
        issues_of(github).create(TITLE, BODY)

    assert caught.value.remedy == "turn on issues in the settings of the repository"


def test_a_body_without_a_marker_is_refused(github: Github, issues_of: IssuesOf) -> None:
    """It would never be found again."""
    with pytest.raises(ValueError, match="marker"):
        issues_of(github).create(TITLE, "hello")
