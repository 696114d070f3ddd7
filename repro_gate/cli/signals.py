"""Signals: the first one asks a command to shut down, and later ones wait for that.

Ctrl-C, a cancelled CI job (SIGTERM) and a closed terminal (SIGHUP) are treated alike. Until a
command has started, a signal is only recorded: an interrupted import cannot be repeated.
"""

import signal
import time
from enum import Enum, auto
from types import FrameType
from typing import Final

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S: Final = 10.0
"""How long a shutdown may take before another signal interrupts it."""


class _Phase(Enum):
    STARTING = auto()
    RUNNING = auto()
    FINISHED = auto()


class _State:
    def __init__(self) -> None:
        self.phase = _Phase.STARTING
        self.first: float | None = None


_state: Final = _State()


def install_handlers() -> None:
    """Install the handlers; a signal that the parent process ignores stays ignored."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)


def allow_interrupts() -> None:
    """Let signals interrupt from now on; raises `KeyboardInterrupt` for an earlier one."""
    _state.phase = _Phase.RUNNING
    if is_interrupted():
        raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Whether a signal has arrived."""
    return _state.first is not None


def ignore_all() -> None:
    """Ignore signals from now on: the results are written and the exit code is decided."""
    _state.phase = _Phase.FINISHED
    for number in _NUMBERS:
        # Python removes its handlers before it exits, and a signal would kill it then.
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, frame: FrameType | None) -> None:
    del number, frame
    now = time.monotonic()
    is_first = _state.first is None
    if _state.first is None:
        _state.first = now
    is_late = now - _state.first > _GRACE_S
    if _state.phase is _Phase.RUNNING and (is_first or is_late):
        raise KeyboardInterrupt
