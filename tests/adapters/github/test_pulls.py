"""The pull request of a run: from its event, or from GitHub by its branch and commit."""

from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.core.comments import CiRun, RunId
from tests.fakes.github.server import Github
from tests.fakes.github.world import Pull

if TYPE_CHECKING:
    from tests.adapters.github.conftest import PullsOf

SHA = "d" * 40


def run_of(**changes: Any) -> CiRun:
    """Return a run of a fork that another run publishes."""
    values: dict[str, Any] = {
        "id": RunId(100, 1),
        "repository": "octo/gate",
        "head_sha": SHA,
        "head_owner": "mallory",
        "head_branch": "fix",
        "server_url": "https://github.test",
        "from_fork": True,
        "from_workflow_run": True,
    }
    return CiRun(**(values | changes))


def test_the_event_names_the_pull_request(github: Github, pulls_of: "PullsOf") -> None:
    """GitHub wrote the event, so no request is needed."""
    run = run_of(pull_request=7, from_workflow_run=False)

    assert pulls_of(github.api_url).of_run(run) == (7,)
    assert github.world.asked == []


def test_a_push_has_no_pull_request(github: Github, pulls_of: "PullsOf") -> None:
    """Not even when its branch has one: that has its own run."""
    github.world.pulls[8] = Pull(number=8, owner="mallory", branch="fix", sha=SHA)

    assert pulls_of(github.api_url).of_run(run_of(from_workflow_run=False)) == ()
    assert github.world.asked == []


def test_the_pull_request_of_a_fork_is_found(github: Github, pulls_of: "PullsOf") -> None:
    """By the branch and commit of the other run."""
    github.world.pulls[8] = Pull(number=8, owner="mallory", branch="fix", sha=SHA)
    github.world.pulls[9] = Pull(number=9, owner="mallory", branch="fix", sha=SHA)

    assert pulls_of(github.api_url).of_run(run_of()) == (8, 9)
    (asked,) = github.world.asked
    assert asked.path == "/repos/octo/gate/pulls"
    assert asked.query == {
        "state": "open",
        "head": "mallory:fix",
        "per_page": "100",
        "page": "1",
    }


def test_the_case_of_an_owner_does_not_matter(github: Github, pulls_of: "PullsOf") -> None:
    """GitHub's names are case-insensitive."""
    github.world.pulls[8] = Pull(number=8, owner="Mallory", branch="fix", sha=SHA)

    assert pulls_of(github.api_url).of_run(run_of()) == (8,)


@pytest.mark.parametrize(
    "pull",
    [
        Pull(number=8, owner="mallory", branch="fix", sha="e" * 40),
        Pull(number=8, owner="mallory", branch="other", sha=SHA),
        Pull(number=8, owner="eve", branch="fix", sha=SHA),
        Pull(number=8, owner="mallory", branch="fix", sha=SHA, is_open=False),
        Pull(number=8, owner="mallory", branch="fix", sha=SHA, has_head=False),
    ],
    ids=["another commit", "another branch", "another owner", "closed", "deleted fork"],
)
def test_any_other_pull_request_is_not_commented_on(
    github: Github, pulls_of: "PullsOf", pull: Pull
) -> None:
    """A push after the run makes its result outdated.

    GitHub ignores a filter that it does not understand, so that none is relied on.
    """
    github.world.pulls = {8: pull}
    github.world.ignores_filters = True

    assert pulls_of(github.api_url).of_run(run_of()) == ()
    assert len(github.world.asked) == 1


@pytest.mark.parametrize("changes", [{"head_owner": ""}, {"head_branch": ""}])
def test_a_head_without_an_owner_is_not_looked_for(
    github: Github, pulls_of: "PullsOf", changes: dict[str, str]
) -> None:
    """A part of the filter would match too much."""
    assert pulls_of(github.api_url).of_run(run_of(**changes)) == ()
    assert github.world.asked == []


def test_a_branch_may_be_called_anything(github: Github, pulls_of: "PullsOf") -> None:
    """Its name changes neither the path nor another part of the query."""
    branch = "a&state=all#/../x?y=%2e%2e;ä\u202e\N{PILE OF POO}"
    github.world.pulls = {
        8: Pull(number=8, owner="mallory", branch=branch, sha=SHA),
        9: Pull(number=9, owner="mallory", branch=branch, sha=SHA, is_open=False),
    }

    assert pulls_of(github.api_url).of_run(run_of(head_branch=branch)) == (8,)
    (asked,) = github.world.asked
    assert (asked.path, asked.query["head"]) == ("/repos/octo/gate/pulls", f"mallory:{branch}")
