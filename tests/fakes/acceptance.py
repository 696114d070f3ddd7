"""A comment that asks to accept a change, and the checked pull request it is on."""

from repro_gate.core.acceptance.request import AcceptComment, HeadRun, PullHead, ReportArtifact
from repro_gate.core.comments import RunId

COMMENT = AcceptComment(
    pull_request=7,
    login="maintainer",
    user_id=77,
    created_at="2025-01-02T03:04:05Z",
    body="/repro-gate accept --cause 1a2b3c4d",
)
PULL = PullHead(
    number=7,
    is_open=True,
    sha="c" * 40,
    branch="topic",
    repository="octo/gate",
    default_branch="main",
)
RUN = HeadRun(id=RunId(5, 1), is_completed=True)
ARTIFACT = ReportArtifact(
    id=9, size_bytes=1000, is_expired=False, created_at="2025-01-02T03:04:05Z"
)
