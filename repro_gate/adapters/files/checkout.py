"""The commit that a check runs on, and git as the gate runs it."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repro_gate.adapters.engines.environment import minimal_environment
from repro_gate.core.text import escape_bytes, escape_text
from repro_gate.errors import MeasurementUnavailable

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_TIMEOUT_S = 10
_GIT_VARIABLES = ("GIT_CONFIG", "GIT_CEILING_DIRECTORIES", "XDG_CONFIG_HOME")
"""Prefixes of the variables that configure git, such as which folders it trusts."""
_HEAD_LINE = "# branch.oid "
_FIELDS = {"1": 8, "u": 10}
"""Fields before the path of a changed or unmerged file, in the second format of `git status`."""
_OFFLINE = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_MAX_REASON = 500


def commit_of(
    folder: Path, environ: Mapping[str, str] = os.environ, *, timeout_s: float = _TIMEOUT_S
) -> str | None:
    """Return the commit checked out in a folder, or None if it is unknown.

    Without git, or where git does not trust the folder, it is `GITHUB_SHA`.
    """
    commit = _git(folder, timeout_s) or environ.get("GITHUB_SHA", "")
    return commit if _SHA.fullmatch(commit) else None


def clean_commit_of(folder: Path) -> str | None:
    """Return the commit whose tracked files a folder has; None if unknown, or if any differs."""
    try:
        found = work_tree_of(folder, with_untracked=False)
    except MeasurementUnavailable:
        return None
    return None if found.changed else found.commit


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTree:
    """The state of the work tree that a folder is in."""

    commit: str
    """The checked-out commit."""
    changed: tuple[str, ...]
    """Tracked files that differ from it, by their paths from the root of the repository."""
    untracked: tuple[str, ...]
    """Files that git neither tracks nor ignores."""


def work_tree_of(folder: Path, *, with_untracked: bool = True) -> WorkTree:
    """Return the state of a work tree; raises `MeasurementUnavailable` without a commit.

    Args:
        folder: in the work tree.
        with_untracked: whether to search for untracked files.
    """
    files = f"--untracked-files={'all' if with_untracked else 'no'}"
    # A repository can be set to overlook what changes in its submodules.
    options = ("--branch", "-z", "--no-renames", "--ignore-submodules=none", files)
    output = run_git(folder, "status", "--porcelain=v2", *options)
    lines = output.decode("utf-8", errors="surrogateescape").split("\0")
    commits = [line.removeprefix(_HEAD_LINE) for line in lines if line.startswith(_HEAD_LINE)]
    if not commits or not _SHA.fullmatch(commits[0]):
        raise MeasurementUnavailable(
            f"there is no commit in the repository at {folder}", remedy="commit the files first"
        )
    return WorkTree(
        commit=commits[0],
        changed=tuple(
            line.split(" ", _FIELDS[line[0]])[-1] for line in lines if line[:1] in _FIELDS
        ),
        untracked=tuple(line[2:] for line in lines if line.startswith("? ")),
    )


def run_git(
    folder: Path, *arguments: str, stdin: bytes = b"", timeout_s: float = _TIMEOUT_S
) -> bytes:
    """Return the output of git in a folder.

    It fetches nothing, asks nothing, runs no program that the repository names to watch its files,
    and does not follow replacements of objects.

    Raises:
        MeasurementUnavailable: git is missing, fails or takes too long.
    """
    # git gets no keys and tokens, and no GIT_DIR, which a hook sets to another repository.
    variables = [name for name in os.environ if name.startswith(_GIT_VARIABLES)]
    overruled = ("-c", "protocol.allow=never", "-c", "core.fsmonitor=false")
    command = ("git", "--no-replace-objects", *overruled, "-C", str(folder))
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed command about a folder
            [*command, *arguments],
            capture_output=True,
            check=True,
            env=minimal_environment(os.environ, variables) | _OFFLINE,
            input=stdin,
            timeout=timeout_s,
        )
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise MeasurementUnavailable(
            f"git {arguments[0]} in {folder}: {_reason(error)}",
            remedy="run it in a full clone of the repository that git trusts",
        ) from error
    return done.stdout


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return escape_bytes(error.stderr.strip()[:_MAX_REASON])
    return escape_text(str(error)[:_MAX_REASON])


def _git(folder: Path, timeout_s: float) -> str:
    try:
        found = run_git(folder, "rev-parse", "HEAD", timeout_s=timeout_s)
    except MeasurementUnavailable:
        return ""
    return found.decode("ascii", errors="replace").strip()
