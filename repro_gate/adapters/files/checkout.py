"""The commit that a check runs on."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from repro_gate.adapters.engines.environment import minimal_environment

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_TIMEOUT_S = 10
_GIT_VARIABLES = ("GIT_CONFIG", "GIT_CEILING_DIRECTORIES", "XDG_CONFIG_HOME")
"""Prefixes of the variables that configure git, such as which folders it trusts."""


def commit_of(
    folder: Path, environ: Mapping[str, str] = os.environ, *, timeout_s: float = _TIMEOUT_S
) -> str | None:
    """Return the commit checked out in a folder, or None if it is unknown.

    Without git, or where git does not trust the folder, it is `GITHUB_SHA`.
    """
    commit = _git(folder, timeout_s) or environ.get("GITHUB_SHA", "")
    return commit if _SHA.fullmatch(commit) else None


def _git(folder: Path, timeout_s: float) -> str:
    # git gets no keys and tokens, and no GIT_DIR, which a hook sets to another repository.
    variables = [name for name in os.environ if name.startswith(_GIT_VARIABLES)]
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed command about a folder
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 -- the user's own git
            capture_output=True,
            check=False,
            encoding="ascii",
            env=minimal_environment(os.environ, variables),
            errors="replace",
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
