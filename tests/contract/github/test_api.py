"""Our requests, and the answers of our fake, conform to GitHub's own description."""

import json
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from repro_gate.adapters.github.acceptance import GithubCheckedHeads, GithubThread
from repro_gate.adapters.github.comments import GithubPullRequests
from repro_gate.adapters.github.issues import GithubIssues
from repro_gate.adapters.github.repository import Repository
from repro_gate.adapters.http.secret import Secret
from repro_gate.checks.accept import find_result
from repro_gate.checks.publish import Posted, publish_comment
from repro_gate.core.acceptance.request import AcceptComment
from repro_gate.core.comments import CiRun, CommentMode, CommentState, Marker, RunId
from repro_gate.core.watch.issues import IssueMarker
from repro_gate.core.watch.state import WatchState
from repro_gate.errors import PublishFailed
from tests.contract.github.conftest import FOLDER
from tests.fakes.github.world import (
    OF_FORK,
    OF_JOB,
    OF_OTHER_APP,
    OF_PERSON,
    STRANGER,
    Artifact,
    Fault,
    Pull,
    Run,
)

if TYPE_CHECKING:
    from tests.contract.github.conftest import Described

MARKER = Marker(name="repro-gate", run=RunId(100, 1), state=CommentState.FAILED, found=True)
BODY = f"{MARKER}\nThe tokens of 3 cells drift. \N{BAR CHART} <details>\u202e</details>"


def _through(described: "Described", secret: str = OF_JOB) -> GithubPullRequests:
    return GithubPullRequests(Repository(described.api_url, "octo/gate", Secret(secret)))


def _post(described: "Described", path: str, body: object) -> httpx.Response:
    with httpx.Client(trust_env=False) as http:
        headers = {"authorization": f"Bearer {OF_JOB}"}
        return http.post(f"{described.api_url}{path}", json=body, headers=headers)


@pytest.mark.parametrize(("number", "secret"), [(1, OF_JOB), (2, OF_OTHER_APP), (3, OF_PERSON)])
def test_a_comment_is_made_changed_found_and_deleted(
    described: "Described", number: int, secret: str
) -> None:
    """No request or answer violates the description: the proxy would reject it."""
    world = described.github.world
    pulls = _through(described, secret)

    comment = pulls.create(number, BODY)
    found = pulls.comments(number, like=MARKER)
    pulls.update(comment, BODY + "again")
    bodies = world.bodies(number)
    pulls.delete(comment)

    assert found == (comment,)
    assert bodies == [BODY + "again"]
    assert world.bodies(number) == []


def test_the_author_is_requested_as_described(described: "Described") -> None:
    """A person is known by `GET /user`, with a client that has not posted yet."""
    written = _through(described, OF_PERSON).create(4, BODY)

    assert _through(described, OF_PERSON).comments(4, like=MARKER) == (written,)
    assert ("GET", "/user") in _asked(described)


def test_all_pages_are_requested_as_described(described: "Described") -> None:
    """The comment is on the third page of a long conversation."""
    for number in range(250):
        described.github.world.comment(STRANGER, f"opinion {number}", pull=5)
    pulls = _through(described)

    comment = pulls.create(5, BODY)

    assert pulls.comments(5, like=MARKER) == (comment,)


def test_the_pull_request_of_another_run_is_requested_as_described(described: "Described") -> None:
    """By the branch of its head, with characters that are escaped in a URL."""
    branch = "fix/ä&b=c#d+e%20"
    fork = Pull(number=30, owner="mallory", branch=branch, sha="d" * 40)
    described.github.world.pulls[30] = fork
    run = CiRun(
        id=RunId(100, 1),
        repository="octo/gate",
        head_sha="d" * 40,
        head_owner="mallory",
        head_branch=branch,
        server_url="https://github.test",
        from_workflow_run=True,
    )

    assert _through(described).of_run(run) == (30,)


def test_a_whole_publication_is_as_described(described: "Described") -> None:
    """From the first request to the last one."""
    run = CiRun(
        id=RunId(100, 1),
        repository="octo/gate",
        head_sha="c0ffee",
        head_owner="octo",
        head_branch="topic",
        server_url="https://github.test",
        pull_request=6,
    )

    (posted,) = publish_comment(
        _through(described), run=run, mode=CommentMode.AUTO, ours=MARKER, body_of=lambda _: BODY
    )

    assert isinstance(posted, Posted)
    assert described.github.world.bodies(6) == [BODY]


def test_a_rejection_is_as_described(described: "Described") -> None:
    """The fake rejects in the described format, which we can read."""
    with pytest.raises(PublishFailed, match="Resource not accessible by integration"):
        _through(described, OF_FORK).create(7, BODY)


@pytest.mark.parametrize(("suite", "secret"), [("job", OF_JOB), ("person", OF_PERSON)])
def test_an_issue_is_opened_found_commented_changed_and_closed(
    described: "Described", suite: str, secret: str
) -> None:
    """No request or answer violates the description: the proxy would reject it."""
    repository = Repository(described.api_url, "octo/gate", Secret(secret))
    issues = GithubIssues(repository)
    marker = IssueMarker(suite=suite, watch="a" * 16, state=WatchState.DRIFT, run=RunId(1, 1))

    issue = issues.create("drift", f"{marker}\nDrift.")
    found = issues.of_watch(marker)
    issues.comment(issue, f"{marker}\nDrift.")
    issues.update(issue, "drift again", f"{marker}\nAgain.", is_open=True)
    issues.close(issue)

    written = described.github.world.issues[issue.number]
    assert found == (issue,)
    assert (written.title, written.body, written.is_open) == (
        "drift again",
        f"{marker}\nAgain.",
        False,
    )
    assert described.github.world.bodies(issue.number) == [f"{marker}\nDrift."]


def test_the_head_of_a_pull_request_and_its_result_are_requested_as_described(
    described: "Described",
) -> None:
    """From the permission of who asks to the artifact, and the answer."""
    world = described.github.world
    world.permissions["maintainer"] = "maintain"
    world.runs = [Run(id=50, pull=10)]
    world.artifacts = [Artifact(id=9, run=50)]
    repository = Repository(described.api_url, "octo/gate", Secret(OF_JOB))
    comment = AcceptComment(
        pull_request=10,
        login="maintainer",
        user_id=77,
        created_at="2025-01-02T03:04:05Z",
        body="/repro-gate accept",
    )

    found = find_result(
        comment,
        GithubCheckedHeads(repository),
        repository="octo/gate",
        workflow="gate.yml",
        name="repro-gate",
    )
    GithubThread(repository, 10).answer("<!-- 1 -->\nRecorded.")

    assert (found.head.branch, found.run.id.run, found.artifact.id) == ("topic-10", 50, 9)
    assert world.bodies(10) == ["<!-- 1 -->\nRecorded."]


def test_an_invalid_request_is_rejected(described: "Described") -> None:
    """The proxy can fail: a comment without a body does not pass it."""
    answer = _post(described, "/repos/octo/gate/issues/8/comments", {"text": "hi"})

    assert answer.status_code == 422
    assert "required property 'body'" in answer.text
    assert described.github.world.bodies(8) == []


def test_an_invalid_answer_is_rejected(described: "Described") -> None:
    """The proxy checks the fake too: a comment without an author does not pass it."""
    path = "/repos/octo/gate/issues/9/comments"
    described.github.world.strike(Fault(path=path, status=201, body='{"id": 1}'))

    answer = _post(described, path, {"body": "hi"})

    assert answer.status_code == 500
    assert "required property 'user'" in answer.text


def test_packages_are_pinned_by_hash() -> None:
    """Every package has a hash, and none names the host that it came from."""
    lock = json.loads((FOLDER / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((FOLDER / "package.json").read_text("utf-8"))["devDependencies"]
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert len(packages) > 100
    assert [name for name, package in packages.items() if not package.get("integrity")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def _asked(described: "Described") -> set[tuple[str, str]]:
    asked = described.github.world.asked
    return {(one.method, re.sub(r"\d+", "N", one.path)) for one in asked}
