"""A run of a CI system, as far as a report has to know of it."""

from dataclasses import dataclass

from repro_gate.core.guards import require_at_least


@dataclass(frozen=True, slots=True, order=True)
class RunId:
    """Which run it is: a later one is greater, and so is a later attempt of the same one."""

    run: int
    attempt: int

    def __post_init__(self) -> None:
        if self.run < 0 or self.attempt < 1:
            raise ValueError(f"a run is counted from 0, an attempt from 1, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CiRun:
    """The run whose result is told on a pull request."""

    id: RunId
    repository: str
    """`owner/name` of the repository that the run belongs to."""
    head_sha: str
    """The commit that was checked, as the author of the pull request knows it."""
    head_owner: str
    """Who owns the branch that was checked; another owner than the repository's for a fork."""
    head_branch: str
    server_url: str
    """Where people look at it, such as `https://github.com`."""
    workflow: str = ""
    """The name of the workflow's file, such as `gate.yml`; empty when nobody says."""
    event: str = ""
    """What started the run, such as `merge_group`; empty when unknown."""
    artifact: str | None = None
    """The name under which the report can be downloaded; None when it was not uploaded."""
    pull_request: int | None = None
    """As the event names it; None when the event names none, and it has to be looked up."""
    has_foreign_head: bool = False
    """The branch belongs to a fork: the token cannot write and there are no secrets."""
    is_of_another: bool = False
    """The run is told of by another one, which was started by its end (`workflow_run`).

    Whatever it left behind is the word of a stranger.
    """
    conclusion: str | None = None
    """What the CI system says of the run; None while it is at work."""

    def __post_init__(self) -> None:
        require_at_least(1, pull_request=self.pull_request)

    @property
    def url(self) -> str:
        """Where people see this attempt of the run."""
        path = f"{self.repository}/actions/runs/{self.id.run}/attempts/{self.id.attempt}"
        return f"{self.server_url}/{path}"
