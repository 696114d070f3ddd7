"""Free ports, and who listens on one."""

import os
import socket
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

from repro_gate.process_tree import marked

LOOPBACK: Final = "127.0.0.1"
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING: Final = "0A"
_ADDRESS, _STATE, _USER, _INODE = 1, 3, 7, 9


class Listener(Enum):
    """Who listens on a port."""

    NOBODY = auto()
    OURS = auto()
    STRANGER = auto()
    UNKNOWN = auto()
    """Of another user, or on a system that does not show it."""


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def listener_on(port: int, mark: str) -> Listener:
    """Return who listens on a port, given the mark of all processes that are ours."""
    if not hasattr(os, "pidfd_open"):
        return Listener.UNKNOWN
    found = {inode: user for table in _TABLES for inode, user in _listeners(table, port)}
    if not found:
        return Listener.NOBODY
    others = found.keys() - _sockets_of(mark)
    if not others:
        return Listener.OURS
    users = {found[inode] for inode in others}
    return Listener.STRANGER if os.getuid() in users else Listener.UNKNOWN


def _listeners(table: str, port: int) -> list[tuple[str, int]]:
    with suppress(OSError):
        rows = [line.split() for line in Path(table).read_text("ascii").splitlines()[1:]]
        return [
            (row[_INODE], int(row[_USER]))
            for row in rows
            if row[_STATE] == _LISTENING and int(row[_ADDRESS].rpartition(":")[2], 16) == port
        ]
    return []


def _sockets_of(mark: str) -> set[str]:
    """Return the inodes of the sockets of all our processes: those of our session, or marked."""
    found: set[str] = set()
    for number in _ours(mark):
        with suppress(OSError):
            for descriptor in Path("/proc", str(number), "fd").iterdir():
                with suppress(OSError):
                    found.add(str(descriptor.readlink()).removeprefix("socket:[").rstrip("]"))
    return found


def _ours(mark: str) -> set[int]:
    found = set(marked(mark))
    for folder in Path("/proc").iterdir():
        # A program may have replaced its environment.
        with suppress(OSError, ValueError):
            if os.getsid(int(folder.name)) == os.getsid(0):
                found.add(int(folder.name))
    return found
