"""Git repositories for runs: the project itself as it is now, and others that use it."""

import os
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[3]
_IDENTITY = ("-c", "user.name=A Tester", "-c", "user.email=tester@example.invalid")


def git(repository: Path, *arguments: str) -> str:
    """Run git in a repository, whatever the configuration of its user, and return its answer."""
    program = shutil.which("git")
    assert program is not None
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = [program, *_IDENTITY, *arguments]
    done = subprocess.run(
        command, cwd=repository, env=os.environ | nobody, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def commit(repository: Path, message: str = "a change") -> str:
    """Commit everything in a folder, which becomes a repository, and return the commit."""
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", f"--message={message}")
    return git(repository, "rev-parse", "HEAD")


def copy_of_project(folder: Path) -> Path:
    """Copy every tracked file of the project as it is now, and commit it there."""
    for name in filter(None, git(PROJECT, "ls-files", "-z").split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    commit(folder, "the project as it is")
    return folder
