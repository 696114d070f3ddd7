"""Find the result that a comment on a pull request asks to accept."""

from dataclasses import dataclass

from repro_gate.core.acceptance.request import (
    AcceptComment,
    HeadRun,
    PullHead,
    ReportArtifact,
    Wanted,
    require_finished,
    require_own_branch,
    require_report,
    require_writer,
    wanted_by,
)
from repro_gate.ports.github import CheckedHeads


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundResult:
    """The result of the head of a pull request that a comment may accept."""

    wanted: Wanted
    head: PullHead
    run: HeadRun
    artifact: ReportArtifact


def find_result(
    comment: AcceptComment, heads: CheckedHeads, *, repository: str, workflow: str, name: str
) -> FoundResult:
    """Return the result that a comment may accept.

    Args:
        comment: asks for it.
        heads: the pull requests and runs of the repository.
        repository: `owner/name`.
        workflow: the file name of the workflow that runs the gate.
        name: of its artifact.

    Raises:
        AcceptRefused: nothing may be accepted; it has the reason and what to do.
        PublishFailed: GitHub did not answer.
    """
    # First, so that nobody without write access learns or starts anything.
    require_writer(heads.permission_of(comment.login, comment.user_id))
    wanted = wanted_by(comment.body)
    head = heads.head_of(comment.pull_request)
    require_own_branch(head, repository)
    run = require_finished(heads.run_of(head, workflow), workflow)
    artifact = require_report(heads.artifact_of(run, name), comment)
    return FoundResult(wanted=wanted, head=head, run=run, artifact=artifact)
