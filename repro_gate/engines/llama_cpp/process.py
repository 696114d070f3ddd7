"""What the engine does to its own process before anything else happens in it."""

import ctypes
import os
import signal
import sys
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1


def claim_stdout() -> BinaryIO:
    """Return stdout as a private stream, and point the public one at stderr.

    Native code prints to file descriptor 1 as it pleases; none of it may reach the protocol.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb")


def prepare() -> None:
    """Leave the end of this process to the gate, and to the gate's own end."""
    # With a debugger installed, an abort would print a backtrace of several kB for seconds.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_the_gate()


def _die_with_the_gate() -> None:
    # A decode that runs for minutes would not notice the end of stdin. The kernel counts the end
    # of the thread that started this process as the end of the parent.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
