"""The processes that a program has started: found by their session, or by a mark.

The mark is in their environment. A process that left its session, or was orphaned, has no other
trace; one that has changed its title, as those of vLLM do, has lost it. Only Linux shows both.
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


def kill_marked(
    mark: str, *, session: int | None = None, spare: frozenset[int] = frozenset()
) -> None:
    """Kill the processes whose environment has a mark, and those of a session.

    Args:
        mark: `NAME=VALUE`.
        session: its number; None for the mark alone.
        spare: processes that are not killed.
    """
    for _ in range(_MAX_ROUNDS):
        numbers = [number for number in _numbers() if number not in spare]
        killed = [_kill_if(number, mark.encode(), session) for number in numbers]
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


def _kill_if(number: int, mark: bytes, session: int | None) -> bool:
    with contextlib.suppress(OSError):
        # Holds this very process: its number may be reused at any moment.
        process = os.pidfd_open(number)
        try:
            if os.getsid(number) == session or _is_marked(number, mark):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False
