"""The commit that is checked."""

import subprocess
from pathlib import Path

import pytest

from repro_gate.adapters.files.checkout import WorkTree, clean_commit_of, commit_of, work_tree_of
from repro_gate.errors import MeasurementUnavailable

SHA = "c0ffee00" * 5
_AUTHOR = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *_AUTHOR, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop git from searching above the folder of the test."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def _checkout(folder: Path) -> str:
    _git(folder, "init", "--quiet")
    _git(folder, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "first")
    return _git(folder, "rev-parse", "HEAD")


def test_the_commit_is_read_from_the_checkout(tmp_path: Path) -> None:
    """From any subfolder, and even if the CI system has another commit."""
    commit = _checkout(tmp_path)
    (tmp_path / "below").mkdir()

    assert commit_of(tmp_path / "below", {"GITHUB_SHA": SHA}) == commit


def test_git_variables_of_a_hook_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook sets them for its own repository."""
    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    _checkout(other)
    _git(other, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "second")
    commit = _checkout(here)

    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))

    assert commit_of(here) == commit


def test_the_configuration_of_git_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers mark folders of other users as trusted with variables."""
    _checkout(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "no number, which git refuses")

    assert commit_of(tmp_path, {}) is None


def test_without_git_the_commit_is_that_of_the_ci_system(tmp_path: Path) -> None:
    """The code may come from an archive, or belong to another user."""
    assert commit_of(tmp_path, {"GITHUB_SHA": SHA}) == SHA


def test_a_new_repository_has_no_commit(tmp_path: Path) -> None:
    """It has no HEAD yet."""
    _git(tmp_path, "init", "--quiet")

    assert commit_of(tmp_path, {}) is None


@pytest.mark.parametrize("commit", ["", "main", SHA[:7], SHA.upper(), f"{SHA}\n", f"-{SHA[1:]}"])
def test_an_invalid_commit_is_ignored(tmp_path: Path, commit: str) -> None:
    """Shards compare commits; a branch name would be equal for different ones."""
    assert commit_of(tmp_path, {"GITHUB_SHA": commit}) is None


def test_sha256_commits_are_accepted(tmp_path: Path) -> None:
    """Some repositories use longer digests."""
    assert commit_of(tmp_path, {"GITHUB_SHA": "ab" * 32}) == "ab" * 32


def test_git_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is then that of the CI system, or unknown."""
    _checkout(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (commit_of(tmp_path, {"GITHUB_SHA": SHA}), commit_of(tmp_path, {})) == (SHA, None)


def test_a_hanging_git_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock on a network drive must not delay a finished check."""
    hanging = tmp_path / "git"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert commit_of(tmp_path, {"GITHUB_SHA": SHA}, timeout_s=0.1) == SHA


def test_git_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not need keys and tokens, and may start other programs."""
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


def test_a_work_tree_lists_what_differs_from_its_commit(tmp_path: Path) -> None:
    """Changed, staged, removed and conflicting files; untracked ones where they count."""
    for name in ("a", "b c", "d", "\N{GREEK SMALL LETTER ALPHA}"):
        (tmp_path / name).write_text("1", "utf-8")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", "--all")
    commit = _checkout(tmp_path)
    assert clean_commit_of(tmp_path) == commit
    assert work_tree_of(tmp_path) == WorkTree(commit=commit, changed=(), untracked=())

    (tmp_path / "new").write_text("2", "utf-8")
    assert clean_commit_of(tmp_path) == commit
    assert work_tree_of(tmp_path).untracked == ("new",)

    (tmp_path / "b c").write_text("2", "utf-8")
    (tmp_path / "\N{GREEK SMALL LETTER ALPHA}").write_text("2", "utf-8")
    _git(tmp_path, "add", "\N{GREEK SMALL LETTER ALPHA}")
    (tmp_path / "d").unlink()
    changed = ("b c", "d", "\N{GREEK SMALL LETTER ALPHA}")
    assert clean_commit_of(tmp_path) is None
    assert work_tree_of(tmp_path) == WorkTree(commit=commit, changed=changed, untracked=("new",))


def test_a_conflicting_file_is_a_change(tmp_path: Path) -> None:
    """It has a line of another form."""
    _checkout(tmp_path)
    for content, branch in (("1", "one"), ("2", "two")):
        _git(tmp_path, "checkout", "--quiet", "-b", branch, "HEAD")
        (tmp_path / "a b").write_text(content, "utf-8")
        _git(tmp_path, "add", "--all")
        _git(tmp_path, "commit", "--quiet", "--no-gpg-sign", "--message", "x")
        _git(tmp_path, "checkout", "--quiet", "HEAD~1")
    _git(tmp_path, "checkout", "--quiet", "one")
    with pytest.raises(subprocess.CalledProcessError):
        _git(tmp_path, "merge", "--quiet", "two")

    assert work_tree_of(tmp_path).changed == ("a b",)


def test_without_a_commit_nothing_is_clean(tmp_path: Path) -> None:
    """Nor outside of a repository."""
    assert clean_commit_of(tmp_path) is None

    _git(tmp_path, "init", "--quiet")
    assert clean_commit_of(tmp_path) is None
    with pytest.raises(MeasurementUnavailable, match="there is no commit in the repository at"):
        work_tree_of(tmp_path)


def test_a_repository_cannot_run_a_program_that_hides_changes(tmp_path: Path) -> None:
    """Git would start its monitor of files, and believe it."""
    _checkout(tmp_path)
    (tmp_path / "golden").write_text("1", "utf-8")
    _git(tmp_path, "add", "golden")
    _git(tmp_path, "commit", "--quiet", "--no-gpg-sign", "--message", "second")
    monitor = tmp_path / ".git" / "monitor"
    monitor.write_text("#!/bin/sh\ntouch .git/started\nprintf 'now\\0'\n", "utf-8")
    monitor.chmod(0o755)
    _git(tmp_path, "config", "core.fsmonitor", str(monitor))
    _git(tmp_path, "update-index", "--fsmonitor")
    _git(tmp_path, "status")
    (tmp_path / ".git" / "started").unlink()
    (tmp_path / "golden").write_text("22", "utf-8")
    assert _git(tmp_path, "status", "--porcelain") == ""
    (tmp_path / ".git" / "started").unlink()

    assert work_tree_of(tmp_path).changed == ("golden",)
    assert not (tmp_path / ".git" / "started").exists()


def test_a_repository_cannot_hide_changes_of_its_submodules(tmp_path: Path) -> None:
    """An engine may be in one."""
    engine, folder = tmp_path / "engine", tmp_path / "here"
    for each in (engine, folder):
        each.mkdir()
        _checkout(each)
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(engine), "engine")
    _git(folder, *add)
    _git(folder, "config", "--file", ".gitmodules", "submodule.engine.ignore", "all")
    _git(folder, "commit", "--quiet", "--all", "--no-gpg-sign", "--message", "second")
    assert clean_commit_of(folder) is not None
    _git(folder / "engine", "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "x")
    assert _git(folder, "status", "--porcelain") == ""

    assert clean_commit_of(folder) is None
