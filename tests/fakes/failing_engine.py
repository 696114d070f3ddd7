"""An engine with one fault: `failing_engine.py FAULT [FILE]`."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_FOREVER_S = 300
_STDIN, _STDOUT = 0, 1


def main() -> None:
    """Fail once a request has come, but for the faults of not reading any."""
    # A core file for each of these deaths would fill the folder of the tests.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fault = FAULTS[sys.argv[1]]
    if fault not in {_deaf, _sip, _shut, _leave}:
        sys.stdin.buffer.readline()
    fault()
    time.sleep(_FOREVER_S)


def _silent() -> None:
    """Write nothing, and keep running."""


def _deaf() -> None:
    """Not even read the request."""


def _sip() -> None:
    """Read the start of the request, so that there is a little space in the pipe."""
    os.read(_STDIN, 8192)


def _shut() -> None:
    """Close stdin."""
    os.close(_STDIN)


def _leave() -> None:
    """Die without reading the request."""
    os._exit(3)


def _drip() -> None:
    while True:
        _write(b"x")
        time.sleep(0.01)


def _pour() -> None:
    while True:
        _write(b"x" * 4096)
        time.sleep(0.001)


def _flood() -> None:
    while True:
        _write(b"x" * (1 << 20))


def _nest() -> None:
    _write(b"[" * 100_000 + b"\n")


def _exit() -> None:
    os._exit(3)


def _complain_and_exit() -> None:
    sys.stderr.write("first\nsecond \x1b[31mred\x1b[0m\u202e\nthird\nCUDA error: out of memory\n")
    sys.stderr.flush()
    os._exit(3)


def _complain_at_length() -> None:
    sys.stderr.write("x" * 10**6)
    sys.stderr.flush()
    os._exit(3)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _abort() -> None:
    os.write(2, b"GGML_ASSERT(n_tokens > 0) failed\n")
    os.abort()


def _hang_up() -> None:
    os.close(_STDOUT)


def _leave_a_child() -> None:
    """Die, while a child of ours holds stdout."""
    _start_a_child()
    os._exit(3)


def _work_with_a_child() -> None:
    """Talk nonsense beside a child."""
    _start_a_child()
    _write(b"nonsense\n")


def _start_a_child() -> None:
    child = subprocess.Popen(["sleep", str(_FOREVER_S)])  # noqa: S607 -- wherever it is
    Path(sys.argv[2]).write_text(str(child.pid), "ascii")


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _work_with_a_daemon() -> None:
    """Start a process that has left the group and lost its parent, and answer nonsense."""
    _start_a_daemon()
    _write(b"nonsense\n")


def _leave_a_daemon() -> None:
    """Start the same, and die."""
    _start_a_daemon()
    os._exit(3)


def _start_a_daemon() -> None:
    middle = os.fork()
    if not middle:
        os.setsid()
        command = [sys.executable, "-S", "-c", f"import time; time.sleep({_FOREVER_S})"]
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        Path(sys.argv[2]).write_text(str(daemon.pid), "ascii")
        os._exit(0)
    os.waitpid(middle, 0)


FAULTS: dict[str, Callable[[], None]] = {
    "silent": _silent,
    "deaf": _deaf,
    "sip": _sip,
    "shut": _shut,
    "leave": _leave,
    "drip": _drip,
    "pour": _pour,
    "flood": _flood,
    "nest": _nest,
    "exit": _exit,
    "complain and exit": _complain_and_exit,
    "complain at length": _complain_at_length,
    "crash": _crash,
    "abort": _abort,
    "hang up": _hang_up,
    "leave a child": _leave_a_child,
    "work with a child": _work_with_a_child,
    "work with a daemon": _work_with_a_daemon,
    "leave a daemon": _leave_a_daemon,
}


if __name__ == "__main__":
    main()
