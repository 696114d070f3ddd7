"""Runs for one pull request, one after the other, and what GitHub shows after each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from repro_gate.core.comments import RunId
from tests.action.act.callers import Caller
from tests.action.act.events import (
    OWNER,
    Event,
    issue_comment,
    merge_group,
    pull_request,
    workflow_run,
)
from tests.action.act.log import Log
from tests.action.act.runner import Runner
from tests.fakes.github.server import Github
from tests.fakes.github.world import Account, Comment, Pull


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A run that is over."""

    log: Log
    comments: tuple[Comment, ...]
    """Those on the pull request, as they stand after the run."""
    artifacts: Path
    """The folder of what the run uploaded."""

    @property
    def reports(self) -> list[Path]:
        """The artifacts that are folders, in order of their names."""
        artifacts = self.artifacts.iterdir()
        return sorted(one for one in artifacts if not one.name.endswith(".html"))

    @property
    def comment(self) -> str:
        """The text of the only comment."""
        (comment,) = self.comments
        return comment.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A pull request to a repository with our action, a runner, and a GitHub."""

    runner: Runner
    github: Github
    caller: Caller
    """As the pull request would have it."""
    owner: str = OWNER
    """Of the branch; another one for a fork."""

    def play(
        self,
        run: int,
        change: Callable[[Caller], object] | None = None,
        *,
        attempt: int = 1,
        workflow: str = "gate.yml",
        **variables: str,
    ) -> Scene:
        """Push a change to the pull request, if any, and run a workflow for it."""
        if change is not None:
            change(self.caller)
        event = pull_request(self.push())
        return self._run(self.caller, workflow, event, RunId(run, attempt), **variables)

    def queue(self, run: int, *, workflow: str = "gate.yml") -> Scene:
        """Put the pull request into a merge queue, and run a workflow for its entry."""
        pull = self.push()
        event = merge_group(pull, sha=self.caller.commit())
        return self._run(self.caller, workflow, event, RunId(run, 1))

    def push(self) -> Pull:
        """Make what the repository holds now the head of the pull request."""
        pulls = self.github.world.pulls
        pulls[7] = replace(pulls[7], owner=self.owner, sha=self.caller.commit())
        return pulls[7]

    def publish(self, run: int, *, of: int, conclusion: str, base: Caller) -> Scene:
        """Run the workflow that comments on another run, as the main branch has it."""
        event = workflow_run(self.github.world.pulls[7], of=RunId(of, 1), conclusion=conclusion)
        return self._run(base, "gate-comment.yml", event, RunId(run, 1), GATE_FORKS="true")

    def comment(
        self, run: int, body: str, *, by: Account, created_at: str, **variables: str
    ) -> Scene:
        """Comment on the pull request, and run the workflow that accepts."""
        pull = self.github.world.pulls[7]
        event = issue_comment(pull, by, body, created_at=created_at)
        return self._run(self.caller, "accept.yml", event, RunId(run, 1), **variables)

    def _run(
        self, repository: Caller, workflow: str, event: Event, id: RunId, **variables: str
    ) -> Scene:
        log = self.runner.run(repository.folder, workflow, event, id=id, variables=variables)
        return Scene(
            log=log,
            comments=tuple(replace(comment) for comment in self.github.world.comments),
            artifacts=self.runner.artifacts / str(id.run),
        )
