"""Servers that misbehave on a real connection: no draw is lost, and each has the reason."""

import gzip
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from repro_gate.adapters.http.retry import status_text
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, MissedDraw
from tests.fakes.hosted import (
    KEY,
    LOGPROBS,
    document_of,
    draw_with,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)
from tests.fakes.rude_server import (
    Close,
    Reset,
    RudeServer,
    Script,
    Tunnel,
    Wait,
    http,
    rude_server,
)

GOOD = http(document_of())
BOMB = gzip.compress(bytes(1 << 24))
_SHORT_S = 0.15


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the proxies and certificates of the machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Return a certificate authority, whose certificate is in `ca.pem`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


def _draw(base_url: str, *, attempts: int = 2, timeout_s: float = 5.0) -> DrawOutcome:
    provider = provider_of(base_url, attempts=attempts, timeout_s=timeout_s)
    cell = logprob_cell_of(provider)
    return draw_with(None, request_of(cell), runtime=runtime_of())


def _missed(base_url: str, *, attempts: int = 2, timeout_s: float = 5.0) -> str:
    outcome = _draw(base_url, attempts=attempts, timeout_s=timeout_s)
    assert isinstance(outcome, MissedDraw)
    return outcome.reason


def _tls_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.mark.parametrize(
    "fault",
    [
        (Reset(),),
        (Close(),),
        (GOOD[:-20], Close()),
        (GOOD[:-20], Reset()),
        (GOOD[:30], Reset()),
        (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", Close()),
        (b"\x00\xff garbage\r\n\r\n", Close()),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Close()),
        (http(b"", status=500, headers={"content-length": "5"}), Close()),
        (http({}, status=503),),
        (http(b"<html>"),),
    ],
)
def test_a_transient_fault_costs_one_attempt(fault: Script) -> None:
    """Resets, truncated bodies and garbage are followed by a second attempt, which is a draw."""
    with rude_server(fault, (GOOD,)) as server:
        drawn = _draw(server.url)

    assert isinstance(drawn, Draw)
    assert (drawn.logprobs, drawn.facts.attempts) == (LOGPROBS, 2)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ((Reset(),), "no answer: ReadError"),
        (
            (Close(),),
            "no answer: RemoteProtocolError: Server disconnected without sending a response.",
        ),
        ((GOOD[:-20], Close()), "no answer: RemoteProtocolError: peer closed connection without "),
        ((http(b"<html>"),), "the answer is malformed JSON"),
    ],
)
def test_a_lasting_fault_is_a_missing_draw(fault: Script, reason: str) -> None:
    """It has the last fault and the number of attempts."""
    with rude_server(fault) as server:
        found = _missed(server.url)

    assert found.startswith(f"test-host: {reason}")
    assert found.endswith("(attempts: 2)")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "fault",
    [
        (Wait(),),
        (GOOD[:30], Wait()),
        (GOOD[:-20], Wait()),
        tuple(step for byte in GOOD for step in (bytes([byte]), Wait(0.01))),
    ],
    ids=["silence", "within the head", "within the body", "a slow drip"],
)
def test_an_attempt_is_limited_in_time(fault: Script) -> None:
    """The limit is for the time from connecting to the last byte."""
    with rude_server(fault) as server:
        started = time.monotonic()
        found = _missed(server.url, timeout_s=_SHORT_S)
        took_s = time.monotonic() - started

    assert found == "test-host: no complete answer within 0.15 s (attempts: 2)"
    assert took_s < 10 * _SHORT_S


def test_an_attempt_ends_at_the_deadline() -> None:
    """The time left for all draws may be shorter than that of an attempt."""
    provider = provider_of("", attempts=1, timeout_s=5.0, deadline_s=_SHORT_S)
    with rude_server((Wait(),)) as server:
        cell = logprob_cell_of(replace(provider, base_url=server.url))
        missed = draw_with(None, request_of(cell), runtime=runtime_of())

    assert missed == MissedDraw(
        reason="test-host: no complete answer within 0.15 s (attempts: 1)",
        remedy="raise timeout_s or lower concurrency of the provider, or repeat it later",
    )


def test_a_connection_is_limited_in_time() -> None:
    """A machine that does not accept is given up after the same time."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        # What waits in the queue of a server that does not accept keeps all others out.
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)  # noqa: FBT003 -- the name is the method's
            client.connect_ex(address)
        found = _missed(f"http://127.0.0.1:{address[1]}/v1", timeout_s=_SHORT_S, attempts=1)
        for client in waiting:
            client.close()

    assert found == "test-host: no answer: ConnectTimeout (attempts: 1)"


def test_a_handshake_is_limited_in_time() -> None:
    """A server without TLS may stay silent."""
    with rude_server((Wait(),)) as server:
        found = _missed(f"https://{server.address}/v1", timeout_s=_SHORT_S, attempts=1)

    assert found == "test-host: no answer: ConnectTimeout (attempts: 1)"


def test_a_closed_port_is_a_missing_draw() -> None:
    """A refused connection is retried like any other fault."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    found = _missed(f"http://127.0.0.1:{port}/v1")

    assert found.startswith("test-host: no answer: ConnectError: ")
    assert found.endswith("(attempts: 2)")


def test_an_unknown_host_is_a_missing_draw() -> None:
    """The reason has the message of the resolver."""
    found = _missed("https://nonexistent.invalid/v1")

    assert found.startswith("test-host: no answer: ConnectError: [Errno -")


def test_an_invalid_port_is_a_missing_draw() -> None:
    """Exceptions of the libraries below httpx are reasons like any other."""
    assert _missed("https://127.0.0.1:99999/v1") == (
        "test-host: the call failed: OverflowError: connect(): port must be 0-65535."
    )


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (
            http(BOMB, headers={"content-encoding": "gzip"}),
            "a compressed answer, which was not asked for, is not read",
        ),
        (
            http(b"", headers={"content-length": str(1 << 40)}) + bytes((1 << 24) + 1),
            "an answer of more than 16777216 bytes is not read",
        ),
    ],
    ids=["gzip bomb", "oversized"],
)
def test_an_answer_that_would_fill_memory_is_not_read(response: bytes, reason: str) -> None:
    """It is neither decompressed nor requested again."""
    with rude_server((response, Close())) as server:
        found = _missed(server.url)

    assert found == f"test-host: {reason}"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        http(BOMB, status=404, headers={"content-encoding": "gzip"}),
        http(bytes(1 << 20), status=404),
    ],
    ids=["gzip bomb", "oversized"],
)
def test_a_large_error_is_reported_by_its_status(body: bytes) -> None:
    """Its message is dropped."""
    with rude_server((body, Close())) as server:
        found = _missed(server.url)

    assert found.startswith("test-host: status 404 (Not Found)")
    assert len(found) < 2000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """The other server gets neither the key nor anything else, and only its host is shown."""
    with rude_server((GOOD,)) as other:
        target = {"location": f"http://{other.address}/v1/completions?key={KEY}"}
        with rude_server((http(status=status, headers=target),)) as server:
            found = _missed(server.url)

    assert found == f"test-host: {status_text(status)}: a redirect to 127.0.0.1 is not followed"
    assert (len(server.asked), other.asked) == (1, [])


def test_an_undecodable_host_is_a_missing_draw() -> None:
    """The host has the prefix of an encoded name, and is not one."""
    found = _missed("https://xn--0000.invalid/v1")

    assert found.startswith("test-host: ")


@pytest.mark.parametrize("headers", [{}, {"location": "https://a:port"}])
def test_a_redirect_without_a_valid_location_is_not_followed(headers: dict[str, str]) -> None:
    """The reason shows no host."""
    with rude_server((http(status=300, headers=headers),)) as server:
        found = _missed(server.url)

    assert found == (
        "test-host: status 300 (Multiple Choices): a redirect to another place is not followed"
    )


def test_a_local_server_is_not_called_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy would get the key in clear text."""
    with rude_server((GOOD,)) as proxy, rude_server((GOOD,)) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        drawn = _draw(server.url)

        assert isinstance(drawn, Draw)
        assert (len(server.asked), len(proxy.asked)) == (1, 0)


def _through(proxy: RudeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DrawOutcome:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return _draw("https://api.test/v1")


def test_a_proxy_tunnels_encrypted_traffic(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only the provider gets the key."""
    connected = b"HTTP/1.1 200 Connected\r\n\r\n"
    with rude_server((connected, Tunnel()), (GOOD,), tls=_tls_of(authority, "api.test")) as proxy:
        drawn = _through(proxy, monkeypatch, tmp_path)

    assert isinstance(drawn, Draw)
    assert proxy.asked[0].head.startswith("CONNECT api.test:443 HTTP/1.1")
    assert KEY not in proxy.asked[0].head
    assert f"Bearer {KEY}" in proxy.asked[1].head


def test_a_refusing_proxy_is_reported(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its status is shown, and is no answer of the provider."""
    refused = b"HTTP/1.1 407 Who Are You\r\ncontent-length: 0\r\n\r\n"
    with rude_server((refused,)) as proxy:
        missed = _through(proxy, monkeypatch, tmp_path)

    assert isinstance(missed, MissedDraw)
    assert missed.reason == "test-host: no answer: ProxyError: 407 Who Are You (attempts: 2)"
    assert missed.remedy is not None
    assert "proxy settings" in missed.remedy


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "socks5://user:hunter2@127.0.0.1:1"),
        ("HTTPS_PROXY", "ftp://user:hunter2@127.0.0.1:1"),
        ("SSL_CERT_FILE", "hunter2.pem"),
    ],
)
def test_an_unusable_environment_is_reported(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The remedy names the variables, without a password in them."""
    monkeypatch.setenv(name, value)

    missed = _draw("https://api.test/v1")

    assert isinstance(missed, MissedDraw)
    assert missed.remedy is not None
    assert "hunter2" not in f"{missed}"


def test_an_authority_of_the_environment_is_trusted(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A company's own certificate is named by SSL_CERT_FILE, as everywhere."""
    with rude_server((GOOD,), tls=_tls_of(authority, "127.0.0.1")) as server:
        url = f"https://{server.address}/v1"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        trusted = _draw(url)
        monkeypatch.delenv("SSL_CERT_FILE")
        unknown = _draw(url, attempts=1)

    assert isinstance(trusted, Draw)
    assert isinstance(unknown, MissedDraw)
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.reason
    assert len(server.asked) == 1


def test_a_certificate_of_another_host_is_not_accepted(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The key goes to the named host or nowhere."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with rude_server((GOOD,), tls=_tls_of(authority, "other.test")) as server:
        found = _missed(f"https://{server.address}/v1", attempts=1)

    assert "CERTIFICATE_VERIFY_FAILED" in found
    assert server.asked == []
