"""Writing files: in one step, and never through a link."""

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from repro_gate.adapters.files.untrusted_files import require_plain_file, require_regular
from repro_gate.errors import InputInvalid

_PREFIX = ".repro-gate-"
_SUFFIX = ".tmp"
_TEMPORARY = re.compile(rf"{re.escape(_PREFIX)}[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")
"""The names that `mkstemp` makes of the two, and no others."""


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    descriptor, temporary = _begun(file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
            # mkstemp makes a file for its owner alone; these are for all who may read the rest.
            temporary.chmod(0o644)
            temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _begun(folder: Path) -> tuple[int, Path]:
    """Return a new temporary file, which `sweep` of another process leaves alone while it is open.

    It does so wherever the file system has locks.
    """
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Before it was locked, it may have been swept.
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


def open_log(file: Path, *, afresh: bool) -> BinaryIO:
    """Open a file that only grows, for reading and writing.

    Args:
        file: what is in its place is replaced when the log begins afresh, be it a link.
        afresh: begin with an empty file.

    Raises:
        InputInvalid: the log to go on with is not a plain file.
        OSError: it cannot be opened.
    """
    if afresh:
        file.unlink(missing_ok=True)
    elif os.path.lexists(file):
        require_plain_file(file)
    # Between the look and this, a link may have taken its place.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_EXCL if afresh else 0)
    return os.fdopen(os.open(file, flags, 0o644), "r+b")


def open_to_append(file: Path) -> BinaryIO:
    """Open a regular file, or a new one, for reading and for writing at its end; never waits.

    Raises:
        InputInvalid: it is something else, such as a pipe.
        OSError: it cannot be opened.
    """
    with contextlib.suppress(FileNotFoundError):
        require_regular(file, file.stat())
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    stream = os.fdopen(os.open(file, flags, 0o644), "ab+")
    try:
        require_regular(file, os.fstat(stream.fileno()))
    except BaseException:
        stream.close()
        raise
    return stream


def require_no_links(*folders: Path) -> None:
    """Raise `InputInvalid` when a folder to write into is a link, wherever it leads."""
    for folder in folders:
        if folder.is_symlink():
            expected = "a folder to write into"
            raise InputInvalid.at(folder, "", expected=expected, found="a link to another place")


def make_folder(folder: Path) -> None:
    """Make a folder to write into, unless it is there.

    Raises:
        InputInvalid: it is a link.
        OSError: it cannot be made.
    """
    require_no_links(folder)
    folder.mkdir(parents=True, exist_ok=True)


def sweep(folder: Path, *, trees: Iterable[str]) -> None:
    """Remove what killed writers left in a folder.

    Nothing but plain files with the name of our temporary ones is removed, and of those none that
    another process is writing.

    Args:
        folder: where to look.
        trees: the names of folders in it; they are looked at as well, and the folders in them.

    Raises:
        InputInvalid: one of the trees, or a folder in it, is a link.
        OSError: a folder cannot be looked into.
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
    """Remove a temporary file, unless a process is writing it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # It has got its name since the folder was looked at, or is another user's.
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
