"""What GitHub knows of the head of a pull request, and the answer in its thread."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.github.acceptance import GithubCheckedHeads, GithubThread, comment_of
from repro_gate.adapters.github.payload import FieldMissing
from repro_gate.adapters.github.repository import Repository
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.acceptance.request import AcceptComment, HeadRun, PullHead, ReportArtifact
from repro_gate.core.comments import RunId
from repro_gate.errors import PublishFailed
from tests.fakes.github.server import Github
from tests.fakes.github.world import (
    ACTIONS,
    MAINTAINER,
    OF_FORK,
    OF_JOB,
    REPOSITORY,
    STRANGER,
    Artifact,
    Fault,
    Pull,
    Run,
)

_HEAD = PullHead(
    number=7,
    is_open=True,
    sha=Pull(number=7).sha,
    branch="topic",
    repository=REPOSITORY,
    default_branch="main",
)
_RUN = HeadRun(id=RunId(50, 2), is_completed=True)


@pytest.fixture
def repository(github: Github, runtime: Runtime) -> Repository:
    """Return the repository, with the token of a job that only reads."""
    return Repository(github.api_url, REPOSITORY, Secret(OF_FORK), runtime=runtime)


@pytest.fixture
def heads(repository: Repository) -> GithubCheckedHeads:
    """Return the adapter."""
    return GithubCheckedHeads(repository)


def _event(tmp_path: Path, **changes: Any) -> dict[str, str]:
    user = {"login": "maintainer", "id": 77}
    comment = {"body": "/repro-gate accept", "created_at": "2025-01-02T03:04:05Z", "user": user}
    event = {"action": "created", "issue": {"number": 7, "pull_request": {}}, "comment": comment}
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event | changes), "utf-8")
    return {"GITHUB_EVENT_NAME": "issue_comment", "GITHUB_EVENT_PATH": str(file)}


def test_the_comment_is_that_of_the_event(tmp_path: Path) -> None:
    """Nothing of it is looked up, so an edit afterwards changes nothing."""
    assert comment_of(_event(tmp_path)) == AcceptComment(
        pull_request=7,
        login="maintainer",
        user_id=77,
        created_at="2025-01-02T03:04:05Z",
        body="/repro-gate accept",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "edited"},
        {"issue": {"number": 7}},
        {"comment": {"body": "x", "created_at": "yesterday", "user": {"login": "a", "id": 1}}},
        {"comment": {"body": "x", "created_at": "2025-01-02T03:04:05Z", "user": None}},
    ],
)
def test_another_event_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """An edit, an issue, and what GitHub does not send."""
    with pytest.raises(FieldMissing):
        comment_of(_event(tmp_path, **changes))


def test_another_kind_of_event_is_refused(tmp_path: Path) -> None:
    """A review has a comment too."""
    with pytest.raises(FieldMissing, match="not issue_comment"):
        comment_of(_event(tmp_path) | {"GITHUB_EVENT_NAME": "pull_request_review_comment"})


@pytest.mark.parametrize("permission", ["admin", "write", "read", "none"])
def test_the_permission_is_requested(
    github: Github, heads: GithubCheckedHeads, permission: str
) -> None:
    """GitHub knows it; the association of an author is not asked for."""
    github.world.permissions["maintainer"] = permission

    assert heads.permission_of("maintainer", MAINTAINER.id) == permission


def test_who_may_maintain_can_write(github: Github, heads: GithubCheckedHeads) -> None:
    """The field that knows four levels shows it as write."""
    github.world.permissions["maintainer"] = "maintain"

    assert heads.permission_of("maintainer", MAINTAINER.id) == "write"


def test_a_login_that_changed_hands_has_no_permission(
    github: Github, heads: GithubCheckedHeads
) -> None:
    """The author has given the login up since, and somebody with more rights took it."""
    github.world.permissions["maintainer"] = "admin"

    assert heads.permission_of("maintainer", STRANGER.id) == "none"


def test_the_head_of_a_pull_request_is_requested(heads: GithubCheckedHeads) -> None:
    """With its branch, and the repository that it is of."""
    assert heads.head_of(7) == _HEAD


@pytest.mark.parametrize(
    ("pull", "full_name"),
    [
        (Pull(number=7, owner="mallory"), "mallory/gate"),
        (Pull(number=7, owner="mallory", has_head=False), None),
    ],
)
def test_a_fork_is_known_by_its_repository(
    github: Github, heads: GithubCheckedHeads, pull: Pull, full_name: str | None
) -> None:
    """Also when the fork has been deleted."""
    github.world.pulls[7] = pull

    assert heads.head_of(7).repository == full_name


def test_the_latest_run_of_the_head_counts(github: Github, heads: GithubCheckedHeads) -> None:
    """Not that of another workflow, commit, branch or event, whatever GitHub returns."""
    github.world.ignores_filters = True
    github.world.pulls[8] = Pull(number=8, branch="other")
    github.world.pulls[9] = Pull(number=9, owner="mallory")
    github.world.runs = [
        Run(id=50, attempt=2),
        Run(id=40),
        Run(id=60, workflow="shards.yml"),
        Run(id=70, sha="d" * 40),
        Run(id=80, event="push"),
        Run(id=90, pull=8),
        Run(id=95, pull=9),
    ]

    assert heads.run_of(_HEAD, "gate.yml") == _RUN
    assert heads.run_of(_HEAD, "nightly.yml") is None


def test_a_run_that_goes_on_is_not_completed(github: Github, heads: GithubCheckedHeads) -> None:
    """Even when an earlier run has ended."""
    github.world.runs = [Run(id=50), Run(id=51, status="in_progress")]

    assert heads.run_of(_HEAD, "gate.yml") == HeadRun(id=RunId(51, 1), is_completed=False)


def test_the_latest_artifact_of_the_name_counts(github: Github, heads: GithubCheckedHeads) -> None:
    """An attempt replaces the artifact of an earlier one."""
    github.world.ignores_filters = True
    github.world.artifacts = [
        Artifact(id=1, run=50),
        Artifact(id=3, run=50, size=5, is_expired=True),
        Artifact(id=4, run=50, name="other"),
        Artifact(id=5, run=51),
    ]

    assert heads.artifact_of(_RUN, "repro-gate") == ReportArtifact(
        id=3, size_bytes=5, is_expired=True, created_at="2025-01-02T03:04:05Z"
    )
    assert heads.artifact_of(_RUN, "missing") is None


def test_a_head_that_is_no_commit_is_refused(github: Github, heads: GithubCheckedHeads) -> None:
    """What is checked out by it could be anything."""
    github.world.pulls[7] = Pull(number=7, sha="main")

    with pytest.raises(PublishFailed, match=r"head\.sha: expected a commit"):
        heads.head_of(7)


def test_an_answer_is_posted_once(github: Github, runtime: Runtime) -> None:
    """Also when the reply of GitHub is lost; what others wrote is not taken for it."""
    repository = Repository(github.api_url, REPOSITORY, Secret(OF_JOB), runtime=runtime)
    github.world.comment(STRANGER, "<!-- 1 -->\nMine.")
    github.world.strike(Fault(method="POST", path=".*/comments", status=502, is_done=True))

    GithubThread(repository, 7).answer("<!-- 1 -->\nRecorded.")

    ours = [one.body for one in github.world.comments if one.author == ACTIONS]
    assert ours == ["<!-- 1 -->\nRecorded."]


def test_a_lost_answer_is_posted_again(github: Github, runtime: Runtime) -> None:
    """It was not found in the thread."""
    repository = Repository(github.api_url, REPOSITORY, Secret(OF_JOB), runtime=runtime)
    github.world.strike(Fault(method="POST", path=".*/comments", status=502))

    GithubThread(repository, 7).answer("<!-- 1 -->\nRecorded.")

    assert github.world.bodies() == ["<!-- 1 -->\nRecorded."]
