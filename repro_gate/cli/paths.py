"""Where a command finds its matrix, where its reports go, and the stale reports that are there.

All of this comes before anything else, so nothing slow may be imported here.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.errors import InputInvalid

_OUTPUT: Final = ".repro-gate"
_HISTORY: Final = "history"
_IGNORE_ALL: Final = "*\n"
_ROOT_USER: Final = 0


def matrix_file(config: Path | None) -> Path:
    """Return the given matrix file, or the nearest one in this or a parent folder.

    Raises:
        InputInvalid: there is none, or the nearest one belongs to another user, whose commands
            it could run.
    """
    if config is not None:
        return config
    folders = list(_searched_folders())
    found = next((file for file in map(_in_folder, folders) if os.path.lexists(file)), None)
    if found is None:
        raise _no_matrix(folders)
    if found != DEFAULT_MATRIX_FILE and found.lstat().st_uid not in _trusted_users():
        raise InputInvalid.at(
            found,
            "",
            expected="a file of the user who owns the working directory",
            found=f"another owner; if you trust it, give --config {found}",
        )
    return found


def report_folder(output: Path | None, config: Path | None) -> Path:
    """Return the given folder, or the default one.

    The default is beside a matrix that was searched for, so that reports end up in the same place
    from every folder of a repository; otherwise it is in the working directory.
    """
    if output is not None:
        return output
    try:
        return (Path() if config is not None else matrix_file(None).parent) / _OUTPUT
    except InputInvalid:
        return Path(_OUTPUT)


def history_folder(history: Path | None, config: Path | None) -> Path:
    """Return the given folder of the history, or the default one, in the report folder."""
    return report_folder(None, config) / _HISTORY if history is None else history


def history_beside(matrix: Path, config: Path | None) -> Path:
    """Return the default folder of the history for a matrix that has been found.

    It is not searched again: the checked code may have removed the working directory by now.
    """
    return (Path() if config is not None else matrix.parent) / _OUTPUT / _HISTORY


def make_report_folder(output: Path) -> None:
    """Make the folder unless it exists; git ignores a new one with the default name.

    Raises:
        InputInvalid: it is a link.
        OSError: it cannot be made.
    """
    # Not needed for `--help`.
    from repro_gate.adapters.files.atomic import make_folder, write_atomically  # noqa: PLC0415

    is_new = not os.path.lexists(output)
    make_folder(output)
    if is_new and output.name == _OUTPUT:
        write_atomically(output / ".gitignore", _IGNORE_ALL)


def _searched_folders() -> Iterator[Path]:
    """Yield the working directory and its parents, up to the root of its repository."""
    folder = Path()
    try:
        here = Path.cwd()
    except OSError:
        # The working directory was removed.
        yield folder
        return
    for absolute in (here, *here.parents):
        yield folder
        if os.path.lexists(absolute / ".git"):
            return
        folder /= ".."


def _in_folder(folder: Path) -> Path:
    return folder / DEFAULT_MATRIX_FILE


def _trusted_users() -> set[int]:
    return {os.getuid(), Path().stat().st_uid, _ROOT_USER}


def _no_matrix(folders: list[Path]) -> InputInvalid:
    last = folders[-1].resolve()
    searched = "this folder" if len(folders) == 1 else f"this folder and those above, up to {last}"
    return InputInvalid.at(
        DEFAULT_MATRIX_FILE,
        "",
        expected=f"a matrix file in {searched}",
        found="none; write one with `repro-gate init`, or give a file with --config",
    )


REPORT: Final = "report.json"
_SHARD: Final = "shard.json"
REPORT_FILES: Final = (
    REPORT,
    "report.md",
    "report.html",
    "junit.xml",
    _SHARD,
)
"""The reports of a finished check, which a new check must not leave in place; see `wiring`."""


def remove_reports(output: Path, *, keeps_shard: bool = False) -> None:
    """Remove the reports of an earlier check.

    Args:
        output: the report folder.
        keeps_shard: whether to keep the report of a shard, which `merge` reads.

    Raises:
        OSError: a file cannot be removed.
    """
    if output.is_symlink():
        # Its target is not ours; writing there is refused later.
        return
    for name in REPORT_FILES:
        if not (keeps_shard and name == _SHARD):
            (output / name).unlink(missing_ok=True)


def remove_reports_quietly(output: Path, *, keeps_shard: bool = False) -> None:
    """Remove the reports of an earlier check where possible; writing reports the errors."""
    with suppress(OSError):
        remove_reports(output, keeps_shard=keeps_shard)
