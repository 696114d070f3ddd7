"""Download the report folder of a run of GitHub Actions with the user's own `gh`."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from repro_gate.errors import MeasurementUnavailable, UsageInvalid

_RUN: Final = re.compile(r"[1-9][0-9]{0,19}")
_NAME: Final = re.compile(r'[^-\x00-\x1f"/\\:<>|*?][^\x00-\x1f"/\\:<>|*?]{0,255}')
"""What GitHub allows as the name of an artifact, except one that looks like an option."""
_TIMEOUT_S: Final = 600
_MAX_MESSAGE: Final = 300
_MEANINGS: Final = (
    (re.compile(r"gh auth login|GH_TOKEN|HTTP 401"), "gh is not logged in", "gh auth login"),
    (
        re.compile(r"no valid artifacts|no artifact matches|no artifacts found"),
        "the run has no artifact {name}, or it has expired",
        "open the run in a browser, and give the name of its artifact with --name",
    ),
    (
        re.compile(r"HTTP 404|could not resolve to a"),
        "there is no run {run} in the repository of this checkout",
        "compare the id with the address of the run, .../actions/runs/ID",
    ),
)
_BY_HAND: Final = "download the artifact of the run yourself, and give its folder with --from"
_DECISIONS: Final = "review.json"


def download_report(run: str, name: str, runs: Path) -> Path:
    """Download an artifact into `runs/RUN`, in place of an earlier download, and return the folder.

    Raises:
        UsageInvalid: the id of the run or the name of the artifact cannot be one.
        MeasurementUnavailable: there is no `gh`, or it could not download the artifact.
        OSError: the folder cannot be written.
    """
    if not _RUN.fullmatch(run):
        raise UsageInvalid(f"--run: the id of a run is a number, not {run[:40]!r}")
    if not _NAME.fullmatch(name):
        raise UsageInvalid(f"--name: an artifact cannot have the name {name[:40]!r}")
    gh = shutil.which("gh")
    if gh is None:
        remedy = f"install it from cli.github.com, or {_BY_HAND}"
        raise MeasurementUnavailable("gh, the command line of GitHub, was not found", remedy=remedy)
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=runs) as temporary:
        fresh = Path(temporary) / "report"
        _download(gh, run, name, fresh)
        return _put_in_place(fresh, runs / run)


def _download(gh: str, run: str, name: str, folder: Path) -> None:
    command = [gh, "run", "download", run, f"--name={name}", f"--dir={folder}"]
    try:
        ran = subprocess.run(  # noqa: S603 -- a list of validated arguments
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
            env={**os.environ, "GH_PROMPT_DISABLED": "1", "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as error:
        found = f"gh did not download the artifact within {_TIMEOUT_S} seconds"
        raise MeasurementUnavailable(found, remedy=_BY_HAND) from error
    except OSError as error:
        found = f"gh cannot be started: {error.strerror or error}"
        raise MeasurementUnavailable(found, remedy=_BY_HAND) from error
    if ran.returncode:
        raise _failure(run, name, ran.stderr.decode("utf-8", errors="replace"))


def _failure(run: str, name: str, message: str) -> MeasurementUnavailable:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    quoted = ("; ".join(lines) or "no message")[:_MAX_MESSAGE]
    for pattern, meaning, remedy in _MEANINGS:
        if pattern.search(message):
            known = meaning.format(run=run, name=repr(name))
            return MeasurementUnavailable(f"{known} (gh: {quoted})", remedy=remedy)
    return MeasurementUnavailable(f"gh run download failed: {quoted}", remedy=_BY_HAND)


def _put_in_place(fresh: Path, folder: Path) -> Path:
    """Move a download to its folder, with the decisions of the reviewer on the earlier one."""
    # Only the reviewer of this machine decides.
    (fresh / _DECISIONS).unlink(missing_ok=True)
    if (folder / _DECISIONS).is_file():
        (folder / _DECISIONS).replace(fresh / _DECISIONS)
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    fresh.rename(folder)
    return folder
