"""A server on the loopback with scripted, mostly bad behaviour, byte for byte."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

_CHUNK = 1 << 16
_PATIENCE_S = 5.0
_GLANCE_S = 0.05
_LINGER_AND_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """A received request."""

    head: str
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for a number of seconds, or until the server ends."""

    seconds: float = _PATIENCE_S


class Reset:
    """Reset the connection."""


class Close:
    """Close the connection normally."""


class Tunnel:
    """Continue with TLS, as a proxy that has reached its target."""


Step: TypeAlias = bytes | Wait | Reset | Close | Tunnel | Callable[[], object]
"""A callable is called in the middle of an answer."""
Script: TypeAlias = tuple[Step, ...]


def http(
    body: object = b"", *, status: int = 200, headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a response; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {
        "content-type": "application/json",
        "content-length": str(len(content)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Some Words\r\n{head}\r\n".encode() + content


class RudeServer:
    """Answers its n-th request with the n-th script, and all later ones with the last."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.asked: list[Asked] = []
        """Every request, in the order of their arrival."""
        self.connections = 0
        """The number of connections."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        """The base URL of an API on it."""
        return f"http://{self.address}/v1"

    def start(self) -> None:
        """Start to listen."""
        self._spawn(self._accept)

    def stop(self) -> None:
        """End every connection and wait for it."""
        self._ended.set()
        # A thread that waits in `accept` is woken by a connection and not by a closed socket.
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname()):
            pass
        for thread in list(self._threads):
            thread.join(_PATIENCE_S)
        self._listener.close()

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._ended.is_set():
                connection.close()
                return
            self.connections += 1
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_GLANCE_S)
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_sockets:
            open_sockets.callback(connection.close)
            is_tunnel = any(isinstance(step, Tunnel) for step in self._scripts[0])
            if self._tls is not None and not is_tunnel:
                connection = self._secure(connection, open_sockets)
            while (asked := self._receive(connection)) is not None:
                for step in self._script_for(asked):
                    if isinstance(step, Tunnel):
                        connection = self._secure(connection, open_sockets)
                    elif isinstance(step, Close):
                        return
                    else:
                        self._do(step, connection)

    def _do(self, step: bytes | Wait | Reset | Callable[[], object], on: socket.socket) -> None:
        match step:
            case bytes():
                on.settimeout(_PATIENCE_S)
                on.sendall(step)
                on.settimeout(_GLANCE_S)
            case Wait():
                self._ended.wait(step.seconds)
            case Reset():
                on.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
                on.close()
            case _:
                step()

    def _script_for(self, asked: Asked) -> Script:
        with self._lock:
            self.asked.append(asked)
            return self._scripts[min(len(self.asked), len(self._scripts)) - 1]

    def _secure(
        self, connection: socket.socket, open_sockets: contextlib.ExitStack
    ) -> socket.socket:
        assert self._tls is not None
        connection.settimeout(_PATIENCE_S)
        secured = self._tls.wrap_socket(connection, server_side=True)
        open_sockets.callback(secured.close)
        secured.settimeout(_GLANCE_S)
        return secured

    def _receive(self, connection: socket.socket) -> Asked | None:
        """Return the next request, or None at the end."""
        data = self._until(connection, bytearray(), lambda data: b"\r\n\r\n" in data)
        if data is None:
            return None
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        lengths = [
            int(line.partition(b":")[2])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length:")
        ]
        length = sum(lengths)
        body = self._until(connection, bytearray(rest), lambda data: len(data) >= length)
        return None if body is None else Asked(head.decode("latin-1"), bytes(body))

    def _until(
        self, connection: socket.socket, data: bytearray, is_enough: Callable[[bytearray], bool]
    ) -> bytearray | None:
        while not is_enough(data):
            if self._ended.is_set():
                return None
            with contextlib.suppress(TimeoutError):
                chunk = connection.recv(_CHUNK)
                if not chunk:
                    return None
                data += chunk
        return data


@contextmanager
def rude_server(*scripts: Script, tls: ssl.SSLContext | None = None) -> Iterator[RudeServer]:
    """Give a server with these scripts."""
    server = RudeServer(*scripts, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()
