"""A job of GitHub Actions around a workspace: its variables, its event and its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro_gate.core.comments import marker_of
from tests.cli.workspaces import Ran, Workspace
from tests.fakes.github.world import MAINTAINER, OF_JOB, Account, Pull, World

RUN = 4321
SHA = Pull(number=7).sha
_OURS = {"full_name": "octo/gate", "owner": {"login": "octo"}}
_FORK = {"full_name": "mallory/gate", "owner": {"login": "mallory"}}


def pull_request(*, is_fork: bool = False) -> dict[str, Any]:
    """Return the event of a pull request from a branch of this repository, or of a fork."""
    head = {"sha": SHA, "ref": "topic", "repo": _FORK if is_fork else _OURS}
    return {"number": 7, "pull_request": {"number": 7, "head": head}}


def workflow_run(*, conclusion: str) -> dict[str, Any]:
    """Return the event of the end of a fork's run."""
    run: dict[str, Any] = {"id": RUN, "run_attempt": 1, "head_sha": SHA, "head_branch": "topic"}
    run["path"] = ".github/workflows/gate.yml"
    return {"workflow_run": {**run, "head_repository": _FORK, "conclusion": conclusion}}


def new_comment(body: str, *, by: Account = MAINTAINER) -> dict[str, Any]:
    """Return the event of a new comment on the pull request."""
    user = {"login": by.login, "id": by.id}
    comment = {"body": body, "created_at": "2025-01-02T03:04:05Z", "user": user}
    return {"action": "created", "issue": {"number": 7, "pull_request": {}}, "comment": comment}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job with a checked-out workspace, and the environment of its steps."""

    workspace: Workspace
    folder: Path
    """Where the runner keeps the files of the job; outside of the checkout."""
    api_url: str
    token: str = OF_JOB
    run: int = RUN
    event_name: str = "pull_request"
    event: Mapping[str, Any] = field(default_factory=pull_request)

    @property
    def variables(self) -> dict[str, str]:
        """Return what the runner sets in the environment of a step."""
        event = self.folder / "event.json"
        event.write_text(json.dumps(self.event), "utf-8")
        return {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.api_url,
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_REF_NAME": "topic",
            "GITHUB_REPOSITORY": "octo/gate",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": str(self.run),
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "d" * 40,
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GITHUB_TOKEN": self.token,
            "GITHUB_WORKFLOW_REF": "octo/gate/.github/workflows/gate.yml@refs/pull/7/merge",
            "GITHUB_WORKSPACE": str(self.workspace.folder),
        }

    def publish(self, *arguments: str, **env: str) -> Ran:
        """Publish the report folder, with new output files of the step."""
        return self.step("publish", *arguments, **env)

    def step(self, *arguments: str, **env: str) -> Ran:
        """Run a command as a step, with new output files."""
        for name in ("output", "summary.md"):
            (self.folder / name).unlink(missing_ok=True)
        return self.workspace.run(*arguments, **{**self.variables, **env})

    def summary(self) -> str:
        """Return what stands on the page of the run."""
        return (self.folder / "summary.md").read_text("utf-8")

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the step, as the runner reads them."""
        lines = iter((self.folder / "output").read_text("utf-8").splitlines())
        outputs: dict[str, str] = {}
        for line in lines:
            name, _, delimiter = line.partition("<<")
            value = list(iter(lambda: next(lines), delimiter))
            outputs[name] = "\n".join(value)
        return outputs


def states(world: World) -> list[tuple[int, str, bool]]:
    """Return the id, the state and the past of every comment of ours."""
    found = [(comment.id, marker_of(comment.body)) for comment in world.comments]
    return [(id, marker.state.value, marker.found) for id, marker in found if marker]
