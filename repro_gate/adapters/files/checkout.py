"""The commit of the files that a check reads."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from repro_gate.adapters.engines.environment import minimal_environment

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_PATIENCE_S = 10
_KEPT = ("GIT_CONFIG", "GIT_CEILING_DIRECTORIES", "XDG_CONFIG_HOME")
"""What configures git: whether it trusts the folder, for instance, and how far up it looks."""


def commit_of(
    folder: Path, environ: Mapping[str, str] = os.environ, *, patience_s: float = _PATIENCE_S
) -> str | None:
    """Return the commit that is checked out around a folder, or None where nothing tells it.

    Where git is not there or does not trust the folder, a CI system's word for it counts.
    """
    said = _git(folder, patience_s) or environ.get("GITHUB_SHA", "")
    return said if _SHA.fullmatch(said) else None


def _git(folder: Path, patience_s: float) -> str:
    # Keys and tokens are not for git. Neither is GIT_DIR, which a hook has set: git would report
    # the commit of that repository.
    kept = [name for name in os.environ if name.startswith(_KEPT)]
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed command about a folder
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 -- the user's own git
            capture_output=True,
            check=False,
            encoding="ascii",
            env=minimal_environment(os.environ, kept),
            errors="replace",
            timeout=patience_s,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
