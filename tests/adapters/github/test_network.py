"""Faults of the network, proxies and servers; the token goes to one host only."""

import contextlib
import gzip
import json
import logging
import ssl
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro_gate.adapters.github.comments import GithubPullRequests
from repro_gate.adapters.github.repository import Repository
from repro_gate.adapters.http.retry import Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.comments import CiRun, CommentState, Marker, PostedComment, RunId
from repro_gate.errors import PublishFailed
from tests.fakes.rude_server import Close, Reset, Wait, http, rude_server

SECRET = "ghs_Zq7/tPx+93&vLm2~"  # noqa: S105 -- with characters that are written otherwise in URLs and JSON
MARKER = Marker(name="repro-gate", run=RunId(100, 1), state=CommentState.FAILED)
BODY = f"{MARKER}\nDrift."
COMMENT = PostedComment(id=5, url="https://github.test/5", marker=MARKER)
RUN = CiRun(
    id=RunId(100, 1),
    repository="octo/gate",
    head_sha="c0ffee",
    head_owner="mallory",
    head_branch="fix",
    server_url="https://github.test",
    from_workflow_run=True,
)
CALLS: dict[str, Callable[[GithubPullRequests], object]] = {
    "of_run": lambda pulls: pulls.of_run(RUN),
    "comments": lambda pulls: pulls.comments(7, like=MARKER),
    "create": lambda pulls: pulls.create(7, BODY),
    "update": lambda pulls: pulls.update(COMMENT, BODY),
    "delete": lambda pulls: pulls.delete(COMMENT),
}
EMPTY = http([])


def _pulls(api_url: str, runtime: Runtime, *, deadline_s: float = 90.0) -> GithubPullRequests:
    token = Secret(SECRET)
    return GithubPullRequests(
        Repository(api_url, "octo/gate", token, runtime=runtime, deadline_s=deadline_s)
    )


def _answering(
    handler: Callable[[httpx.Request], httpx.Response], runtime: Runtime
) -> GithubPullRequests:
    """Return the adapter with a handler in place of the network."""
    transport = httpx.MockTransport(handler)
    return _pulls("https://api.github.test", replace(runtime, transport=transport))


@pytest.mark.parametrize(
    "broken",
    [
        (Reset(),),
        (Close(),),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n[", Close()),
        (b"HTTP/1.1 200 OK\r\n", Reset()),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Close()),
    ],
    ids=["reset", "closed", "truncated", "half a head", "another protocol"],
)
def test_a_broken_connection_is_retried(runtime: Runtime, broken: tuple[Any, ...]) -> None:
    """The next answer counts."""
    with rude_server(broken, (EMPTY,)) as server:
        assert _pulls(server.url, runtime).comments(7, like=MARKER) == ()

    assert len(server.asked) == 2


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_missing_server_is_reported(
    runtime: Runtime, call: Callable[[GithubPullRequests], object]
) -> None:
    """Nothing was sent, so no comment has to be looked for."""
    with rude_server((EMPTY,)) as server:
        url = server.url

    with pytest.raises(PublishFailed, match="GitHub: no answer: ConnectError"):
        call(_pulls(url, runtime))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_silent_server_is_given_up(
    runtime: Runtime, call: Callable[[GithubPullRequests], object]
) -> None:
    """After the time of an attempt, each time."""
    with (
        rude_server((Wait(),)) as server,
        pytest.raises(PublishFailed, match=r"no complete answer within 0\.1 s"),
    ):
        call(_pulls(server.url, runtime, deadline_s=0.1))


def test_a_slow_drip_is_limited_in_time(runtime: Runtime) -> None:
    """Each byte comes in time, but not all of them."""
    drip = [step for _ in range(100) for step in (b" ", Wait(0.02))]
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 102\r\n\r\n"

    with (
        rude_server((head, *drip, b"[]")) as server,
        pytest.raises(PublishFailed, match="no complete answer"),
    ):
        _pulls(server.url, runtime, deadline_s=0.2).comments(7, like=MARKER)


def test_an_endless_answer_is_not_read(runtime: Runtime) -> None:
    """It is given up when it is larger than any page."""

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=iter([b" " * (1 << 24)] * 100))

    def streamed(request: httpx.Request) -> httpx.Response:
        response = handler(request)
        return httpx.Response(200, stream=_Async(response))

    with pytest.raises(PublishFailed, match="more than 67108864 bytes is not read"):
        _answering(streamed, runtime).comments(7, like=MARKER)


class _Async(httpx.AsyncByteStream):
    """The content of a response as an asynchronous stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.iter_bytes()

    async def __aiter__(self) -> Any:
        """Yield the chunks."""
        for chunk in self._chunks:
            yield chunk


def test_a_compressed_answer_is_not_read(runtime: Runtime) -> None:
    """A few bytes could expand to any size."""
    bomb = http(gzip.compress(bytes(1 << 20)), headers={"content-encoding": "gzip"})

    with (
        rude_server((bomb,)) as server,
        pytest.raises(PublishFailed, match="compressed answer"),
    ):
        _pulls(server.url, runtime).comments(7, like=MARKER)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_redirect_takes_no_token_elsewhere(
    runtime: Runtime, call: Callable[[GithubPullRequests], object], status: int
) -> None:
    """The other address gets no request."""
    with rude_server((EMPTY,)) as other:
        moved = http(status=status, headers={"location": f"http://{other.address}/steal"})
        with (
            rude_server((moved,)) as server,
            pytest.raises(PublishFailed, match=r"a redirect to 127\.0\.0\.1 is not followed"),
        ):
            call(_pulls(server.url, runtime))

    assert other.connections == 0


def test_the_next_page_is_requested_from_the_same_host(runtime: Runtime) -> None:
    """Only the presence of a link matters, not its target."""
    asked: list[httpx.URL] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        link = '<https://evil.example/steal?page=9>; rel="next"'
        if len(asked) < 3:
            return httpx.Response(200, json=[{"id": 1}], headers={"link": link})
        return httpx.Response(200, json=[{"id": 2}])

    assert _answering(handler, runtime).comments(7, like=MARKER) == ()
    assert {url.host for url in asked} == {"api.github.test"}
    assert [url.params["page"] for url in asked] == ["1", "2", "3"]


def test_a_full_page_without_a_link_is_followed_by_another(runtime: Runtime) -> None:
    """A proxy may drop the header; the comment is on the next page."""
    ours = {"id": 5, "body": BODY, "html_url": COMMENT.url, "user": {"login": "me"}}
    pages = {"1": [{"id": 1}] * 100, "2": [ours]}

    def handler(request: httpx.Request) -> httpx.Response:
        page = request.url.params.get("page")
        return httpx.Response(200, json={"login": "me"} if page is None else pages[page])

    assert _answering(handler, runtime).comments(7, like=MARKER) == (COMMENT,)


def test_endless_pages_are_given_up(runtime: Runtime) -> None:
    """A server may always announce another page."""

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[{"id": 1}], headers={"link": '<x>; rel="next"'})

    with pytest.raises(PublishFailed, match="more than 100 pages"):
        _answering(handler, runtime).comments(7, like=MARKER)


def test_an_unknown_certificate_is_rejected(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is accepted once the environment names it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    with rude_server((EMPTY,), tls=context) as server:
        url = f"https://{server.address}"
        with pytest.raises(PublishFailed, match="CERTIFICATE_VERIFY_FAILED"):
            _pulls(url, runtime).comments(7, like=MARKER)
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        another = replace(runtime, certificates=Runtime().certificates)
        assert _pulls(url, another).comments(7, like=MARKER) == ()


def test_certificates_are_loaded_once(runtime: Runtime) -> None:
    """Loading them takes longer than the calls of a job."""
    assert runtime.certificates() is runtime.certificates()


def test_a_server_in_clear_text_needs_no_certificates(runtime: Runtime) -> None:
    """None are loaded for a server on this machine."""

    def load() -> ssl.SSLContext:
        raise AssertionError("certificates were loaded")

    with rude_server((EMPTY,)) as server:
        pulls = _pulls(server.url, replace(runtime, certificates=load))
        assert pulls.comments(7, like=MARKER) == ()


def test_a_proxy_of_the_environment_is_used_for_https(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the target of the connection, and not the token."""
    with rude_server((http(status=407),)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@{proxy.address}")
        with pytest.raises(PublishFailed) as caught:
            _pulls("https://api.github.test", runtime).comments(7, like=MARKER)

    assert proxy.asked[0].head.startswith("CONNECT api.github.test:443 ")
    assert SECRET not in proxy.asked[0].head
    assert "pass" not in str(caught.value)


def test_a_proxy_is_not_used_on_this_machine(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would get the token in clear text."""
    with rude_server((EMPTY,)) as proxy, rude_server((EMPTY,)) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy.address}")
        _pulls(server.url, runtime).comments(7, like=MARKER)

    assert proxy.connections == 0


def test_an_unusable_proxy_is_reported(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address may contain a password, and is not shown."""
    monkeypatch.setenv("HTTPS_PROXY", "gopher://user:password@proxy.example")

    with pytest.raises(PublishFailed, match="a proxy or certificate") as caught:
        _pulls("https://api.github.test", runtime).comments(7, like=MARKER)

    assert "password" not in str(caught.value)
    assert caught.value.remedy == "check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"


ECHOES: dict[str, Callable[[], httpx.Response]] = {
    "message": lambda: httpx.Response(403, json={"message": f"bad token {SECRET}"}),
    "errors": lambda: httpx.Response(422, json={"message": "x", "errors": [SECRET] * 3}),
    "fields": lambda: httpx.Response(422, json={"errors": [{"message": f"no {SECRET}"}]}),
    "redirect": lambda: httpx.Response(302, headers={"location": f"https://{SECRET}.example/"}),
    "header": lambda: httpx.Response(
        403, headers={"x-accepted-github-permissions": SECRET}, json={"message": SECRET}
    ),
    "late": lambda: httpx.Response(500, json={"message": "x" * 290 + SECRET}),
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_token_is_in_no_output(
    runtime: Runtime,
    caplog: pytest.LogCaptureFixture,
    call: Callable[[GithubPullRequests], object],
    answer: Callable[[], httpx.Response],
) -> None:
    """Not even when the server repeats it: in no message, remedy, traceback, log or repr."""
    caplog.set_level(logging.DEBUG)
    sent: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["authorization"])
        return answer()

    pulls = _answering(handler, runtime)

    with pytest.raises(PublishFailed) as caught:
        call(pulls)

    assert set(sent) == {f"Bearer {SECRET}"}
    outputs = [*traceback.format_exception(caught.value), str(caught.value.remedy), repr(pulls)]
    assert SECRET[:12] not in "\n".join([*outputs, caplog.text])


def test_the_token_is_in_no_network_error(runtime: Runtime) -> None:
    """A library may put a header into its message."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError(f"Illegal header: {request.headers['authorization']}")

    with pytest.raises(PublishFailed) as caught:
        _answering(handler, runtime).comments(7, like=MARKER)

    assert caught.value.reason == (
        "GitHub: no answer: LocalProtocolError: Illegal header: Bearer ***"
    )


def test_the_token_is_in_no_redirect_error(runtime: Runtime) -> None:
    """A server may put it into the name of a host."""
    answer = httpx.Response(302, headers={"location": "https://plain.example/"})
    transport = httpx.MockTransport(lambda _: answer)
    runtime = replace(runtime, transport=transport)
    pulls = GithubPullRequests(
        Repository("https://api.github.test", "octo/gate", Secret("plain"), runtime=runtime)
    )

    with pytest.raises(PublishFailed, match=r"a redirect to \*\*\*\.example is not followed"):
        pulls.comments(7, like=MARKER)


def test_a_server_s_message_is_one_safe_line(runtime: Runtime) -> None:
    """It is written to a log, where a line may be a command."""
    message = "no\n::error::forged\r\x1b[31m\u202e" + "x" * 1000

    with pytest.raises(PublishFailed) as caught:
        _answering(lambda _: httpx.Response(418, json={"message": message}), runtime).comments(
            7, like=MARKER
        )

    assert caught.value.reason.startswith(
        "GitHub: status 418 (I'm a Teapot): no ::error::forged \\x1b[31m\\xe2\\x80\\xae"
    )
    assert len(caught.value.reason) < 400


FIELDS = (
    *("id", "body", "user", "login", "type", "html_url", "number", "head", "sha"),
    *("errors", "message", "data", "viewer", "performed_via_github_app", "slug"),
)
NAMES = (
    *("link", "retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "location"),
    "x-accepted-github-permissions",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(BODY),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
HEADERS = st.dictionaries(
    st.sampled_from(NAMES),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    | st.sampled_from(["0", "1e400", "nan", "-1", '<x>; rel="next"', "https://[", "inf"]),
    max_size=3,
)


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    call=st.sampled_from(list(CALLS.values())),
    status=st.sampled_from([200, 201, 204, 301, 403, 404, 422, 429, 500, 599, 799]),
    headers=HEADERS,
    document=JSON,
)
def test_no_answer_raises_anything_else(
    runtime: Runtime,
    call: Callable[[GithubPullRequests], object],
    status: int,
    headers: dict[str, str],
    document: Any,
) -> None:
    """The outcome is a result or a `PublishFailed`."""
    content = json.dumps(document).encode()

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, content=content)

    with contextlib.suppress(PublishFailed):
        call(_answering(handler, runtime))
