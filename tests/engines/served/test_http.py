"""Calls are bounded, and errors have the words of the server but never the key."""

from typing import Any

import httpx
import pytest

from repro_gate.engines.served.http import HttpRefused, ServerGone
from repro_gate.protocol import MAX_LINE_BYTES, Refusal, RequestRefused
from tests.fakes.served import Failure, Replies

KEY = "sk-very-secret"


def _refusal(reply: Any, *, key: str | None = None) -> HttpRefused:
    with pytest.raises(HttpRefused) as caught:
        Replies({"/ask": reply}).http(key=key).post("/ask", {})
    return caught.value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no", "type": "t"}}, "no (t)"),
        ({"object": "error", "message": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"error": "no"}, "no"),
        (["no"], '["no"]'),
    ],
)
def test_a_refusal_has_the_words_of_the_server(body: Any, words: str) -> None:
    """Wherever the kinds of servers put them."""
    error = _refusal(Failure(400, body))
    assert (error.kind, error.message) == (Refusal.BAD_REQUEST, f"/ask: HTTP 400: {words}")


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "exceed_context_size_error", Refusal.OUT_OF_CONTEXT),
        (400, "maximum context length is 8 tokens", Refusal.OUT_OF_CONTEXT),
        (404, "there is no such model", Refusal.BAD_REQUEST),
        (301, "elsewhere", Refusal.BAD_REQUEST),
        (500, "the context length is fine", Refusal.INTERNAL),
    ],
)
def test_the_kind_of_a_refusal(status: int, message: str, kind: Refusal) -> None:
    """It follows the status, and the words where a prompt is too long."""
    assert _refusal(Failure(status, {"message": message})).kind is kind


def test_words_are_bounded_and_one_line_without_the_key() -> None:
    """A server may repeat anything."""
    error = _refusal(Failure(401, {"message": f"bad key {KEY}\n\x1b[31m" + "x" * 999}), key=KEY)
    assert "bad key *** \\x1b[31mxxx" in error.message
    assert len(error.message) < 400
    assert error.message.endswith("...; api_key_env names the key")


def test_the_key_is_sent_in_a_header() -> None:
    """As a bearer token."""
    replies = Replies({"/ask": {}})
    replies.http(key=KEY).post("/ask", {})
    assert replies.authorization == f"Bearer {KEY}"
    replies.http().post("/ask", {})
    assert replies.authorization is None


@pytest.mark.parametrize(
    ("reply", "kind", "named"),
    [
        ("not JSON", Refusal.INTERNAL, "cannot be used"),
        ("[1]", Refusal.INTERNAL, "expected an object"),
        ('{"a": NaN}', Refusal.NOT_FINITE, "the number NaN"),
        (b"[" * 100_000, Refusal.INTERNAL, "cannot be used"),
        (b" " * (MAX_LINE_BYTES + 2), Refusal.INTERNAL, "more than"),
    ],
    ids=["text", "list", "nan", "deep", "long"],
)
def test_an_unusable_answer_is_refused(reply: Any, kind: Refusal, named: str) -> None:
    """It is not the gate that reads it."""
    with pytest.raises(RequestRefused, match=named) as caught:
        Replies({"/ask": reply}).http().post("/ask", {})
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ReadError("reset"), OSError("gone")]
)
def test_a_server_that_does_not_answer_is_gone(error: Exception) -> None:
    """Whatever the library below calls it."""
    with pytest.raises(ServerGone, match="/ask: the server is gone"):
        Replies({"/ask": error}).http().post("/ask", {})


def test_a_glance_has_a_limit() -> None:
    """A request that computes has none, as the gate has one."""
    with pytest.raises(ServerGone, match="no answer within 5 s"):
        Replies({"/ask": httpx.ReadTimeout("slow")}).http().get("/ask")


@pytest.mark.parametrize("health", [Failure(503), httpx.ConnectError("refused")])
def test_an_error_of_an_unhealthy_server_is_its_end(health: Any) -> None:
    """VLLM answers the requests in flight with errors when its core has died, and then none."""
    http = Replies({"/ask": Failure(500, {"detail": "core"}), "/health": health}).http()
    with pytest.raises(ServerGone, match=r"HTTP 500: core; then /health"):
        http.post("/ask", {})
