"""The nightly workflow: one job draws with the key, another one writes history and issue."""

import re
import shutil
import sys
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.watch_example import FOLDER, HISTORY, HOST, MATRIX, simulated
from repro_gate.core.comments import RunId
from tests.action.act.callers import Caller
from tests.action.act.conftest import RunnerMaker
from tests.action.act.events import dispatch
from tests.action.act.log import Log
from tests.action.act.repositories import copy_of_project, git
from tests.action.act.runner import Runner
from tests.fakes.fireworks.server import Api
from tests.fakes.github.server import Github, serving

pytestmark = pytest.mark.act

_BRANCH = "repro-gate-history"
_WORKFLOW = ".github/workflows/nightly.yml"
_INSTALL = re.compile(r" {10}python3 -m venv .*?site-packages/\n", re.DOTALL)
_LINK = f"""\
          mkdir -p "$RUNNER_TEMP/tool/bin"
          printf '#!/bin/sh\\nexec {sys.executable} "$@"\\n' >"$RUNNER_TEMP/tool/bin/python"
          chmod +x "$RUNNER_TEMP/tool/bin/python"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """This repository with a suite that is watched, its service, a runner and a GitHub."""

    caller: Caller
    runner: Runner
    github: Github

    def run(self, number: int) -> Log:
        """Run the workflow, as somebody who starts it by hand."""
        return self.runner.run(
            self.caller.folder,
            "nightly.yml",
            dispatch(),
            id=RunId(number, 1),
            variables={"GATE_HOSTED": "true"},
        )

    def kept(self) -> list[str]:
        """Return the files on the branch of the history."""
        return git(self.caller.folder, "ls-tree", "-r", "--name-only", _BRANCH).split("\n")


@pytest.fixture
def api() -> Generator[Api]:
    """Give the service of the example, before its change."""
    with simulated() as server:
        yield server


@pytest.fixture
def nightly(tmp_path: Path, api: Api, runner_for: RunnerMaker) -> Generator[Nightly]:
    """Give the repository with the watch of the example, which has no history yet."""
    caller = Caller(copy_of_project(tmp_path / "project"))
    shutil.rmtree(caller.folder / "snapshots")
    shutil.copytree(FOLDER / "snapshots", caller.folder / "snapshots")
    shutil.copy2(FOLDER / MATRIX, caller.folder)
    caller.edit(MATRIX, HOST, api.host)
    # What installs is that of the release, which is tested as it is.
    (install,) = set(_INSTALL.findall((caller.folder / _WORKFLOW).read_text("utf-8")))
    caller.edit(_WORKFLOW, install, _LINK)
    caller.commit()
    with serving() as github:
        secrets = {"FIREWORKS_API_KEY": api.key}
        runner = replace(runner_for(github), secrets=secrets)
        yield Nightly(caller=caller, runner=runner, github=github)


def test_a_first_night_is_kept_on_a_branch_of_its_own(nightly: Nightly) -> None:
    """The check passes, the watch learns, the page is uploaded, and no issue is opened."""
    log = nightly.run(1)

    assert log.results == {"hosted models": "success", "history": "success"}, log.text
    night, check = sorted(nightly.kept(), reverse=True)
    assert night.startswith("nights/hosted/")
    assert night.endswith("-1-1.jsonl.gz")
    assert check.startswith("checks/")
    page = nightly.runner.artifact(1, "history") / "history.html"
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert nightly.github.world.issues == {}
    assert "FIREWORKS" not in git(nightly.caller.folder, "log", "-p", _BRANCH)


def test_a_change_in_the_history_opens_an_issue_and_fails_the_job(nightly: Nightly) -> None:
    """Also the second run, which leaves the branch as the first one made it, and one issue."""
    folder = nightly.caller.folder
    git(folder, "checkout", "--quiet", "--orphan", _BRANCH)
    git(folder, "rm", "-r", "--quiet", "--force", ".")
    shutil.copytree(FOLDER / HISTORY, folder, dirs_exist_ok=True)
    git(folder, "add", "--all", "nights")
    git(folder, "commit", "--quiet", "--message=the nights so far")
    git(folder, "checkout", "--quiet", "--force", "main")

    logs = [nightly.run(1), nightly.run(2)]

    results = {"hosted models": "success", "history": "failure"}
    assert [log.results for log in logs] == [results, results], logs[0].text
    (issue,) = nightly.github.world.issues.values()
    assert (issue.title.partition(" since")[0], issue.is_open) == (
        "repro-gate watch hosted: drift",
        True,
    )
    assert nightly.github.world.comments == []
    subjects = git(folder, "log", "--format=%s", _BRANCH).split("\n")
    assert subjects == [
        "Night of run 2, attempt 1",
        "Night of run 1, attempt 1",
        "the nights so far",
    ]
