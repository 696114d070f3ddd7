"""The script that pushes accepted goldens, with a real git and whatever the other job left."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.action.act.repositories import commit, git
from tests.action.files import ROOT, steps_of
from tests.fakes.github.world import OF_JOB

_WORKFLOW = ROOT / ".github" / "workflows" / "accept.yml"
_GOLDEN = "snapshots/goldens/cpu/tiny--fox--seed1.json"
_MESSAGE = "Accept the output of the gate\n\nAccepted-by: maintainer\n"


@dataclass(frozen=True, slots=True)
class Push:
    """The job that pushes: its runner's folder, and the repository on the server."""

    folder: Path

    @property
    def remote(self) -> Path:
        """The repository on the server."""
        return self.folder / "octo" / "gate"

    @property
    def files(self) -> Path:
        """What the other job has recorded."""
        return self.folder / "accepted" / "files"

    def write(self, name: str, text: str = "{}\n") -> None:
        """Record a file."""
        (self.files / name).parent.mkdir(parents=True, exist_ok=True)
        (self.files / name).write_text(text, "utf-8")

    def list(self, *names: str) -> str:
        """Write the list of files with their digests, and return the digest of the list."""
        sums = "".join(f"{_sha256(self.files / name)}  {name}\n" for name in names)
        (self.folder / "accepted" / "sha256sums.txt").write_text(sums, "utf-8")
        (self.folder / "accepted" / "message.txt").write_text(_MESSAGE, "utf-8")
        return hashlib.sha256(sums.encode()).hexdigest()

    def run(self, sums: str, *, head: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Push as the runner would, to the head that was recorded."""
        shutil.rmtree(self.folder / "branch.git", ignore_errors=True)
        (script,) = (step.run for step in steps_of(_WORKFLOW) if step.name == "Push one commit")
        bash = shutil.which("bash")
        assert bash is not None
        environment = {
            "PATH": f"{self.folder / 'programs'}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_REPOSITORY": "octo/gate",
            "GITHUB_SERVER_URL": str(self.folder),
            "RUNNER_TEMP": str(self.folder),
            "BRANCH": "topic",
            "HEAD": head or self.tip,
            "SNAPSHOTS": "snapshots",
            "STARTS_CHECKS": "false",
            "SUMS": sums,
            "TOKEN": OF_JOB,
        }
        return subprocess.run(
            [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            check=False,
            text=True,
        )

    @property
    def tip(self) -> str:
        """The commit of the branch."""
        return git(self.remote, "rev-parse", "topic")

    @property
    def output(self) -> str:
        """The outputs of the step."""
        file = self.folder / "output"
        return file.read_text("utf-8") if file.exists() else ""


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "0" * 64


@pytest.fixture
def push(tmp_path: Path) -> Push:
    """Return the job of a pull request whose branch has one commit with two files."""
    made = Push(tmp_path)
    made.remote.mkdir(parents=True)
    git(made.remote, "init", "--quiet", "--bare")
    checkout = tmp_path / "checkout"
    (checkout / "snapshots").mkdir(parents=True)
    (checkout / "README.md").touch()
    (checkout / "snapshots" / "models.json").write_text("{}", "utf-8")
    commit(checkout)
    git(checkout, "push", "--quiet", str(made.remote), "HEAD:refs/heads/topic")
    return made


def test_the_files_become_one_commit(push: Push) -> None:
    """On top of the head, with the message of the other job; nothing else changes."""
    head = push.tip
    push.write(_GOLDEN)
    push.write("snapshots/models.json", '{"a": 1}')

    ran = push.run(push.list(_GOLDEN, "snapshots/models.json"))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert git(push.remote, "rev-parse", "topic~1") == head
    assert git(push.remote, "log", "-1", "--format=%B", "topic") == _MESSAGE.strip()
    assert git(push.remote, "diff", "--name-status", head, "topic").split("\n") == [
        f"A\t{_GOLDEN}",
        "M\tsnapshots/models.json",
    ]
    assert push.output == f"commit={push.tip}\nstarts-checks=false\n"
    assert git(push.remote, "show", f"topic:{_GOLDEN}") == "{}"


@pytest.mark.parametrize(
    "name",
    [
        ".github/workflows/gate.json",
        "snapshots.json",
        "snapshotsx/a.json",
        "snapshots/a.sh",
        "snapshots/.git/a.json",
        "snapshots/a b.json",
        "snapshots/-a.json",
    ],
)
def test_no_other_file_is_pushed(push: Push, name: str) -> None:
    """Outside of the folder, of another kind, or with an unusual name."""
    head = push.tip
    push.write(name)

    ran = push.run(push.list(name))

    assert ran.returncode == 1
    assert push.tip == head
    assert push.output.startswith("answer=❌ **Nothing was pushed**: a file is not below snapshots")


def test_a_path_that_leads_out_is_not_pushed(push: Push) -> None:
    """Its digest would be right."""
    head = push.tip
    push.write("snapshots/a.json")
    push.write("b.json")

    ran = push.run(push.list("snapshots/../b.json", "snapshots/a.json"))

    assert ran.returncode == 1
    assert push.tip == head


def test_a_link_is_not_pushed(push: Push) -> None:
    """It could show any file of the runner."""
    head = push.tip
    push.write("snapshots/a.json")
    (push.files / "snapshots" / "b.json").symlink_to("/etc/hostname")

    ran = push.run(push.list("snapshots/a.json", "snapshots/b.json"))

    assert ran.returncode == 1
    assert push.tip == head


@pytest.mark.parametrize("change", ["content", "list", "unlisted"])
def test_what_was_not_recorded_is_not_pushed(push: Push, change: str) -> None:
    """A file, the list or the number of files is another than the other job has seen."""
    head = push.tip
    push.write(_GOLDEN)
    sums = push.list(_GOLDEN)
    if change == "content":
        push.write(_GOLDEN, "{} ")
    elif change == "list":
        push.write("snapshots/b.json")
        push.list(_GOLDEN, "snapshots/b.json")
    else:
        push.write("snapshots/b.json")

    ran = push.run(sums)

    assert ran.returncode == 1
    assert push.tip == head


def test_a_branch_that_moved_is_left_alone(push: Push) -> None:
    """Somebody pushed after the recording."""
    head = push.tip
    git(push.folder / "checkout", "commit", "--quiet", "--allow-empty", "--message=more")
    git(push.folder / "checkout", "push", "--quiet", str(push.remote), "HEAD:refs/heads/topic")
    moved = push.tip
    push.write(_GOLDEN)

    ran = push.run(push.list(_GOLDEN), head=head)

    assert (ran.returncode, push.tip) == (1, moved)
    assert "the branch has moved since the check" in push.output


def test_a_branch_that_was_deleted_is_not_made_again(push: Push) -> None:
    """The pull request was merged meanwhile."""
    head = push.tip
    git(push.remote, "update-ref", "-d", "refs/heads/topic")
    push.write(_GOLDEN)

    ran = push.run(push.list(_GOLDEN), head=head)

    assert ran.returncode == 1
    assert "the branch has moved since the check" in push.output
    assert git(push.remote, "branch", "--list") == ""


@pytest.mark.parametrize(
    "change", ["update-ref refs/heads/topic {}", "update-ref -d refs/heads/topic"]
)
def test_a_branch_that_changes_in_the_last_moment_is_left_alone(push: Push, change: str) -> None:
    """Reset to what it was before, or deleted, after the script has looked at it."""
    base = push.tip
    git(push.folder / "checkout", "commit", "--quiet", "--allow-empty", "--message=a secret")
    git(push.folder / "checkout", "push", "--quiet", str(push.remote), "HEAD:refs/heads/topic")
    push.write(_GOLDEN)
    # Without it, this server refuses what was fetched without its history.
    git(push.remote, "config", "receive.shallowUpdate", "true")
    wrapper, real = push.folder / "programs" / "git", shutil.which("git")
    wrapper.parent.mkdir()
    first = f"env -u GIT_DIR {real} -C {push.remote} {change.format(base)}"
    wrapper.write_text(f'#!/bin/sh\n[ "$1" != push ] || {first}\nexec {real} "$@"\n', "utf-8")
    wrapper.chmod(0o755)

    ran = push.run(push.list(_GOLDEN))

    assert ran.returncode == 1
    assert "the branch has moved since the check, or a rule protects it" in push.output
    assert git(push.remote, "log", "--all", "--format=%s") in {"a change", ""}


def test_a_link_on_the_branch_is_not_followed(push: Push) -> None:
    """The folder of snapshots of the branch may be one, and becomes a folder in the commit."""
    checkout = push.folder / "checkout"
    shutil.rmtree(checkout / "snapshots")
    (checkout / "snapshots").symlink_to(push.folder / "elsewhere")
    commit(checkout)
    git(checkout, "push", "--quiet", str(push.remote), "HEAD:refs/heads/topic")
    (push.folder / "elsewhere").mkdir()
    push.write(_GOLDEN)

    ran = push.run(push.list(_GOLDEN))

    assert ran.returncode == 0, ran.stderr
    assert list((push.folder / "elsewhere").iterdir()) == []
    assert git(push.remote, "ls-tree", "-r", "--name-only", "topic").split("\n") == [
        "README.md",
        _GOLDEN,
    ]


def test_the_token_is_on_no_command_line(push: Push) -> None:
    """Nor in what is printed."""
    push.write(_GOLDEN)

    ran = push.run(push.list(_GOLDEN))

    assert OF_JOB not in ran.stdout + ran.stderr + push.output
