"""The server that an engine asks: started as its child, or running already."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from repro_gate.engines.served.http import ServerGone
from repro_gate.engines.served.log import ServerLog
from repro_gate.engines.served.ports import LOOPBACK, Listener, free_port, listener_on
from repro_gate.process_tree import kill_marked
from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.server_settings import Placeholder, ServerSettings

_MARK: Final = "REPRO_GATE_SERVER"
_GUARD: Final = "repro_gate.engines.served.guard"
_POLL_S: Final = 0.1
_TERM_S: Final = 10.0
_DEATH_S: Final = 5.0
"""How long a server that answers no longer may take to end."""
_PORT_TAKEN: Final = re.compile(
    r"address already in use|EADDRINUSE|errno 98|couldn't bind", re.IGNORECASE
)
_SHELL_SIGNAL: Final = 128


class PortTaken(Exception):
    """Another program has the port."""


class Server(ABC):
    """A server at a URL."""

    instance: str | None = None
    """Another one for each start; None for a server that the engine did not start."""

    def __init__(self, base_url: str, *, ready_timeout_s: float) -> None:
        self.base_url = base_url
        self._ready_timeout_s = ready_timeout_s

    def wait_until_ready(self, is_ready: Callable[[], bool]) -> None:
        """Return once the server has loaded the model.

        Args:
            is_ready: asks the server; false while it is loading. May raise `ServerGone` or
                `RequestRefused`.

        Raises:
            RequestRefused: it is not ready in time, ended, or serves another model.
        """
        deadline = time.monotonic() + self._ready_timeout_s
        while not self._is_ready(is_ready):
            if time.monotonic() > deadline:
                raise _unavailable(
                    f"the server was not ready within {self._ready_timeout_s:g} s{self._evidence()}"
                )
            time.sleep(_POLL_S)

    @abstractmethod
    def _is_ready(self, is_ready: Callable[[], bool]) -> bool: ...

    def _evidence(self) -> str:
        return ""

    def death(self) -> str | None:
        """Return how the server ended and what it printed last; None while it lives."""
        return None

    def close(self) -> None:  # noqa: B027 -- a server that ran before keeps running
        """End a server that the engine started, and everything that it has started."""


class RunningServer(Server):
    """A server that somebody else started."""

    def _is_ready(self, is_ready: Callable[[], bool]) -> bool:
        try:
            return is_ready()
        except ServerGone as error:
            raise _unavailable(f"no server answers at base_url: {error}") from error


class StartedServer(Server):
    """A server that is a child of the engine."""

    def __init__(
        self, settings: ServerSettings, values: Mapping[Placeholder, str], log: ServerLog
    ) -> None:
        """Start it on a free port, without waiting until it is ready.

        Raises:
            RequestRefused: the program cannot be started.
        """
        self._port = free_port()
        super().__init__(
            f"http://{LOOPBACK}:{self._port}", ready_timeout_s=settings.ready_timeout_s
        )
        self.instance = uuid.uuid4().hex
        self._mark = f"{_MARK}={self.instance}"
        self._log = log
        self._is_ours = False
        command = settings.command({**values, Placeholder.PORT: str(self._port)})
        self._guard = _guard(self._mark)
        try:
            # In the group of the engine, so that the gate's end of the engine is its end.
            self._child = subprocess.Popen(  # noqa: S603 -- the matrix file names the program
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **settings.env, _MARK: self.instance},
            )
        except (OSError, ValueError) as error:
            self._end_guard()
            raise _unavailable(f"the server cannot be started: {error}") from error
        log.note(f"{time.strftime('%Y-%m-%d %H:%M:%S%z')} started {settings.serve[0]}")
        if self._child.stdout is not None:
            log.follow(self._child.stdout)

    def process_is_alive(self) -> bool:
        """Return whether the process that was started has not ended."""
        return self._child.poll() is None

    def death(self) -> str | None:
        """Return how the server ended, waiting a moment for its end; None while it lives."""
        with suppress(subprocess.TimeoutExpired):
            return self._end(self._child.wait(_DEATH_S))
        return None

    def close(self) -> None:
        """End it and everything that it has started: SIGTERM, 10 s, SIGKILL."""
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_TERM_S)
        kill_marked(self._mark, session=_own_session(), spare=frozenset({os.getpid()}))
        self._child.kill()
        self._child.wait()
        self._end_guard()
        self._log.note("ended")

    def _end_guard(self) -> None:
        # At the end of its stdin it would end the engine too.
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def _is_ready(self, is_ready: Callable[[], bool]) -> bool:
        code = self._child.poll()
        if code is not None:
            raise self._early_end(code)
        if not self._is_ours:
            match listener_on(self._port, self._mark):
                case Listener.NOBODY:
                    return False
                case Listener.STRANGER:
                    raise PortTaken(
                        f"a program that is no child of the engine listens on its port, "
                        f"{self._port}; use base_url for a server in a container"
                    )
                case Listener.OURS | Listener.UNKNOWN:
                    self._is_ours = True
        try:
            return is_ready() and self.process_is_alive()
        except ServerGone:
            return False

    def _early_end(self, code: int) -> Exception:
        end = self._end(code, " before it was ready")
        return PortTaken(end) if _PORT_TAKEN.search(end) else _unavailable(end)

    def _end(self, code: int, when: str = "") -> str:
        return f"the server {_end_of(code)}{when}; {self._log.end()}"

    def _evidence(self) -> str:
        return f"; {self._log.end()}"


def ready_server(
    settings: ServerSettings,
    *,
    model: Path | None,
    name: str,
    log: ServerLog,
    connect: Callable[[str], Callable[[], bool]],
) -> Server:
    """Return the server of a model once it is ready, started where the settings have a command.

    Args:
        settings: of the engine.
        model: the file or folder to serve.
        name: by which the server knows the model.
        log: keeps what a started server prints.
        connect: returns what asks the server at a URL whether it is ready; see `wait_until_ready`.

    Raises:
        RequestRefused: it cannot be started, is not ready in time, or serves another model.
    """
    values = {Placeholder.MODEL: str(model), Placeholder.NAME: name, Placeholder.HOST: LOOPBACK}
    try:
        return _ready(settings, values, log, connect)
    except PortTaken:
        # Another program may have taken the port before the server did.
        try:
            return _ready(settings, values, log, connect)
        except PortTaken as error:
            raise _unavailable(f"{error} (on two ports in a row)") from error


def _ready(
    settings: ServerSettings,
    values: Mapping[Placeholder, str],
    log: ServerLog,
    connect: Callable[[str], Callable[[], bool]],
) -> Server:
    server: Server
    if settings.base_url is None:
        server = StartedServer(settings, values, log)
    else:
        server = RunningServer(settings.base_url, ready_timeout_s=settings.ready_timeout_s)
    try:
        server.wait_until_ready(connect(server.base_url))
    except BaseException:
        server.close()
        raise
    return server


def _guard(mark: str) -> subprocess.Popen[bytes]:
    isolation = "-I" if sys.flags.isolated else "-P"
    guard = subprocess.Popen(  # noqa: S603 -- our own module
        [sys.executable, isolation, "-m", _GUARD],
        stdin=subprocess.PIPE,
        # Not in the group of the engine, which the gate kills as a whole.
        start_new_session=True,
    )
    if guard.stdin is not None:
        guard.stdin.write(f"{mark} {_own_session() or ''}\n".encode())
        guard.stdin.flush()
    return guard


def _own_session() -> int | None:
    """Return the session of this process and its children, if it is nobody else's."""
    return os.getpid() if os.getsid(0) == os.getpid() else None


def _end_of(code: int) -> str:
    number = -code if code < 0 else code - _SHELL_SIGNAL
    with suppress(ValueError):
        name = signal.Signals(number).name
        why = ", perhaps because memory ran out" if name == "SIGKILL" else ""
        return f"was ended by {name}{why}"
    return f"ended with exit code {code}"


def _unavailable(message: str) -> RequestRefused:
    return RequestRefused(Refusal.SERVER_UNAVAILABLE, message)
