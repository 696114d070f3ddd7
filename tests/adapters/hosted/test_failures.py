"""Answers with status 200 that report an error: handled by its code, and never a finding."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.hosted.failures import error_in
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, MissedDraw
from repro_gate.core.logprobs.policy import ProviderSpec
from tests.fakes.hosted import (
    KEY,
    document_of,
    draw_with,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
)

GOOD = document_of()
AGAIN = "(attempts: 2)"
RATE = "test-host: the answer reports a failure: status 429 (Too Many Requests)"


def _draw(*responses: httpx.Response, provider: ProviderSpec | None = None) -> DrawOutcome:
    rest = iter(responses)
    last = responses[-1]
    request = request_of(logprob_cell_of(provider or provider_of(attempts=2)))
    return draw_with(lambda _: next(rest, last), request)


def _in_choice(choice: Any) -> Any:
    return document_of(choice={"logprobs": None, "text": "", **choice})


TRANSIENT = {
    "a code": ({"error": {"code": 429, "message": "slow down"}}, f"{RATE}: slow down {AGAIN}"),
    "a code beside choices": (
        document_of(error={"code": 429, "message": "slow down"}),
        f"{RATE}: slow down {AGAIN}",
    ),
    "a code as text": ({"error": {"code": "429", "message": "x"}}, f"{RATE}: x {AGAIN}"),
    "a long code": ({"code": 42901, "message": "x"}, f"{RATE}: x {AGAIN}"),
    "a name": ({"error": {"type": "rate_limit_error", "message": "x"}}, f"{RATE}: x {AGAIN}"),
    "nested": (
        {"error": {"message": "x", "metadata": {"raw": {"status_code": "429"}}}},
        f"{RATE}: x {AGAIN}",
    ),
    "in a list": ([{"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}}], f"{RATE}: x"),
    "in words": ({"error": "Error code: 429 - no more"}, f"{RATE}: Error code: 429 - no more"),
    "vLLM's shape": ({"object": "error", "code": 429, "message": "x"}, f"{RATE}: x {AGAIN}"),
    "in the choice": (
        _in_choice({"finish_reason": "error", "error": {"code": 429, "message": "x"}}),
        f"{RATE}: x {AGAIN}",
    ),
    "no code": ({"error": "out of luck"}, "test-host: the answer reports a failure: out of luck"),
    "a detail": ({"detail": "no luck"}, "test-host: the answer has no choices: no luck"),
    "a flag": (
        {"success": False},
        'test-host: the answer reports a failure: {"success": false}',
    ),
    "no choices": (document_of(choices=[]), "test-host: the answer has no choices: "),
    "a list": ([], "test-host: the answer has no choices: []"),
    "a text": ("try later", "test-host: the answer has no choices: try later"),
    "ended in an error": (
        _in_choice({"finish_reason": "error"}),
        "test-host: the answer reports a failure: ",
    ),
}


@pytest.mark.parametrize("case", TRANSIENT)
def test_a_transient_error_is_retried(case: str) -> None:
    """Too many requests, and errors without a known code, get another attempt."""
    document, reason = TRANSIENT[case]

    passing = _draw(json_response(document), json_response(GOOD))
    lasting = _draw(json_response(document))

    assert isinstance(passing, Draw)
    assert passing.facts.attempts == 2
    assert isinstance(lasting, MissedDraw)
    assert lasting.reason.startswith(reason)
    assert lasting.reason.endswith(AGAIN)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"code": 40301, "message": "no balance"}, "status 403 (Forbidden): no balance"),
        ({"error": {"code": 404, "message": "no model"}}, "status 404 (Not Found): no model"),
        ({"error": "Model nope does not exist"}, "status 404 (Not Found): Model nope does not exi"),
        ({"detail": "Not authenticated"}, "status 401 (Unauthorized): Not authenticated"),
        ({"errors": [{"code": "invalid_request_error"}]}, "status 400 (Bad Request): "),
    ],
)
def test_a_permanent_error_is_not_retried(document: Any, expected: str) -> None:
    """By its code it is rejected, with the server's message as the reason."""
    missed = _draw(json_response(document), json_response(GOOD))

    assert isinstance(missed, MissedDraw)
    assert expected in missed.reason
    assert "attempts" not in missed.reason


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (
            "text/event-stream",
            'data: {"error": {"code": 429, "message": "slow down"}}\n\ndata: [DONE]\n',
            f"{RATE}: slow down {AGAIN}",
        ),
        ("text/plain", "429 Too Many Requests", f"{RATE}: 429 Too Many Requests {AGAIN}"),
        (
            "text/plain",
            "ask later",
            f"test-host: the answer is not JSON (text/plain): ask later {AGAIN}",
        ),
        ("text/plain", '{"error": {"code": 429, "message": "x"}}', f"{RATE}: x {AGAIN}"),
        (
            "application/json",
            "ask later",
            f"test-host: the answer is malformed JSON: ask later {AGAIN}",
        ),
        ("text/html", "<h1>no</h1>", f"test-host: the answer is not JSON (text/html) {AGAIN}"),
        (
            "text/html",
            "<!doctype html><title>Sign in &amp; go</title>",
            f"test-host: the answer is not JSON (text/html): Sign in & go {AGAIN}",
        ),
    ],
)
def test_an_error_that_is_not_json_has_its_message(kind: str, body: str, reason: str) -> None:
    """A stream, plain text and a page of HTML have a message."""
    page = httpx.Response(200, headers={"content-type": kind}, content=body.encode())

    missed = _draw(page)

    assert isinstance(missed, MissedDraw)
    assert missed.reason == reason
    assert ("login page" in (missed.remedy or "")) == (kind == "text/html")


def test_the_message_of_an_error_has_no_key() -> None:
    """A key in a body with status 200 is masked like any other."""
    missed = _draw(json_response({"error": {"message": f"the key {KEY} is spent"}}))

    assert isinstance(missed, MissedDraw)
    assert "the key *** is spent" in missed.reason


def test_a_success_is_no_error() -> None:
    """Wrappers that report success, and empty error fields, are next to valid answers."""
    wrapped = document_of(
        error=None, errors=[], success=True, code=0, status="ok", message="success", type="text"
    )

    assert error_in(wrapped) is None
    assert isinstance(_draw(json_response(wrapped)), Draw)


_NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "status", "message", "detail", "error", "x"]) | st.text(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


_NO_FAILURES: list[dict[str, Any]] = [
    {"error": {"code": None, "message": None, "param": None}},
    {"error": {"code": 0, "message": "success"}},
    {"error": "none"},
    {"errors": [{"code": "0"}]},
    {"errcode": 0, "errmsg": "ok"},
    {"error_code": "0", "error_msg": "No error"},
    {"status": "finished in 423 ms", "type": "gpt-450", "code": 200},
]


@pytest.mark.parametrize("beside", _NO_FAILURES)
def test_empty_error_fields_are_ignored(
    beside: dict[str, Any],
) -> None:
    """Some gateways send the fields of an error with every answer, in each choice as well."""
    answer = document_of(**beside)
    answer["choices"] = [{**answer["choices"][0], **beside, "finish_reason": "content_filter"}]

    assert isinstance(_draw(json_response(answer)), Draw)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ("abort", f"the server cut the answer off: finish_reason abort {AGAIN}"),
        (
            "content_filter",
            "the server cut the answer off: status 400 (Bad Request): finish_reason content_filter",
        ),
    ],
)
def test_an_aborted_answer_is_no_missing_capability(ended: str, expected: str) -> None:
    """Without log-probabilities it shows nothing about the server."""
    missed = _draw(json_response(_in_choice({"finish_reason": ended})))

    assert isinstance(missed, MissedDraw)
    assert missed.reason == f"test-host: {expected}"


def test_an_error_may_be_too_deep_to_be_shown() -> None:
    """It can be parsed, but not formatted."""
    report: Any = ["no"]
    for _ in range(5000):
        report = [report]

    failure = error_in({"errors": report})

    assert failure is not None
    assert failure.message == "an error nested too deeply to be shown"


def test_the_message_of_an_error_is_bounded() -> None:
    """It is searched for the name of a field with slow patterns."""
    failure = error_in({"error": {"message": "token " * (1 << 20)}})

    assert failure is not None
    assert len(failure.message) == 1 << 16


@given(report=_NESTED, beside=st.booleans())
def test_no_reported_error_is_a_finding(report: Any, *, beside: bool) -> None:
    """Whatever an error contains, with or without choices: the draw is missing."""
    error = report or "no"
    beside_it = {"message": "no", "metadata": report}
    document = document_of(error=beside_it) if beside else {"error": error}

    missed = _draw(
        httpx.Response(
            200, headers={"content-type": "application/json"}, content=json.dumps(document).encode()
        )
    )

    assert isinstance(missed, MissedDraw)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (422, "Input validation error: `max_new_tokens` must be strictly positive"),
        (400, "max_completion_tokens: 0 is less than the minimum of 1"),
        (400, "The number of tokens to generate must be at least 1"),
        (500, "maxTokens must be greater than 0"),
        (200, "n_predict must not be 0"),
        (400, {"message": "integer below minimum value", "param": "max_tokens"}),
    ],
)
def test_max_tokens_rejected_by_another_name_is_sent_as_one(
    status: int, words: str | dict[str, str]
) -> None:
    """A server with another name for the field is sent one, in this call and all later ones."""
    asked: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["max_tokens"])
        if asked[-1] == 0:
            error = {"message": words} if isinstance(words, str) else words
            return json_response({"error": error}, status=status)
        return json_response(document_of())

    assert isinstance(draw_with(handler), Draw)
    assert asked == [0, 1]
