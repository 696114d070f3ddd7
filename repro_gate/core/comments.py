"""CI runs, and the one comment on a pull request: its marker and when it is written."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

from repro_gate.core.guards import require_at_least, require_text


@dataclass(frozen=True, slots=True, order=True)
class RunId:
    """A run and its attempt; later ones are greater."""

    run: int
    attempt: int

    def __post_init__(self) -> None:
        if self.run < 0 or self.attempt < 1:
            raise ValueError(f"a run is counted from 0, an attempt from 1, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CiRun:
    """The CI run whose result is published."""

    id: RunId
    repository: str
    """`owner/name` of the repository that the run belongs to."""
    head_sha: str
    """The checked commit: the head of the pull request, not its merge commit."""
    head_owner: str
    """The owner of the checked branch; differs from the repository's owner for a fork."""
    head_branch: str
    server_url: str
    """Base URL of the web interface, such as `https://github.com`."""
    workflow: str = ""
    """The file name of the workflow, such as `gate.yml`; empty when unknown."""
    event: str = ""
    """The event that triggered the run, such as `merge_group`; empty when unknown."""
    artifact: str | None = None
    """The name of the uploaded report artifact; None when nothing was uploaded."""
    page_url: str | None = None
    """Where a browser opens the page of the report; None when it was not uploaded."""
    accepts: bool = False
    """The repository has the workflow that accepts by a comment."""
    pull_request: int | None = None
    """From the event; None when it has to be looked up."""
    from_fork: bool = False
    """The branch belongs to a fork, so the token is read-only and there are no secrets."""
    from_workflow_run: bool = False
    """A later `workflow_run` publishes the result; the run's artifacts are untrusted."""
    is_gitlab: bool = False
    """The run is a job of GitLab, and its pull request a merge request."""
    conclusion: str | None = None
    """The conclusion reported by the CI system; None while the run is in progress."""

    def __post_init__(self) -> None:
        require_at_least(1, pull_request=self.pull_request)

    @property
    def url(self) -> str:
        """The web page of this attempt."""
        if self.is_gitlab:
            return f"{self.server_url}/{self.repository}/-/jobs/{self.id.run}"
        path = f"{self.repository}/actions/runs/{self.id.run}/attempts/{self.id.attempt}"
        return f"{self.server_url}/{path}"

    @property
    def commit_url(self) -> str:
        """The web page of the checked commit."""
        place = "-/commit" if self.is_gitlab else "commit"
        return f"{self.server_url}/{self.repository}/{place}/{self.head_sha}"


DEFAULT_NAME = "repro-gate"
MAX_NAME_LENGTH = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_FILE = re.compile(r"[A-Za-z0-9._-]{1,100}")
_MARKER = re.compile(
    r"<!-- repro-gate/comment/v1 workflow=(?P<workflow>[A-Za-z0-9._-]{0,100})"
    r" name=(?P<name>[A-Za-z0-9._-]{1,100}) run=(?P<run>[0-9]{1,19})"
    r" attempt=(?P<attempt>[0-9]{1,9}) state=(?P<state>[a-z]+) found=(?P<found>yes|no)"
    r" relayed=(?P<relayed>yes|no)"
    r"(?: by=(?P<by_run>[0-9]{1,19})\.(?P<by_attempt>[0-9]{1,9})\.(?P<by_job>[0-9a-f]{12}))? -->"
)


class CommentMode(StrEnum):
    """When a pull request gets a comment."""

    AUTO = "auto"
    """When there is a finding, and from then on for every run, so that it stays current."""
    ALWAYS = "always"
    NEVER = "never"


class CommentState(StrEnum):
    """The state of the run that a comment shows."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    BROKEN = "broken"
    """The run gave no verdict: it was interrupted, killed or could not start."""


_BEST_TO_WORST = (
    CommentState.RUNNING,
    CommentState.PASSED,
    CommentState.INCONCLUSIVE,
    CommentState.BROKEN,
    CommentState.FAILED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """The job that wrote a comment."""

    run: RunId
    job: str
    """Unique among the jobs of an attempt, including the legs of a matrix; see `job_key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The hidden first line of a comment.

    It is an HTML comment, which no untrusted text can contain: see
    `repro_gate.reports.text.markdown`.
    """

    name: str
    """Unique among the gates of one workflow; the name of the artifact."""
    run: RunId
    state: CommentState
    found: bool = False
    """Whether this run or an earlier one on the same pull request had findings."""
    workflow: str = ""
    """Unique among the workflows of one repository, see `workflow_key`; empty when unknown."""
    is_relayed: bool = False
    """Published by a `workflow_run`, which can be rerun and may then know more."""
    writer: Writer | None = None
    """None in comments of earlier versions."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                "a name has 1 to 100 letters, digits, dots, dashes and underscores, "
                f"got {self.name!r}"
            )
        if not _MARKER.fullmatch(str(self)):
            raise ValueError(f"the marker would be unreadable: {str(self)!r}")

    def __str__(self) -> str:
        """Return the line."""
        found, relayed = ("yes" if is_so else "no" for is_so in (self.found, self.is_relayed))
        by = self.writer
        end = "" if by is None else f" by={by.run.run}.{by.run.attempt}.{by.job}"
        return (
            f"<!-- repro-gate/comment/v1 workflow={self.workflow} name={self.name} "
            f"run={self.run.run} attempt={self.run.attempt} state={self.state.value} "
            f"found={found} relayed={relayed}{end} -->"
        )

    @property
    def rank(self) -> tuple[RunId, int]:
        """Order of precedence: of two comments about one gate the greater one is kept.

        A later run is greater; within an attempt the worse result is, so that publishing twice
        never hides a finding.
        """
        return self.run, 0 if self.is_relayed else _BEST_TO_WORST.index(self.state)

    def is_result_of_rival(self, ours: "Marker") -> bool:
        """Return whether another job of the same attempt already used this name.

        The name is shared by mistake, and neither result may replace the other.
        """
        if self.writer is None or ours.writer is None or self.state is CommentState.RUNNING:
            return False
        return self.writer.run == ours.writer.run and self.writer.job != ours.writer.job

    def has_gate_of(self, other: "Marker") -> bool:
        """Return whether two comments are about the same gate."""
        return (self.workflow, self.name) == (other.workflow, other.name)

    def after(self, before: "Marker | None") -> "Marker":
        """Return this marker with the finding flag of the comment that it replaces."""
        return self if before is None else replace(self, found=self.found or before.found)


def workflow_key(file: str) -> str:
    """Return the key of a workflow: its file name, or a digest of an unusual one."""
    if not file or _FILE.fullmatch(file):
        return file
    return hashlib.sha256(file.encode("utf-8", errors="surrogatepass")).hexdigest()[:16]


def job_key(*facts: str) -> str:
    """Return the key of a job: a digest of the facts that identify it."""
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def name_in_matrix(job: str, leg: Mapping[str, Any]) -> str:
    """Return a gate name that is unique among the legs of a job's matrix.

    Args:
        job: the id of the job.
        leg: the matrix values of this leg.
    """
    if not leg:
        return DEFAULT_NAME
    texts = [value if isinstance(value, str) else json.dumps(value) for value in leg.values()]
    words = ".".join([job, *texts])
    name = f"{DEFAULT_NAME}-{_ODD.sub('-', words)}"
    if all(map(_WORD.fullmatch, texts)) and _NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(json.dumps([job, leg], sort_keys=True).encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME_LENGTH - 9]}-{digest}"


def marker_of(body: str) -> Marker | None:
    """Return the marker on the first line of a comment, or None."""
    parts = _MARKER.fullmatch(body.partition("\n")[0].rstrip("\r"))
    if parts is None or parts["state"] not in set(CommentState):
        return None
    try:
        return Marker(
            workflow=parts["workflow"],
            name=parts["name"],
            run=RunId(int(parts["run"]), int(parts["attempt"])),
            state=CommentState(parts["state"]),
            found=parts["found"] == "yes",
            is_relayed=parts["relayed"] == "yes",
            writer=_writer_in(parts),
        )
    except ValueError:
        return None


def _writer_in(parts: re.Match[str]) -> Writer | None:
    if parts["by_job"] is None:
        return None
    run = RunId(int(parts["by_run"]), int(parts["by_attempt"]))
    return Writer(run=run, job=parts["by_job"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedComment:
    """An existing comment of this tool on a pull request."""

    id: int
    url: str
    marker: Marker

    def __post_init__(self) -> None:
        require_at_least(1, id=self.id)


@dataclass(frozen=True, slots=True)
class Create:
    """Post a new comment."""


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the body of a comment with the result of this run."""

    comment: PostedComment


@dataclass(frozen=True, slots=True)
class Keep:
    """Write nothing."""

    reason: str
    remedy: str | None = None
    """How to get a comment; None where none is expected."""

    def __post_init__(self) -> None:
        require_text(reason=self.reason)


CommentAction: TypeAlias = Create | Update | Keep


def no_comment_reason(run: CiRun) -> str | None:
    """Return why a run cannot have a comment on a pull request, or None."""
    if run.from_workflow_run:
        if run.head_owner and run.head_branch:
            return None
        return "GitHub does not name the branch of the run; its fork may be deleted"
    if run.pull_request is not None:
        return None
    if run.is_gitlab:
        return f"only a merge request pipeline has one, and this is of {run.event or 'no source'}"
    if run.event == "pull_request":
        return "the pull_request event does not name its pull request"
    return f"only a run of the event pull_request has one, and this is of {run.event or 'no event'}"


def action_for(mode: CommentMode, *, posted: PostedComment | None, ours: Marker) -> CommentAction:
    """Return what to do with the existing comment of this gate, if there is one."""
    if mode is CommentMode.NEVER:
        return Keep("comments are turned off")
    if posted is not None:
        return _over(posted, ours)
    if ours.state is CommentState.RUNNING:
        return Keep("there is no earlier comment to mark as outdated")
    if mode is CommentMode.AUTO and ours.state is CommentState.PASSED:
        return Keep("everything passed, and there is no earlier comment to update")
    return Create()


def _over(posted: PostedComment, ours: Marker) -> CommentAction:
    if posted.marker.run > ours.run:
        return Keep("a later run has already published its result")
    if posted.marker.rank > ours.rank:
        return Keep(
            f"this run has already published its result, {posted.marker.state.value}",
            remedy="give each gate in a workflow its own artifact-name",
        )
    return Update(posted)
