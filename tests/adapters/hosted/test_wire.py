"""HTTP/1.1 and HTTP/2 on a real connection: one pool, and no key in any library's log."""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import trustme

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import Draw
from repro_gate.core.logprobs.policy import Budget
from tests.fakes.hosted import (
    KEY,
    document_of,
    draws_by,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)
from tests.fakes.rude_server import http, rude_server

_PATIENCE_S = 5.0


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the proxies of the machine."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


class SecondVersion:
    """An HTTP/2 server that accepts one connection and gives every call the valid answer."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.keys: list[bytes] = []

    def serve(self) -> None:
        """Answer until the client disconnects."""
        with self.listener, self._accept() as line:
            line.settimeout(_PATIENCE_S)
            config = h2.config.H2Configuration(client_side=False, header_encoding=None)
            talk = h2.connection.H2Connection(config)
            talk.initiate_connection()
            line.sendall(talk.data_to_send())
            while data := line.recv(1 << 16):
                for event in talk.receive_data(data):
                    self._heed(talk, event)
                line.sendall(talk.data_to_send())

    def _accept(self) -> ssl.SSLSocket:
        return self._tls.wrap_socket(self.listener.accept()[0], server_side=True)

    def _heed(self, talk: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.keys.append(dict(event.headers)[b"authorization"])
        if isinstance(event, h2.events.StreamEnded) and event.stream_id is not None:
            head, _, body = http(document_of()).partition(b"\r\n\r\n")
            assert head
            headers = [(":status", "200"), ("content-type", "application/json")]
            talk.send_headers(event.stream_id, headers)
            talk.send_data(event.stream_id, body, end_stream=True)


@contextmanager
def _second_version(folder: Path) -> Iterator[SecondVersion]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.set_alpn_protocols(["h2"])
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server = SecondVersion(tls)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        thread.join()


def _draws(base_url: str, *, http2: bool) -> list[type]:
    cell = logprob_cell_of(provider_of(base_url, http2=http2, attempts=1, concurrency=2))
    scorer = HostedScorer(Budget(), runtime=runtime_of())
    first = draws_by(scorer, [request_of(cell, number=number) for number in range(1, 5)])
    second = draws_by(scorer, [request_of(cell, number=number) for number in range(5, 9)])
    scorer.close()
    return [type(outcome) for _, outcome in first + second]


def test_http2_uses_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All draws share it, and the libraries below ours log the call without the key."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with caplog.at_level(logging.DEBUG), _second_version(tmp_path) as server:
        port = server.listener.getsockname()[1]
        drawn = _draws(f"https://127.0.0.1:{port}/v1", http2=True)

    assert drawn == [Draw] * 8
    assert server.keys == [f"Bearer {KEY}".encode()] * 8
    # The server logs what it reads, in the same process.
    ours = [each for each in caplog.records if each.thread == threading.get_ident()]
    logged = "\n".join(each.getMessage() for each in ours)
    assert "authorization" in logged
    assert KEY not in logged


def test_http1_reuses_its_connections(caplog: pytest.LogCaptureFixture) -> None:
    """There are at most as many as concurrent calls, and no log has the key."""
    with caplog.at_level(logging.DEBUG), rude_server((http(document_of()),)) as server:
        drawn = _draws(server.url, http2=False)

    assert drawn == [Draw] * 8
    assert server.connections == 2
    assert "httpcore" in caplog.text
    assert KEY not in caplog.text
