"""The commit of a checkout, by whoever can tell it."""

import subprocess
from pathlib import Path

import pytest

from repro_gate.adapters.files.checkout import commit_of

SHA = "c0ffee00" * 5
_AUTHOR = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *_AUTHOR, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git look no further up than the folder of the test."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def _checkout(folder: Path) -> str:
    _git(folder, "init", "--quiet")
    _git(folder, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "first")
    return _git(folder, "rev-parse", "HEAD")


def test_the_checkout_itself_tells_its_commit(tmp_path: Path) -> None:
    """From any folder below it, and against what a CI system says of another one."""
    commit = _checkout(tmp_path)
    (tmp_path / "below").mkdir()

    assert commit_of(tmp_path / "below", {"GITHUB_SHA": SHA}) == commit


def test_variables_of_another_repository_are_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook of it has them, and the commit would be that of files that nobody checks."""
    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    _checkout(other)
    _git(other, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "second")
    commit = _checkout(here)

    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))

    assert commit_of(here) == commit


def test_the_configuration_of_git_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers say by variables that a folder of another user is to be trusted."""
    _checkout(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "no number, which git refuses")

    assert commit_of(tmp_path, {}) is None


def test_where_git_knows_nothing_the_ci_system_is_asked(tmp_path: Path) -> None:
    """As where the code came as an archive, or belongs to another user."""
    assert commit_of(tmp_path, {"GITHUB_SHA": SHA}) == SHA


def test_a_checkout_without_a_commit_has_none(tmp_path: Path) -> None:
    """A repository that was just made is no commit yet."""
    _git(tmp_path, "init", "--quiet")

    assert commit_of(tmp_path, {}) is None


@pytest.mark.parametrize("said", ["", "main", SHA[:7], SHA.upper(), f"{SHA}\n", f"-{SHA[1:]}"])
def test_what_is_no_commit_is_not_believed(tmp_path: Path, said: str) -> None:
    """Shards are compared by it: a name would be the same for different commits."""
    assert commit_of(tmp_path, {"GITHUB_SHA": said}) is None


def test_a_commit_of_sha256_is_one_too(tmp_path: Path) -> None:
    """Repositories may be made with longer digests."""
    assert commit_of(tmp_path, {"GITHUB_SHA": "ab" * 32}) == "ab" * 32


def test_a_machine_without_git_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is whatever the CI system says, or unknown."""
    _checkout(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (commit_of(tmp_path, {"GITHUB_SHA": SHA}), commit_of(tmp_path, {})) == (SHA, None)


def test_a_git_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a network drive must not hold up a check that is over."""
    hanging = tmp_path / "git"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert commit_of(tmp_path, {"GITHUB_SHA": SHA}, timeout_s=0.1) == SHA


def test_git_sees_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no use for keys and tokens, and may start other programs."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nenv >{tmp_path}/seen\n", "ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    for name in ("FIREWORKS_API_KEY", "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")

    commit_of(tmp_path, {})

    seen = dict(
        line.partition("=")[::2] for line in (tmp_path / "seen").read_text("utf-8").splitlines()
    )
    assert "secret" not in seen.values()
    assert seen["GIT_CONFIG_COUNT"] == "0"
    assert {"GIT_DIR", "GIT_WORK_TREE"}.isdisjoint(seen)
