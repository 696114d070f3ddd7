"""Read files that may be anything: regular files only, and at most so many bytes.

Reading a pipe would block forever, and a device has no end. The user's own files may be symbolic
links, as models often are; files of an untrusted download may not.
"""

import os
import re
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Final

from repro_gate.errors import InputInvalid

_CHUNK: Final = 1 << 20
_HEAD: Final = 1 << 10
"""Bytes that are enough to recognise a kind of file."""
_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)
_POINTER: Final = (
    re.compile(rb"version https://git-lfs\.github\.com/spec/"),
    "a Git LFS pointer instead of the file; run: git lfs pull",
)
_MISTAKES: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = (
    _POINTER,
    (
        re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)\b", re.IGNORECASE),
        "a web page, such as the login or error page of a download; fetch the file again",
    ),
    (re.compile(BOM_UTF8), "a byte order mark; save the file as UTF-8 without one"),
    (
        re.compile(b"|".join(map(re.escape, (BOM_UTF16_LE, BOM_UTF16_BE)))),
        "UTF-16; save the file as UTF-8",
    ),
    (re.compile(rb"PK\x03\x04"), "a zip archive; unpack it"),
    (re.compile(rb"\x1f\x8b"), "a gzip archive; unpack it"),
)


def open_regular_file(file: Path, *, may_be_link: bool = True) -> BufferedReader:
    """Open a regular file for reading, without ever blocking.

    Raises:
        InputInvalid: it is not a regular file, or cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if may_be_link else os.O_NOFOLLOW)
    try:
        # Opening a device can have side effects, so check first.
        require_regular_status(file, file.stat() if may_be_link else require_no_link(file))
        descriptor = os.open(file, flags)
        try:
            require_regular_status(file, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    return os.fdopen(descriptor, "rb")


def read_regular_file(file: Path, *, max_bytes: int, may_be_link: bool = True) -> bytes:
    """Return the content of a regular file; raises `InputInvalid` for more bytes than allowed."""
    parts: list[bytes] = []
    left = max_bytes
    try:
        with open_regular_file(file, may_be_link=may_be_link) as stream:
            size = os.fstat(stream.fileno()).st_size
            # Python allocates all that it is asked to read.
            chunk = min(_CHUNK, size + 1)
            # The size rejects a large file at once; the limit also holds if the file grows.
            while size <= max_bytes and left >= 0 and (part := stream.read(min(chunk, left + 1))):
                parts.append(part)
                left -= len(part)
    except OSError as error:
        raise _unreadable(file, error) from error
    if size > max_bytes or left < 0:
        raise InputInvalid.at(
            file, "", expected=f"at most {max_bytes} bytes", found=str(max(size, max_bytes + 1))
        )
    return b"".join(parts)


def require_regular_file(file: Path) -> None:
    """Raise `InputInvalid` for a symbolic link and anything else that is not a regular file."""
    require_regular_status(file, require_no_link(file))


def require_no_link(path: Path) -> os.stat_result:
    """Return the status of a path; raises `InputInvalid` for a symbolic link or a missing file."""
    try:
        status = path.lstat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISLNK(status.st_mode):
        raise InputInvalid.at(path, "", expected="no symbolic link", found="one")
    return status


def recognise_mistake(head: bytes) -> str | None:
    """Return what a file is instead of a document or a model, with a remedy; None if unknown.

    Args:
        head: the first bytes of the file; all of them, if it is short.
    """
    if not head or head.isspace():
        return "an empty file"
    head = head[:_HEAD]
    return next((what for pattern, what in _MISTAKES if pattern.match(head)), None)


def recognise_pointer(head: bytes) -> str | None:
    """Return what a file is by its first bytes, with a remedy, if it is a pointer of Git LFS."""
    pattern, what = _POINTER
    return what if pattern.match(head) else None


def missing_reason(file: Path) -> str | None:
    """Return why a path is not a regular file or a link to one, or None if it is."""
    try:
        found = _other_kind(file.stat())
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no file {file}"
    except (OSError, ValueError) as error:
        return str(_unreadable(file, error))
    return None if found is None else f"{file} is {found}"


def require_regular_status(file: Path, status: os.stat_result) -> None:
    """Raise `InputInvalid` unless a status is that of a regular file."""
    found = _other_kind(status)
    if found is not None:
        raise InputInvalid.at(file, "", expected="a regular file", found=found)


def _other_kind(status: os.stat_result) -> str | None:
    if stat.S_ISREG(status.st_mode):
        return None
    return next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "something else")


def _unreadable(file: Path, error: OSError | ValueError) -> InputInvalid:
    if isinstance(error, FileNotFoundError):
        return InputInvalid.at(file, "", expected="a readable file", found="none")
    # A zero byte in the path is a ValueError.
    found = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputInvalid.at(file, "", expected="a readable file", found=found)
