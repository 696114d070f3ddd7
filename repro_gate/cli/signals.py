"""Signals that end a command: the first asks for an orderly end, and later ones wait for it.

Ctrl-C, a cancelled CI job (SIGTERM) and a closed terminal (SIGHUP) are one and the same here. Until
a command has begun, a signal is only noted: an import that is torn apart cannot be repeated.
"""

import signal
import time
from enum import Enum, auto
from types import FrameType
from typing import Final

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S: Final = 10.0
"""How long an orderly end may take before another signal interrupts it."""


class _Phase(Enum):
    STARTING = auto()
    AT_WORK = auto()
    SETTLED = auto()


class _State:
    def __init__(self) -> None:
        self.phase = _Phase.STARTING
        self.first: float | None = None


_state: Final = _State()


def install_handlers() -> None:
    """Treat the signals alike; one that whoever started us wants to be ignored stays ignored."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)


def allow_interrupts() -> None:
    """Let signals interrupt from here on; raises `KeyboardInterrupt` for one that has come."""
    _state.phase = _Phase.AT_WORK
    if is_interrupted():
        raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Tell whether a signal has asked for the end."""
    return _state.first is not None


def ignore_all() -> None:
    """Ignore signals from here on: the exit code is known, and what it says is written."""
    _state.phase = _Phase.SETTLED
    for number in _NUMBERS:
        # Python gives its own handlers up before it ends, and a signal would end it then.
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, frame: FrameType | None) -> None:
    del number, frame
    now = time.monotonic()
    is_first = _state.first is None
    if _state.first is None:
        _state.first = now
    is_late = now - _state.first > _GRACE_S
    if _state.phase is _Phase.AT_WORK and (is_first or is_late):
        raise KeyboardInterrupt
