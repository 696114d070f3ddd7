"""The processes that a program has started: found by a mark in their environment.

A process that left its group, or was orphaned, has no other trace. Only Linux lets the environment
be read, and one that has replaced its environment is not found.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAX_ROUNDS: Final = 10
_ROUND_S: Final = 0.01
"""A killed process takes a moment to die, and may have started another one before."""


def kill_marked(mark: str) -> None:
    """Kill the processes whose environment has a mark, `NAME=VALUE`."""
    for _ in range(_MAX_ROUNDS):
        killed = [_kill_if_marked(number, mark.encode()) for number in _numbers()]
        if not any(killed):
            return
        time.sleep(_ROUND_S)


def marked(mark: str) -> Iterator[int]:
    """Yield the processes whose environment has a mark."""
    return (number for number in _numbers() if _is_marked(number, mark.encode()))


def _numbers() -> list[int]:
    # Without this function a process could not be held while its environment is read.
    if not hasattr(os, "pidfd_open"):
        return []
    with contextlib.suppress(OSError):
        return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return []


def _is_marked(number: int, mark: bytes) -> bool:
    with contextlib.suppress(OSError):
        return mark in Path("/proc", str(number), "environ").read_bytes().split(b"\0")
    return False


def _kill_if_marked(number: int, mark: bytes) -> bool:
    with contextlib.suppress(OSError):
        # Holds this very process: its number may be reused at any moment.
        process = os.pidfd_open(number)
        try:
            if _is_marked(number, mark):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False
