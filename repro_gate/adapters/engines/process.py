"""An engine's process: lines in, lines out, each within a time limit."""

import contextlib
import os
import select
import selectors
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from repro_gate.core.text import escape_text
from repro_gate.errors import EngineFailed
from repro_gate.process_tree import kill_marked
from repro_gate.protocol import MAX_LINE_BYTES

_CHUNK = 1 << 16
_MAX_QUOTED_BYTES = 2000
"""Of a dead engine's stderr."""
_GRACE_S = 1.0
_REAP_S = 30.0
"""Freeing the memory of a large model takes time."""
_MARK = "REPRO_GATE_ENGINE"
_POLL_S = 0.5
"""How often a silent engine is polled: a child of it may hold its stdout open after its death."""

FAULTY_ENGINE: Final = "fix the engine: it must follow docs/reference/engine-protocol.md"
_CRASHED: Final = (
    "check the file with repro-gate models verify and the engine with repro-gate doctor; if both "
    "pass, report the crash to the engine's authors"
)
_REMEDIES: Final = {
    "SIGKILL": "free memory, or lower n_ctx and n_batch: the kernel kills what needs too much",
    "SIGILL": "install a build of the engine for this machine's CPU",
    "SIGTERM": "check again without ending the engine",
    "SIGINT": "check again without ending the engine",
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
        grace_s: float = 0.0,
    ) -> None:
        """Start the child.

        Args:
            argv: the program and its arguments.
            env: all of its variables.
            timeout_s: the time limit of a request.
            folder: its working directory.
            grace_s: how long it may take to end by itself when it is closed.
        """
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._mark = uuid.uuid4().hex
        """In the environment of all that the engine starts; a daemon has no other trace."""
        self._outgoing = bytearray()
        self._buffer = bytearray()
        self._searched = 0
        """How many received bytes are known to contain no newline."""
        # A file, because an unread pipe would block the engine.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as the child
        self._start_error: Exception | None = None
        self._child: subprocess.Popen[bytes] | None = None
        try:
            # In a session of its own it gets no Ctrl-C from the terminal: we decide when it ends.
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
            # ValueError: a zero byte in the name of the program.
            self._start_error = error
        else:
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None:
                    os.set_blocking(stream.fileno(), False)

    def send(self, line: bytes, *, more_s: float = 0.0) -> float:
        """Send one line, without its newline; return the deadline of its answer.

        What does not fit into the pipe is sent while `receive` waits.

        Args:
            line: the request.
            more_s: how much longer than usual its answer may take.
        """
        self._outgoing += line + b"\n"
        if self._child is not None and self._child.stdin is not None:
            self._flush(self._child.stdin)
        return time.monotonic() + self._timeout_s + more_s

    def receive(self, *, deadline: float, doing: str, more_s: float = 0.0) -> bytes:
        """Return the next line.

        Args:
            deadline: the earliest of the expected answers.
            doing: the method, for the message of a failure.
            more_s: as it was sent, for that message.

        Raises:
            EngineFailed: the engine could not be started, died, took too long or wrote too much.
        """
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise EngineFailed(
                f"the engine could not be started: {self._start_error or 'closed'}",
                remedy="install the program that the engine's command names, or correct the "
                "command in the matrix",
            )
        line = self._line()
        if line is not None:
            return line
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            if self._outgoing:
                selector.register(child.stdin, selectors.EVENT_WRITE)
            for stream in self._ready(selector, deadline, doing):
                if stream is child.stdout:
                    line = self._receive(child.stdout, doing)
                    if line is not None:
                        return line
                else:
                    self._flush(child.stdin)
                    if not self._outgoing:
                        selector.unregister(child.stdin)
        self.kill()
        raise EngineFailed(
            f"the engine did not answer {doing!r} within {self._timeout_s + more_s:g} s "
            f"and was killed{self._end_of_stderr()}",
            remedy="raise timeout_s of the engine in the matrix, or use a less busy machine",
        )

    def begin_close(self) -> None:
        """End the engine without waiting for its death; `close` has to follow."""
        # Another thread may close the engine meanwhile.
        child = self._child
        if child is not None and child.stdin is not None and self._grace_s:
            child.stdin.close()
        elif child is not None:
            _kill_group(child)

    def kill(self) -> None:
        """Kill the engine and every process that it started; may be called from any thread.

        A process that left its group, or was orphaned, is found by the mark in its environment,
        unless it has replaced its environment.
        """
        child = self._child
        if child is None:
            return
        _kill_group(child)
        _wait_for_death(child, _REAP_S)
        kill_marked(f"{_MARK}={self._mark}", session=child.pid)

    def close(self) -> None:
        """End the engine; safe to call more than once."""
        # Most have nothing to save, and a graceful end would make every check wait for it.
        if self._grace_s and self._child is not None:
            self.begin_close()
            _wait_for_death(self._child, self._grace_s)
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
        """Yield each stream that is ready, until the deadline."""
        now = time.monotonic()
        if deadline < now:
            # The gate was suspended, or busy, and the engine may have waited until it reads.
            deadline = now + _GRACE_S
        left_s = 1.0
        # Poll once more after the deadline: if the gate was suspended, the answer may be there.
        while left_s > 0:
            left_s = deadline - time.monotonic()
            is_dead = self._child is not None and self._child.poll() is not None
            events = selector.select(min(max(0.0, left_s), _POLL_S))
            if is_dead and not events:
                raise self._death(doing)
            for key, _ in events:
                yield key.fileobj

    def _flush(self, stdin: IO[bytes]) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: os.write(stdin.fileno(), self._outgoing[:_CHUNK])]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # Its death shows at the end of its stdout.
            self._outgoing.clear()

    def _receive(self, stdout: IO[bytes], doing: str) -> bytes | None:
        chunk = os.read(stdout.fileno(), _CHUNK)
        if not chunk:
            raise self._death(doing)
        self._buffer += chunk
        line = self._line()
        if line is None and len(self._buffer) > MAX_LINE_BYTES:
            self.kill()
            raise EngineFailed(
                f"the engine answered {doing!r} with more than {MAX_LINE_BYTES} bytes",
                remedy=FAULTY_ENGINE,
            )
        return line

    def _line(self) -> bytes | None:
        """Take the first line out of what was received."""
        # Search only the new bytes: an engine may write byte by byte.
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _death(self, doing: str) -> EngineFailed:
        """Return the error for an engine whose stdout has ended."""
        child = self._child
        if child is None:
            return EngineFailed("the engine is closed", remedy="check again")
        try:
            code = child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return EngineFailed(
                f"the engine closed its stdout at {doing!r} and was killed{self._end_of_stderr()}",
                remedy=FAULTY_ENGINE,
            )
        if code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                return EngineFailed(
                    f"the engine was ended by {name} at {doing!r}{self._end_of_stderr()}",
                    remedy=_REMEDIES.get(name, _CRASHED),
                )
        return EngineFailed(
            f"the engine ended with exit code {code} at {doing!r}{self._end_of_stderr()}",
            remedy="fix what its stderr names; repro-gate doctor shows whether it starts",
        )

    def _end_of_stderr(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _MAX_QUOTED_BYTES))
        lines = self._stderr.read().decode("utf-8", errors="replace").strip().splitlines()
        quoted = " / ".join(escape_text(line.strip()) for line in lines[-3:])
        return f"; its stderr ends with: {quoted}" if quoted else ""


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _wait_for_death(child: subprocess.Popen[bytes], limit_s: float) -> None:
    # A process that hangs in a driver does not die, and must not block the gate.
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        if hasattr(os, "pidfd_open") and child.poll() is None:
            # `Popen.wait` with a time limit looks at growing intervals, of up to 50 ms.
            process = os.pidfd_open(child.pid)
            try:
                # Not `select.select`, which refuses descriptors from 1024.
                death = select.poll()
                death.register(process, select.POLLIN)
                death.poll(limit_s * 1000)
            finally:
                os.close(process)
            limit_s = 0
        child.wait(limit_s)
