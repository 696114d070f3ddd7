"""What a comment may ask for, and what may be accepted."""

from dataclasses import replace

import pytest

from repro_gate.core.acceptance.request import (
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
from repro_gate.errors import AcceptRefused
from tests.fakes.acceptance import ARTIFACT, COMMENT, PULL, RUN


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("/repro-gate accept", Wanted()),
        ("/repro-gate accept\r\nThe new kernel is intended.", Wanted()),
        ("  /repro-gate  accept  ", Wanted()),
        ("/repro-gate accept tiny--*", Wanted(only="tiny--*")),
        ("/repro-gate accept [ab]--*--seed?", Wanted(only="[ab]--*--seed?")),
        ("/repro-gate accept --cause 1a2b3c4d", Wanted(cause="1a2b3c4d")),
    ],
)
def test_the_first_line_names_what_is_wanted(body: str, wanted: Wanted) -> None:
    """Everything, a pattern of cells, or a cause."""
    assert wanted_by(body) == wanted


@pytest.mark.parametrize(
    "body",
    [
        "",
        "Please:\n/repro-gate accept",
        "> /repro-gate accept",
        "/repro-gate acceptance",
        "/repro-gate accept a b",
        "/repro-gate accept --cause",
        "/repro-gate accept --cause 1A2B3C4D",
        "/repro-gate accept --cause=1a2b3c4d",
        "/repro-gate accept --yes",
        "/repro-gate accept $(reboot)",
        "/repro-gate accept a;b",
        "/repro-gate accept ../x",
        f"/repro-gate accept {'a' * 300}",
    ],
)
def test_anything_else_is_refused(body: str) -> None:
    """With the form that a comment has; nothing is guessed."""
    with pytest.raises(AcceptRefused, match="not understood") as caught:
        wanted_by(body)
    assert "/repro-gate accept --cause ID" in caught.value.remedy


@pytest.mark.parametrize("permission", ["admin", "maintain", "write"])
def test_whoever_can_write_may_accept(permission: str) -> None:
    """As with a push."""
    require_writer(permission)


@pytest.mark.parametrize("permission", ["read", "triage", "none", "", "WRITE"])
def test_nobody_else_may_accept(permission: str) -> None:
    """What is not known to write does not."""
    with pytest.raises(AcceptRefused, match="no write access"):
        require_writer(permission)


def test_a_branch_of_the_repository_may_be_pushed_to() -> None:
    """GitHub's names are the same in any case."""
    require_own_branch(PULL, "Octo/Gate")


@pytest.mark.parametrize(
    ("pull", "reason"),
    [
        (replace(PULL, is_open=False), "closed"),
        (replace(PULL, repository="mallory/gate"), "fork"),
        (replace(PULL, repository=None), "fork"),
        (replace(PULL, branch="main"), "default branch"),
    ],
)
def test_no_other_branch_is_pushed_to(pull: PullHead, reason: str) -> None:
    """Neither that of a fork, nor the default branch without a review."""
    with pytest.raises(AcceptRefused, match=reason):
        require_own_branch(pull, "octo/gate")


def test_a_finished_run_has_a_result() -> None:
    """Whatever it concluded."""
    assert require_finished(RUN, "gate.yml") is RUN


@pytest.mark.parametrize(
    ("run", "reason"),
    [(None, "gate.yml was not run"), (replace(RUN, is_completed=False), "not finished")],
)
def test_without_a_finished_run_nothing_is_accepted(run: HeadRun | None, reason: str) -> None:
    """The head has moved, or its check has not ended."""
    with pytest.raises(AcceptRefused, match=reason):
        require_finished(run, "gate.yml")


def test_a_report_that_is_older_than_the_comment_was_seen() -> None:
    """In the same second too."""
    assert require_report(ARTIFACT, COMMENT) is ARTIFACT


@pytest.mark.parametrize(
    ("artifact", "reason"),
    [
        (None, "no artifact"),
        (replace(ARTIFACT, is_expired=True), "expired"),
        (replace(ARTIFACT, size_bytes=1 << 30), "more than 536870912 bytes"),
        (replace(ARTIFACT, created_at="2025-01-02T03:04:06Z"), "newer than the comment"),
    ],
)
def test_a_report_that_was_not_seen_is_not_accepted(
    artifact: ReportArtifact | None, reason: str
) -> None:
    """Missing, expired, too large, or made after the comment."""
    with pytest.raises(AcceptRefused, match=reason):
        require_report(artifact, COMMENT)


def test_a_comment_has_an_author_and_a_time() -> None:
    """An empty login would be asked for as another path."""
    with pytest.raises(ValueError, match="login must not be empty"):
        replace(COMMENT, login="")
