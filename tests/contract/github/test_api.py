"""Whatever we ask GitHub is what its own description allows, and so is what our fake answers."""

import json
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from repro_gate.adapters.github.comments import GithubPullRequests
from repro_gate.adapters.http.secret import Secret
from repro_gate.checks.publish import Posted, publish_comment
from repro_gate.core.comments import CiRun, CommentMode, CommentState, Marker, RunId
from repro_gate.errors import PublishFailed
from tests.contract.github.conftest import FOLDER
from tests.fakes.github.world import OF_FORK, OF_JOB, OF_OTHER_APP, OF_PERSON, STRANGER, Fault, Pull

if TYPE_CHECKING:
    from tests.contract.github.conftest import Described

MARKER = Marker(name="repro-gate", run=RunId(100, 1), state=CommentState.FAILED, found=True)
BODY = f"{MARKER}\nThe tokens of 3 cells drift. \N{BAR CHART} <details>\u202e</details>"


def _through(described: "Described", secret: str = OF_JOB) -> GithubPullRequests:
    return GithubPullRequests(described.api_url, "octo/gate", Secret(secret))


def _post(described: "Described", path: str, body: object) -> httpx.Response:
    with httpx.Client(trust_env=False) as http:
        headers = {"authorization": f"Bearer {OF_JOB}"}
        return http.post(f"{described.api_url}{path}", json=body, headers=headers)


@pytest.mark.parametrize(("number", "secret"), [(1, OF_JOB), (2, OF_OTHER_APP), (3, OF_PERSON)])
def test_a_comment_is_made_changed_found_and_deleted(
    described: "Described", number: int, secret: str
) -> None:
    """No request of it, and no answer, breaks the description: the proxy would refuse it."""
    world = described.github.world
    pulls = _through(described, secret)

    comment = pulls.create(number, BODY)
    found = pulls.comments(number, like=MARKER)
    pulls.update(comment, BODY + "again")
    said = world.bodies(number)
    pulls.delete(comment)

    assert found == (comment,)
    assert said == [BODY + "again"]
    assert world.bodies(number) == []


def test_the_author_is_asked_for_as_described(described: "Described") -> None:
    """A person is known by `GET /user`, with a client that has not written anything yet."""
    written = _through(described, OF_PERSON).create(4, BODY)

    assert _through(described, OF_PERSON).comments(4, like=MARKER) == (written,)
    assert ("GET", "/user") in _asked(described)


def test_all_pages_are_asked_for_as_described(described: "Described") -> None:
    """The comment is on the third page of a long conversation."""
    for number in range(250):
        described.github.world.comment(STRANGER, f"opinion {number}", pull=5)
    pulls = _through(described)

    comment = pulls.create(5, BODY)

    assert pulls.comments(5, like=MARKER) == (comment,)


def test_the_pull_request_of_another_run_is_asked_for_as_described(described: "Described") -> None:
    """By the branch of its head, with characters that a URL writes otherwise."""
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
        is_of_another=True,
    )

    assert _through(described).of_run(run) == (30,)


def test_a_whole_publication_is_as_described(described: "Described") -> None:
    """From the first look to the last one."""
    run = CiRun(
        id=RunId(100, 1),
        repository="octo/gate",
        head_sha="c0ffee",
        head_owner="octo",
        head_branch="topic",
        server_url="https://github.test",
        pull_request=6,
    )

    (told,) = publish_comment(
        _through(described), run=run, mode=CommentMode.AUTO, ours=MARKER, body_of=lambda _: BODY
    )

    assert isinstance(told, Posted)
    assert described.github.world.bodies(6) == [BODY]


def test_a_refusal_is_as_described(described: "Described") -> None:
    """The fake refuses in the shape that GitHub describes, and so we know how to read it."""
    with pytest.raises(PublishFailed, match="Resource not accessible by integration"):
        _through(described, OF_FORK).create(7, BODY)


def test_a_request_that_is_not_as_described_is_refused(described: "Described") -> None:
    """The proxy can fail: a comment without a text does not get past it."""
    answer = _post(described, "/repos/octo/gate/issues/8/comments", {"text": "hi"})

    assert answer.status_code == 422
    assert "required property 'body'" in answer.text
    assert described.github.world.bodies(8) == []


def test_an_answer_that_is_not_as_described_is_refused(described: "Described") -> None:
    """The proxy looks at the fake too: a comment that nobody wrote does not get past it."""
    path = "/repos/octo/gate/issues/9/comments"
    described.github.world.strike(Fault(path=path, status=201, body='{"id": 1}'))

    answer = _post(described, path, {"body": "hi"})

    assert answer.status_code == 500
    assert "required property 'user'" in answer.text


def test_what_is_installed_is_pinned_by_its_content() -> None:
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
