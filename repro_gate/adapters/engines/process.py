"""An engine's process: one line in, one line out, and never a longer wait than allowed."""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from repro_gate.core.text import printable
from repro_gate.errors import EngineFailed
from repro_gate.protocol import MAX_LINE_BYTES

_CHUNK = 1 << 16
_LAST_WORDS = 2000
"""How many bytes of a dead engine's stderr are worth quoting."""
_GRACE_S = 1.0
_REAP_S = 30.0
"""To give back the memory of a large model takes its time."""
_MARK = "REPRO_GATE_ENGINE"
_HUNTS = 10
_HUNT_S = 0.01
"""A process that is killed takes a moment, and may have started another before."""
_GLANCE_S = 0.5
"""How often a silent engine is looked at: what it started may hold its stdout after its death."""

FAULTY_ENGINE: Final = "mend the engine: it must follow docs/reference/engine-protocol.md"
_CRASHED: Final = (
    "look whether repro-gate models verify finds the pinned file and repro-gate doctor the engine; "
    "if both are well, report the crash to the engine's authors"
)
_REMEDIES: Final = {
    "SIGKILL": "free memory, or lower n_ctx and n_batch: the kernel kills what needs too much",
    "SIGILL": "install a build of the engine for this machine's CPU",
    "SIGTERM": "check again, and leave the engine running meanwhile",
    "SIGINT": "check again, and leave the engine running meanwhile",
    "SIGXCPU": "raise the CPU time limit of the machine (ulimit -t)",
}
"""By the signal that ended an engine."""


class EngineProcess:
    """A child that answers lines; every failure of it is an `EngineFailed`."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float,
        folder: Path = Path(),
    ) -> None:
        self._timeout_s = timeout_s
        self._mark = uuid.uuid4().hex
        """In the environment of all that the engine starts: a daemon has no other trace of it."""
        self._buffer = bytearray()
        self._searched = 0
        """How much of what was received is known to have no end of a line."""
        # A file and not a pipe: nobody has to read it for the engine to go on.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as the child
        self._start_error: Exception | None = None
        self._child: subprocess.Popen[bytes] | None = None
        try:
            # A session of its own keeps Ctrl-C at the terminal for us: we decide who ends when.
            self._child = subprocess.Popen(  # noqa: S603 -- the matrix file names the program
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**env, _MARK: self._mark},
                cwd=folder,
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            # A ValueError is a zero byte in the name of the program.
            self._start_error = error
        else:
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None:
                    os.set_blocking(stream.fileno(), False)

    def exchange(self, line: bytes, *, doing: str) -> bytes:
        """Send one line and return the line that answers it.

        Args:
            line: without the newline.
            doing: what the engine is asked, for the message of a failure.

        Raises:
            EngineFailed: the engine could not be started, died, took too long or did not stop
                writing.
        """
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise EngineFailed(
                f"the engine could not be started: {self._start_error or 'closed'}",
                remedy="install the program that the engine's command names, or correct the "
                "command in the matrix",
            )
        deadline = time.monotonic() + self._timeout_s
        outgoing = memoryview(line + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            selector.register(child.stdin, selectors.EVENT_WRITE)
            for stream in self._ready(selector, deadline, doing):
                if stream is child.stdout:
                    answer = self._receive(child.stdout, doing)
                    if answer is not None:
                        return answer
                else:
                    outgoing = outgoing[self._send(child.stdin, outgoing) :]
                    if not outgoing:
                        selector.unregister(child.stdin)
        self.kill()
        raise EngineFailed(
            f"the engine did not answer {doing!r} within {self._timeout_s:g} s "
            f"and was killed{self._last_words()}",
            remedy="raise timeout_s of the engine in the matrix, or give it a machine that is "
            "less busy",
        )

    def kill(self) -> None:
        """End the engine and everything that it started, at once; any thread may do so.

        A process that has left its group, or was orphaned, is found by the mark in the environment
        that it was given; one that has replaced its environment is not.
        """
        child = self._child
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        # One that hangs in a driver does not even die, and must not take us along.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_REAP_S)
        _kill_marked(f"{_MARK}={self._mark}".encode())

    def close(self) -> None:
        """End the engine; safe to call more than once."""
        # It has nothing to save, and a farewell would make every check wait for it.
        self.kill()
        child, self._child = self._child, None
        if child is not None:
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()
        self._stderr.close()

    def _ready(
        self, selector: selectors.BaseSelector, deadline: float, doing: str
    ) -> Iterator[object]:
        """Yield streams as they can go on, until the time is over."""
        left_s = 1.0
        # After the deadline one last look is taken: if we were stopped, the answer may be there.
        while left_s > 0:
            left_s = deadline - time.monotonic()
            is_dead = self._child is not None and self._child.poll() is not None
            events = selector.select(min(max(0.0, left_s), _GLANCE_S))
            if is_dead and not events:
                raise self._death(doing)
            for key, _ in events:
                yield key.fileobj

    def _send(self, stdin: IO[bytes], data: memoryview) -> int:
        try:
            return os.write(stdin.fileno(), data[:_CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            # Its death is told by the end of its stdout.
            return len(data)

    def _receive(self, stdout: IO[bytes], doing: str) -> bytes | None:
        chunk = os.read(stdout.fileno(), _CHUNK)
        if not chunk:
            raise self._death(doing)
        self._buffer += chunk
        # Only what is new is searched: an engine may write byte by byte.
        end = self._buffer.find(b"\n", self._searched)
        self._searched = len(self._buffer)
        if end >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            return line
        if len(self._buffer) > MAX_LINE_BYTES:
            self.kill()
            raise EngineFailed(
                f"the engine answered {doing!r} with more than {MAX_LINE_BYTES} bytes",
                remedy=FAULTY_ENGINE,
            )
        return None

    def _death(self, doing: str) -> EngineFailed:
        """Return how the engine ended, once its stdout has, and what may help."""
        child = self._child
        if child is None:
            return EngineFailed("the engine is closed", remedy="check again")
        try:
            code = child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return EngineFailed(
                f"the engine closed its stdout at {doing!r} and was killed{self._last_words()}",
                remedy=FAULTY_ENGINE,
            )
        if code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                return EngineFailed(
                    f"the engine was ended by {name} at {doing!r}{self._last_words()}",
                    remedy=_REMEDIES.get(name, _CRASHED),
                )
        return EngineFailed(
            f"the engine ended with exit code {code} at {doing!r}{self._last_words()}",
            remedy="mend what its last words name; repro-gate doctor shows whether it starts",
        )

    def _last_words(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _LAST_WORDS))
        lines = self._stderr.read().decode("utf-8", errors="replace").strip().splitlines()
        said = [printable(line.strip()) for line in lines[-3:]]
        return f"; it last said: {' / '.join(said)}" if said else ""


def _kill_marked(mark: bytes) -> None:
    """Kill the processes whose environment has a mark; on Linux, where it can be read."""
    for _ in range(_HUNTS):
        killed = [_kill_if_marked(folder, mark) for folder in _processes()]
        if not any(killed):
            return
        time.sleep(_HUNT_S)


def _processes() -> list[Path]:
    with contextlib.suppress(OSError):
        return [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return []


def _kill_if_marked(folder: Path, mark: bytes) -> bool:
    with contextlib.suppress(OSError):
        # Holds on to this process: its number may be given to another one at any moment.
        process = os.pidfd_open(int(folder.name))
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False
