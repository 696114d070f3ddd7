"""Write files atomically, and never through a symbolic link."""

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from repro_gate.adapters.files.untrusted_files import require_regular_status
from repro_gate.errors import InputInvalid

_PREFIX = ".repro-gate-"
_SUFFIX = ".tmp"
_TEMPORARY = re.compile(rf"{re.escape(_PREFIX)}[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")
"""Exactly the names that `mkstemp` makes of the two."""


def write_atomically(file: Path, content: str | bytes) -> None:
    """Replace a file in one step: readers see the old content or the new, even after a crash.

    Raises:
        OSError: the file cannot be written; the old one is unchanged.
    """
    try:
        _replace(file, content)
    except OSError as error:
        # A full disk names no file, and a folder without permission the temporary one.
        raise OSError(error.errno, error.strerror, str(file)) from error


@contextlib.contextmanager
def created(file: Path, *, may_replace: bool = False) -> Generator[BinaryIO]:
    """Yield a stream whose content becomes a file in one step, if nothing is raised.

    Args:
        file: the file.
        may_replace: replace an existing file.

    Raises:
        FileExistsError: there is such a file by then, which stays as it is.
        OSError: it cannot be written.
    """
    descriptor, temporary = _new_temporary(file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            temporary.chmod(0o644)
            if may_replace:
                temporary.replace(file)
            else:
                # Unlike a renamed file, a link never replaces another one.
                os.link(temporary, file)
        sync_folder(file.parent)
    except OSError as error:
        # A full disk names no file.
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(file: Path, content: str | bytes) -> None:
    descriptor, temporary = _new_temporary(file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
            # mkstemp gives the owner alone access; snapshots and reports are for everyone.
            temporary.chmod(0o644)
            temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _new_temporary(folder: Path) -> tuple[int, Path]:
    """Create a temporary file, locked so that `sweep` in another process leaves it alone.

    On a file system without locks, `sweep` may remove it.
    """
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another process may have swept it before it was locked.
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


def open_to_append(file: Path) -> BinaryIO:
    """Open or create a regular file for reading and appending, without ever blocking.

    Raises:
        InputInvalid: it is not a regular file, but a pipe, for example.
        OSError: it cannot be opened.
    """
    with contextlib.suppress(FileNotFoundError):
        require_regular_status(file, file.stat())
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    stream = os.fdopen(os.open(file, flags, 0o644), "ab+")
    try:
        require_regular_status(file, os.fstat(stream.fileno()))
    except BaseException:
        stream.close()
        raise
    return stream


def require_no_links(*folders: Path) -> None:
    """Raise `InputInvalid` if a folder to write into is a symbolic link."""
    for folder in folders:
        if folder.is_symlink():
            expected = "a folder to write into"
            raise InputInvalid.at(folder, "", expected=expected, found="a symbolic link")


def make_folder(folder: Path) -> None:
    """Create a folder to write into, unless it exists.

    Raises:
        InputInvalid: it is a symbolic link.
        OSError: it cannot be created.
    """
    require_no_links(folder)
    folder.mkdir(parents=True, exist_ok=True)


def sweep(folder: Path, *, trees: Iterable[str]) -> None:
    """Remove temporary files that killed processes left in a folder.

    Only regular files named like ours are removed, and none that another process is writing.

    Args:
        folder: the folder to clean.
        trees: names of folders in it; they and their direct subfolders are cleaned too.

    Raises:
        InputInvalid: one of the trees, or a subfolder, is a symbolic link.
        OSError: a folder cannot be listed.
    """
    folders = [folder]
    for name in trees:
        tree = folder / name
        inner = [tree / entry.name for entry in _entries(tree) if entry.is_dir()]
        require_no_links(tree, *inner)
        folders += [tree, *inner]
    for each in folders:
        for entry in _entries(each):
            is_ours = _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            if is_ours:
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(file: Path) -> None:
    """Remove a temporary file unless a process is writing it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # It was renamed since the folder was listed, or belongs to another user.
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from list(entries)
    except FileNotFoundError:
        return
