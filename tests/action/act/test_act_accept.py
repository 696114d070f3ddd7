"""A comment on a pull request records its goldens, and the next check of it is green."""

import itertools
import os
import re
import shutil
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from repro_gate.core.comments import DEFAULT_NAME
from tests.action.act.callers import CELL, PROFILE, Caller
from tests.action.act.repositories import PROJECT, git
from tests.action.act.scenes import Scene, Stage
from tests.fakes.github.world import MAINTAINER, STRANGER, Account, Artifact, Run

pytestmark = pytest.mark.act

_WORKFLOW = ".github/workflows/accept.yml"
_GATE = ".github/workflows/gate.yml"
_EXAMPLE = PROJECT / "docs" / "examples" / "accept" / "report.md"
_COMMAND = "`REPRO_GATE_RECORD_EXAMPLE=1 make action`"
_GOLDEN = f"snapshots/goldens/{PROFILE}/{CELL}.json"
_INSTALL = re.compile(r" {10}python3 -m venv .*?site-packages/\n", re.DOTALL)
_LINK = f"""\
          mkdir -p "$RUNNER_TEMP/tool/bin"
          printf '#!/bin/sh\\nexec {sys.executable} "$@"\\n' >"$RUNNER_TEMP/tool/bin/python"
          chmod +x "$RUNNER_TEMP/tool/bin/python"
"""
_IDS = itertools.count(20)
_CHECKED_AT, _LATER = "2025-01-02T03:04:05Z", "2025-01-02T03:14:05Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """A pull request whose check has found drift, and the repository that it would be pushed to."""

    stage: Stage
    remote: Path
    check: Scene

    def ask(
        self,
        body: str = "/repro-gate accept",
        *,
        by: Account = MAINTAINER,
        created_at: str = _LATER,
    ) -> Scene:
        """Comment as somebody."""
        return self.stage.comment(next(_IDS), body, by=by, created_at=created_at)

    @property
    def branch(self) -> str:
        """The commit of the branch on the server."""
        return git(self.remote, "rev-parse", "topic")


@pytest.fixture(scope="module")
def drifted_once(
    staged: Callable[..., AbstractContextManager[Stage]],
    recorded: Caller,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Drifted]:
    """Give a drifted pull request, in a repository with the workflow that accepts."""
    caller = recorded.copied_to(tmp_path_factory.mktemp("accepting"))
    shutil.copy2(PROJECT / _WORKFLOW, caller.folder / _WORKFLOW)
    # What installs is that of the release, which is tested as it is.
    (install,) = set(_INSTALL.findall((caller.folder / _WORKFLOW).read_text("utf-8")))
    caller.edit(_WORKFLOW, install, _LINK)
    caller.edit(
        ".github/workflows/gate.yml", "accelerator: none", "accelerator: none, accept: true"
    )
    remote = tmp_path_factory.mktemp("remote")
    git(remote, "init", "--quiet", "--bare")
    with staged(caller=caller) as usual:
        stage = replace(usual, runner=replace(usual.runner, remote=remote))
        check = stage.play(1, Caller.tamper)
        git(caller.folder, "push", "--quiet", str(remote), "HEAD:refs/heads/topic")
        world = stage.github.world
        world.permissions["maintainer"] = "write"
        world.runs.append(Run(id=1, sha=world.pulls[7].sha))
        id = stage.runner.artifact_id(1, DEFAULT_NAME)
        world.artifacts.append(Artifact(id=id, run=1, created_at=_CHECKED_AT))
        yield Drifted(stage=stage, remote=remote, check=check)


@pytest.fixture
def drifted(drifted_once: Drifted) -> Generator[Drifted]:
    """Give it as its check has left it."""
    pulls = drifted_once.stage.github.world.pulls
    before, head = pulls[7], drifted_once.branch
    yield drifted_once
    pulls[7] = before
    git(drifted_once.remote, "update-ref", "refs/heads/topic", head)
    git(drifted_once.stage.caller.folder, "reset", "--quiet", "--hard", head)


def test_an_accepted_drift_is_a_commit_and_green(drifted: Drifted) -> None:
    """One commit with the golden and nothing else, and an answer that names it."""
    stage, head = drifted.stage, drifted.branch
    (reply,) = re.findall(r"^/repro-gate accept --cause \w+$", drifted.check.comment, re.MULTILINE)

    accepted = drifted.ask(reply)
    commit = drifted.branch
    git(stage.caller.folder, "pull", "--quiet", str(drifted.remote), "topic")
    again = stage.play(3)

    assert drifted.check.log.results == {"gate": "failure"}
    assert set(accepted.log.results.values()) == {"success"}, accepted.log.text
    assert git(drifted.remote, "log", "--format=%H", f"{head}..topic") == commit
    assert git(drifted.remote, "diff", "--name-only", head, "topic") == _GOLDEN
    message = git(drifted.remote, "log", "-1", "--format=%B", "topic")
    assert "Accepted-by: maintainer\n" in message
    answer = accepted.comments[-1].body
    assert f"### ✅ Accepted as [`{commit[:7]}`]" in answer
    assert again.log.results == {"gate": "success"}
    shown = [drifted.check.comment, reply, message, answer]
    report = _report(*shown, jobs=accepted.log.results, check=again.log.results).replace(
        commit, "c" * 40
    )
    report = report.replace(commit[:7], "ccccccc")
    if os.environ.get("REPRO_GATE_RECORD_EXAMPLE"):
        _EXAMPLE.write_text(report, "utf-8")
    assert report == _EXAMPLE.read_text("utf-8")


def test_without_write_access_nothing_is_recorded(drifted: Drifted) -> None:
    """Whoever may comment may ask, and gets the reason of a refusal."""
    _refused(drifted, drifted.ask(by=STRANGER), "no write access")


def test_a_fork_is_refused(drifted: Drifted) -> None:
    """Its artifact is what its author likes."""
    pulls = drifted.stage.github.world.pulls
    pulls[7] = replace(pulls[7], owner="visitor")

    _refused(drifted, drifted.ask(), "from a fork")


def test_a_head_that_was_not_checked_is_refused(drifted: Drifted) -> None:
    """A commit was pushed after the check."""
    drifted.stage.push()

    _refused(drifted, drifted.ask(), "was not run for the head")


def test_a_head_that_moves_meanwhile_is_refused(drifted: Drifted) -> None:
    """Between the recording and the push."""
    folder = drifted.stage.caller.folder
    git(folder, "commit", "--quiet", "--allow-empty", "--message=meanwhile")
    git(folder, "push", "--quiet", str(drifted.remote), "HEAD:refs/heads/topic")

    _refused(drifted, drifted.ask(), "the branch has moved", record="success", push="failure")


def test_other_comments_start_nothing(drifted: Drifted) -> None:
    """Neither a job nor an answer."""
    scene = drifted.ask("Shall we /repro-gate accept this?")

    assert scene.log.results == {}
    assert [one for one in scene.comments if one.author == MAINTAINER] == []


def _report(
    comment: str,
    reply: str,
    message: str,
    answer: str,
    *,
    jobs: Mapping[str, str],
    check: Mapping[str, str],
) -> str:
    """Return the page of the documentation: what was shown, asked, done and answered."""
    offer = comment[comment.index("The observed goldens") : comment.index("`repro-gate explain")]
    blocks = [
        "# An accepted drift",
        f"Recorded by {_COMMAND}, with the engine of [`markov`](../markov/repro-gate.toml).",
        "## What the comment of the gate offers",
        offer.strip(),
        "## The reply",
        f"```text\n{reply}\n```",
        "## The jobs",
        "\n".join(f"- `{job}`: {result}" for job, result in jobs.items()),
        "## The commit",
        f"```text\n{message.strip()}\n\n{_GOLDEN}\n```",
        "## The answer",
        re.sub(r"(?<=[Rr]un[ =])\d+|(?<=runs/)\d+", "20", answer).strip(),
        "## The next check",
        "\n".join(f"- `{job}`: {result}" for job, result in check.items()),
    ]
    return "\n\n".join(blocks) + "\n"


def _refused(
    drifted: Drifted, scene: Scene, reason: str, *, record: str = "failure", push: str | None = None
) -> None:
    """Assert that nothing was pushed, and that the last comment has the reason."""
    pushed = {} if push is None else {"push": push}
    assert scene.log.results == {"record": record, **pushed, "answer": "success"}, scene.log.text
    answer = scene.comments[-1].body
    assert "Nothing was" in answer
    assert reason in answer
    subjects = git(drifted.remote, "log", "--format=%s", "topic")
    assert "Accept" not in subjects
