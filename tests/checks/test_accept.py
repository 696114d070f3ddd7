"""The result that a comment may accept, with a GitHub in memory."""

from dataclasses import dataclass, field, replace

import pytest

from repro_gate.checks.accept import FoundResult, find_result
from repro_gate.core.acceptance.request import (
    AcceptComment,
    HeadRun,
    PullHead,
    ReportArtifact,
    Wanted,
)
from repro_gate.core.comments import RunId
from repro_gate.errors import AcceptRefused
from tests.fakes.acceptance import ARTIFACT, COMMENT, PULL, RUN


@dataclass(kw_only=True)
class _MemoryHeads:
    """One pull request with one run, and everything that was asked."""

    permission: str = "write"
    head: PullHead = PULL
    run: HeadRun | None = RUN
    artifact: ReportArtifact | None = ARTIFACT
    asked: list[object] = field(default_factory=list[object])

    def permission_of(self, login: str, user_id: int) -> str:
        self.asked.append((login, user_id))
        return self.permission

    def head_of(self, pull_request: int) -> PullHead:
        self.asked.append(pull_request)
        return self.head

    def run_of(self, head: PullHead, workflow: str) -> HeadRun | None:
        self.asked.append((head.sha, workflow))
        return self.run

    def artifact_of(self, run: HeadRun, name: str) -> ReportArtifact | None:
        self.asked.append((run.id, name))
        return self.artifact


def _found(heads: _MemoryHeads, comment: AcceptComment = COMMENT) -> FoundResult:
    return find_result(
        comment, heads, repository="octo/gate", workflow="gate.yml", name="repro-gate"
    )


def test_the_result_is_that_of_the_head() -> None:
    """Each step is about what the step before has found."""
    heads = _MemoryHeads()

    found = _found(heads)

    assert found == FoundResult(
        wanted=Wanted(cause="1a2b3c4d"), head=PULL, run=RUN, artifact=ARTIFACT
    )
    assert heads.asked == [
        ("maintainer", 77),
        7,
        ("c" * 40, "gate.yml"),
        (RunId(5, 1), "repro-gate"),
    ]


@pytest.mark.parametrize(
    ("heads", "reason"),
    [
        (_MemoryHeads(permission="read"), "no write access"),
        (_MemoryHeads(head=replace(PULL, repository="mallory/gate")), "fork"),
        (_MemoryHeads(run=None), "was not run"),
        (_MemoryHeads(artifact=None), "no artifact"),
    ],
)
def test_each_step_can_refuse(heads: _MemoryHeads, reason: str) -> None:
    """And nothing is asked after it."""
    with pytest.raises(AcceptRefused, match=reason):
        _found(heads)


def test_a_stranger_learns_nothing_from_a_wrong_comment() -> None:
    """Who may ask is decided before what is asked."""
    comment = replace(COMMENT, body="/repro-gate accept ;")

    with pytest.raises(AcceptRefused, match="no write access"):
        _found(_MemoryHeads(permission="none"), comment)
    with pytest.raises(AcceptRefused, match="not understood"):
        _found(_MemoryHeads(), comment)
