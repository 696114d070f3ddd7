"""The script that keeps the nights on a branch, with a real git and a program that adds files."""

import base64
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.action.act.repositories import commit, git
from tests.action.files import ROOT, jobs_of, steps_of
from tests.fakes.github.world import OF_JOB

_NIGHTLY = ROOT / ".github" / "workflows" / "nightly.yml"
_STEP = "Add the night to the branch repro-gate-history"
_BRANCH = "repro-gate-history"
_ARTIFACT = "nightly-session-1"
_HEADER = base64.b64encode(f"x-access-token:{OF_JOB}".encode()).decode()
_ADD = """\
[[ $* == "-I -m repro_gate history add --history $RUNNER_TEMP/history "* ]] || exit 2
source="${!#}"
[[ ! -e $source/refused ]] || exit 3
find "$source" -type d -name nights -exec cp -R {} "$RUNNER_TEMP/history" ';'
touch "$RUNNER_TEMP"/history/index.{lock,sqlite,sqlite-wal}
[[ ! -x $RUNNER_TEMP/meanwhile ]] || "$RUNNER_TEMP/meanwhile"
"""


@dataclass(frozen=True, slots=True)
class Nightly:
    """The job that keeps the history: a checkout of a repository, and its runner's folder."""

    folder: Path

    @property
    def remote(self) -> Path:
        """The repository on the server."""
        return self.folder / "remote.git"

    def install(self, name: str, script: str) -> None:
        """Write a program."""
        program = self.folder / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/usr/bin/env bash\n{script}", "utf-8")
        program.chmod(0o755)

    def run(self, *nights: str, refused: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """Add the sessions of some nights as the runner would; some sources are refused."""
        shutil.rmtree(self.folder / "sessions", ignore_errors=True)
        for name in refused:
            (self.folder / "sessions" / name).mkdir(parents=True, exist_ok=True)
            (self.folder / "sessions" / name / "refused").touch()
        for night in nights:
            file = self.folder / "sessions" / _ARTIFACT / "nights" / night
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(night, "utf-8")
        (script,) = (step.run for step in steps_of(_NIGHTLY) if step.name == _STEP)
        bash = shutil.which("bash")
        assert bash is not None
        return subprocess.run(
            [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder / "checkout",
            env=self._environment(),
            capture_output=True,
            check=False,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'programs'}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_RUN_ID": "7",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_SERVER_URL": "https://github.com",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "TOKEN": OF_JOB,
        }

    def kept(self) -> list[str]:
        """Return the files on the branch."""
        return git(self.remote, "ls-tree", "-r", "--name-only", _BRANCH).split("\n")

    def subjects(self) -> list[str]:
        """Return the subjects of the commits on the branch, the latest first."""
        return git(self.remote, "log", "--format=%s", _BRANCH).split("\n")


@pytest.fixture
def nightly(tmp_path: Path) -> Nightly:
    """Return the job of a repository without a history."""
    made = Nightly(tmp_path)
    (tmp_path / "remote.git").mkdir()
    git(made.remote, "init", "--quiet", "--bare", "--initial-branch=main")
    (tmp_path / "checkout").mkdir()
    commit(tmp_path / "checkout")
    git(tmp_path / "checkout", "remote", "add", "origin", str(made.remote))
    git(tmp_path / "checkout", "push", "--quiet", "origin", "main")
    made.install("tool/bin/python", _ADD)
    made.install("programs/sleep", 'echo "$1" >>"$RUNNER_TEMP/slept"')
    return made


def test_the_first_night_makes_a_branch_of_its_own(nightly: Nightly) -> None:
    """It has the nights and nothing else: neither the index nor the history of the code."""
    done = nightly.run("2026-11-01.gz")

    assert (done.returncode, done.stderr) == (0, "")
    assert nightly.kept() == ["nights/2026-11-01.gz"]
    assert nightly.subjects() == ["Night of run 7, attempt 1"]


def test_a_night_is_added_to_those_that_are_kept(nightly: Nightly) -> None:
    """The branch grows by one commit."""
    nightly.run("2026-11-01.gz")

    done = nightly.run("2026-11-02.gz")

    assert done.returncode == 0, done.stderr
    assert nightly.kept() == ["nights/2026-11-01.gz", "nights/2026-11-02.gz"]
    assert len(nightly.subjects()) == 2


@pytest.mark.parametrize("nights", [("2026-11-01.gz",), ()], ids=["the same", "none"])
def test_without_a_new_night_there_is_no_commit(nightly: Nightly, nights: tuple[str, ...]) -> None:
    """Also when nothing was drawn, and the artifact is missing."""
    nightly.run("2026-11-01.gz")

    done = nightly.run(*nights)

    assert (done.returncode, done.stdout) == (0, "There is nothing new.\n")
    assert len(nightly.subjects()) == 1


def test_a_run_that_was_first_loses_nothing(nightly: Nightly) -> None:
    """The push is rejected, and the night is added again to what the other run has left."""
    nightly.run("2026-11-01.gz")
    other = (
        'rm "$0"; git clone --quiet --branch repro-gate-history "$RUNNER_TEMP/remote.git" '
        '"$RUNNER_TEMP/other"; cd "$RUNNER_TEMP/other"; echo x >nights/of-another-run.gz; '
        "git add --all; git -c user.name=x -c user.email=x commit --quiet -m other; git push -q"
    )
    nightly.install("meanwhile", other)

    done = nightly.run("2026-11-02.gz")

    assert done.returncode == 0, done.stderr
    assert nightly.subjects() == ["Night of run 7, attempt 1", "other", "Night of run 7, attempt 1"]
    assert "nights/of-another-run.gz" in nightly.kept()
    assert (nightly.folder / "slept").read_text() == "5\n"


def test_a_branch_that_cannot_be_written_fails_the_job(nightly: Nightly) -> None:
    """After five attempts; the branch is never forced."""
    nightly.run("2026-11-01.gz")
    nightly.install("remote.git/hooks/pre-receive", "exit 1")

    done = nightly.run("2026-11-02.gz")

    assert done.returncode == 1
    assert done.stdout.endswith("could not be added to the branch repro-gate-history\n")
    assert nightly.kept() == ["nights/2026-11-01.gz"]
    assert (nightly.folder / "slept").read_text().split() == ["5", "10", "20", "40", "0"]


def test_a_server_that_does_not_answer_is_no_empty_history(nightly: Nightly) -> None:
    """Only a server that answers can have no branch yet."""
    nightly.remote.rename(nightly.folder / "gone")

    done = nightly.run("2026-11-01.gz")

    assert done.returncode == 128
    assert not (nightly.folder / "history" / "nights").exists()


def test_sessions_that_are_refused_are_not_pushed(nightly: Nightly) -> None:
    """The job fails with the exit code of the command."""
    done = nightly.run("2026-11-01.gz", refused=[_ARTIFACT, "."])

    assert done.returncode == 3
    assert git(nightly.remote, "branch", "--list", _BRANCH) == ""


def test_a_broken_report_of_the_check_costs_no_night(nightly: Nightly) -> None:
    """The night is kept, and the job fails all the same."""
    done = nightly.run("2026-11-01.gz", refused=["."])

    assert done.returncode == 3
    assert nightly.kept() == ["nights/2026-11-01.gz"]


def test_the_token_is_on_no_command_line(nightly: Nightly) -> None:
    """Git gets it in its environment, for the server only, and nothing prints it."""
    program = shutil.which("git")
    env = 'env | grep ^GIT_CONFIG_[KV] >>"$RUNNER_TEMP/env"'
    nightly.install(
        "programs/git",
        f'{env}\nenv | grep ^TOKEN && exit 9\necho "$*" >>"$RUNNER_TEMP/argv"\n'
        f'exec {program} "$@"\n',
    )

    done = nightly.run("2026-11-01.gz")

    argv, seen = ((nightly.folder / name).read_text() for name in ("argv", "env"))
    assert done.returncode == 0, done.stderr
    assert f"GIT_CONFIG_VALUE_0=Authorization: Basic {_HEADER}\n" in seen
    assert "GIT_CONFIG_KEY_0=http.https://github.com/.extraHeader\n" in seen
    assert not any(secret in argv + done.stdout + done.stderr for secret in (OF_JOB, _HEADER))
    assert "push" in argv
    assert "--force" not in argv


def test_the_job_that_writes_has_no_key() -> None:
    """And the one with the key cannot write."""
    hosted, history = (jobs_of(_NIGHTLY)[name] for name in ("hosted", "history"))
    assert "secrets." in str(hosted)
    assert hosted["permissions"] == {"contents": "read"}
    assert "secrets." not in str(history)
    assert "environment" not in history


def test_a_finding_of_the_check_loses_no_night() -> None:
    """All steps after the check run unless the job is cancelled."""
    _, check, *later = jobs_of(_NIGHTLY)["hosted"]["steps"]
    assert check["uses"] == "./"
    assert {step["if"] for step in later} == {"${{ !cancelled() }}"}


def test_the_state_is_reported_before_it_fails_the_job() -> None:
    """The issue and the page come first, whatever happened to the branch."""
    steps = jobs_of(_NIGHTLY)["history"]["steps"]
    names = [step.get("name") for step in steps[-4:]]
    assert names == ["Draw the page", None, "Open, update or close the issue", "Judge all nights"]
    assert {step["if"] for step in steps[-4:]} == {"${{ !cancelled() }}"}
