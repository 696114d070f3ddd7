"""Retries: which statuses, Retry-After in three formats, back-off with jitter."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, MissedDraw
from repro_gate.core.logprobs.policy import Budget, ProviderSpec
from tests.fakes.hosted import (
    TEXT_ENCODING,
    FakeTime,
    document_of,
    draw_with,
    draws_by,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)

GOOD = json_response(document_of())


class Sequel:
    """Answers with one response after the other, and repeats the last one."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self._responses = responses
        self.calls = 0

    def __call__(self, _: httpx.Request) -> httpx.Response:
        """Answer."""
        self.calls += 1
        response = self._responses[min(self.calls, len(self._responses)) - 1]
        if isinstance(response, Exception):
            raise response
        return response


def _failure(status: int, **headers: str) -> httpx.Response:
    return json_response({"error": {"message": "not now"}}, status=status, **headers)


def _draw(
    sequel: Sequel,
    *,
    time: FakeTime | None = None,
    luck: float = 0.0,
    provider: ProviderSpec | None = None,
) -> DrawOutcome:
    runtime = runtime_of(sequel, time=time, luck=luck)
    request = request_of(logprob_cell_of(provider))
    return draw_with(None, request, runtime=runtime)


_USED_UP = (
    "lower concurrency of providers.test-host, or resume later with --resume; a used-up quota has "
    "to be raised at the provider"
)
_GONE = (
    "check base_url and whether test-host still serves the model; for another model change the "
    "policy in the matrix, then repro-gate record-baseline"
)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_transient_status_is_retried(status: int) -> None:
    """A valid answer after a failure is a draw, and the attempts are counted."""
    drawn = _draw(Sequel(_failure(status), GOOD))

    assert isinstance(drawn, Draw)
    assert drawn.facts.attempts == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 413, 422, 451])
def test_a_permanent_status_is_not_retried(status: int) -> None:
    """A rejected request stays rejected."""
    sequel = Sequel(_failure(status), GOOD)

    missed = _draw(sequel)

    assert isinstance(missed, MissedDraw)
    assert missed.reason.startswith(f"test-host: status {status} (")
    assert missed.reason.endswith("): not now")
    assert sequel.calls == 1


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "set TEST_API_KEY to a key that test-host accepts"),
        (403, "set TEST_API_KEY to a key that test-host accepts"),
        (402, "add credit to the account at test-host"),
        (404, _GONE),
        (410, _GONE),
        (413, "shorten the prompt or the response of the item"),
        (
            422,
            "change the policy or providers.test-host in the matrix as the server's message asks",
        ),
        (429, _USED_UP),
        (503, "the server fails: resume later with --resume, or ask its operator"),
    ],
)
def test_each_status_has_a_remedy_of_its_own(status: int, remedy: str) -> None:
    """A missing key, a retired model and a used-up quota have different remedies."""
    missed = _draw(Sequel(_failure(status)))

    assert isinstance(missed, MissedDraw)
    assert missed.remedy == remedy


@pytest.mark.parametrize(("status", "calls"), [(401, 1), (404, 3)])
def test_a_rejected_key_stops_all_calls(status: int, calls: int) -> None:
    """A thousand calls with a wrong key would look like an attack; another model may exist."""
    sequel = Sequel(_failure(status))
    cell = logprob_cell_of(provider_of(concurrency=1))
    requests = [request_of(cell, number=number) for number in (1, 2, 3)]

    with closing(HostedScorer(Budget(), runtime=runtime_of(sequel))) as scorer:
        outcomes = draws_by(scorer, requests)

    assert len({outcome for _, outcome in outcomes}) == 1
    assert isinstance(outcomes[0][1], MissedDraw)
    assert sequel.calls == calls


@pytest.mark.parametrize("status", [204, 299, 600, 999])
def test_an_unknown_status_is_not_an_answer(status: int) -> None:
    """Only 200 has an answer."""
    missed = _draw(Sequel(_failure(status), GOOD))

    assert isinstance(missed, MissedDraw)
    assert missed.reason.startswith(f"test-host: status {status}")


def test_the_last_attempt_gives_the_reason() -> None:
    """After it the draw is missing."""
    sequel = Sequel(_failure(503))

    missed = _draw(sequel)

    assert missed == MissedDraw(
        reason="test-host: status 503 (Service Unavailable): not now (attempts: 6)",
        remedy="the server fails: resume later with --resume, or ask its operator",
    )
    assert sequel.calls == 6


@pytest.mark.parametrize(
    ("luck", "slept"), [(1.0, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]), (0.5, [0.25, 0.5, 1, 2, 4, 4])]
)
def test_the_wait_doubles_with_jitter(luck: float, slept: Sequence[float]) -> None:
    """Exponential back-off with full jitter keeps clients from returning all at once."""
    time = FakeTime()

    _draw(Sequel(_failure(503)), time=time, luck=luck, provider=provider_of(attempts=7))

    assert time.slept == slept


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, 0.25),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "Tue, 01 Jan 2030 00:00:09 GMT"}, 9.0),
        ({"retry_after": "Tue, 01 Jan 2030 00:00:09 -0000"}, 9.0),
        ({"retry_after_ms": "1250"}, 1.25),
        ({"retry_after_ms": "1250", "retry_after": "7"}, 1.25),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 0.25),
        ({"retry_after": "0.1"}, 0.25),
        ({"retry_after": "100000"}, 60.0),
        ({"retry_after": "1e999"}, 60.0),
        ({"retry_after": "inf"}, 60.0),
        ({"retry_after_ms": "99999999"}, 60.0),
        ({"retry_after": "nan"}, 0.25),
        ({"retry_after": "-5"}, 0.25),
        ({"retry_after": "soon"}, 0.25),
        ({"retry_after": "Fri, 99 Foo 20300 99:99:99 GMT"}, 0.25),
        ({"retry_after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 60.0),
        ({"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.25),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_may_ask_for_a_wait(status: int, headers: dict[str, str], wait_s: float) -> None:
    """Retry-After works in seconds, as a date and in milliseconds, up to a minute."""
    time = FakeTime()

    drawn = _draw(Sequel(_failure(status, **headers), GOOD), time=time, luck=0.5)

    assert isinstance(drawn, Draw)
    assert time.seconds == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("jump", "wait_s"), [(timedelta(days=400), 0.25), (timedelta(days=-400), 60.0)]
)
def test_a_clock_that_jumps_neither_hangs_nor_spins(jump: timedelta, wait_s: float) -> None:
    """A date is compared with a clock that may be wrong by years."""
    time = FakeTime()
    time.jump = jump
    failure = _failure(429, retry_after="Tue, 01 Jan 2030 00:00:09 GMT")

    drawn = _draw(Sequel(failure, GOOD), time=time, luck=0.5)

    assert isinstance(drawn, Draw)
    assert time.seconds == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(200, content=b"{}"), "the answer is not JSON (no content type)"),
        (
            httpx.Response(200, headers={"content-type": "application/json"}, content=b'{"a":'),
            "the answer is malformed JSON",
        ),
        (
            httpx.Response(200, headers={"content-type": "application/json"}, content=b"\xff\xfe"),
            "the answer is malformed JSON",
        ),
        (
            httpx.Response(
                200, headers={"content-type": "application/json"}, content=b"[" * 100_000
            ),
            "the answer is malformed JSON",
        ),
        (
            httpx.Response(
                200, headers={"content-type": "application/json"}, content=b"1" * 100_000
            ),
            "the answer is malformed JSON",
        ),
        (httpx.ReadError("broken\r\noff"), "no answer: ReadError: broken off"),
        (httpx.ConnectError("[Errno 111] refused"), "no answer: ConnectError: [Errno 111] refused"),
        (httpx.ProxyError("407"), "no answer: ProxyError: 407"),
        (OSError("odd"), "no answer: OSError: odd"),
    ],
)
def test_a_broken_answer_is_requested_again(
    response: httpx.Response | Exception, reason: str
) -> None:
    """HTML, half a document or a connection fault is no measurement, and may be transient."""
    passing = _draw(Sequel(response, GOOD))
    lasting = _draw(Sequel(response), provider=provider_of(attempts=2))

    assert isinstance(passing, Draw)
    assert isinstance(lasting, MissedDraw)
    assert lasting.reason == f"test-host: {reason} (attempts: 2)"


def test_other_json_types_are_json() -> None:
    """A media type may end in +json."""
    response = httpx.Response(
        200,
        headers={"content-type": "Application/vnd.api+JSON; charset=utf-8"},
        json=document_of(),
    )

    assert isinstance(_draw(Sequel(response)), Draw)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(404, json={"error": {"message": "no model"}}), ": no model"),
        (httpx.Response(404, json={"error": "no model"}), ": no model"),
        (httpx.Response(404, json={"message": "no model"}), ": no model"),
        (httpx.Response(404, json={"detail": [{"msg": "no"}]}), ': [{"msg": "no"}]'),
        (httpx.Response(404, json={"error": None}), ': {"error": null}'),
        (httpx.Response(404, text="no\x1b[2Jmodel\n\n here"), ": no\\x1b[2Jmodel here"),
        (httpx.Response(404, text="x" * 1000), f": {'x' * 300}..."),
        (httpx.Response(404, text="x" * 100_000), f": {'x' * 300}..."),
        (httpx.Response(404, html="<h1>no</h1>"), ""),
        (httpx.Response(404, content=b"\x00"), ""),
        (
            httpx.Response(404, headers={"content-type": "application/json"}, content=b"{no"),
            ": {no",
        ),
    ],
)
def test_a_server_s_message_is_safe_and_short(response: httpx.Response, words: str) -> None:
    """It is found in any of the usual fields, and cannot control a terminal."""
    missed = _draw(Sequel(response))
    assert isinstance(missed, MissedDraw)
    assert missed.reason == f"test-host: status 404 (Not Found){words}"


class _Refusing:
    """Refuses connections for one prompt, and later for all."""

    def __init__(self, *, prompt: str = "none", after: float = float("inf")) -> None:
        self._prompt = prompt
        self._after = after
        self.calls = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer or refuse the connection, after other calls had a chance to run."""
        self.calls += 1
        await asyncio.sleep(0)
        if self.calls > self._after or self._prompt in str(json.loads(request.content)["prompt"]):
            raise httpx.ConnectError("[Errno 111] refused")
        return GOOD


def _outcomes(server: _Refusing, prompts: str, *, concurrency: int = 1) -> list[DrawOutcome]:
    provider = provider_of(concurrency=concurrency)
    cells = [logprob_cell_of(provider, prompt=prompt) for prompt in prompts]
    requests = [request_of(cell, encoding=TEXT_ENCODING) for cell in cells]
    with closing(HostedScorer(Budget(), runtime=runtime_of(server))) as scorer:
        return [outcome for _, outcome in draws_by(scorer, requests)]


def test_a_server_that_cannot_be_reached_is_waited_for_once() -> None:
    """The other draws have the same reason, and cost no attempt."""
    server = _Refusing(after=0)

    found = _outcomes(server, "abcd")

    reason = "test-host: no answer: ConnectError: [Errno 111] refused (attempts: 6)"
    assert [getattr(one, "reason", None) for one in found] == [reason] * 4
    assert server.calls == 6


def test_a_server_that_is_gone_is_waited_for_once() -> None:
    """What it answered before stands."""
    server = _Refusing(after=2)

    found = _outcomes(server, "abcd")

    assert [type(one) for one in found] == [Draw, Draw, MissedDraw, MissedDraw]
    assert server.calls == 2 + 6


def test_a_server_that_answers_others_is_not_gone() -> None:
    """A draw that never got a connection does not end the ones after it."""
    server = _Refusing(prompt="Say x:")

    found = _outcomes(server, "ax" + "b" * 60, concurrency=2)

    assert sorted(type(one).__name__ for one in found) == [*["Draw"] * 61, "MissedDraw"]


def test_a_failure_that_names_a_field_is_not_final() -> None:
    """A draw after a server error is made, although the error named `logprobs`."""
    failed = json_response({"error": {"message": "no logprobs: engine died"}}, status=500)
    sequel = Sequel(failed, GOOD)
    requests = [request_of(number=number) for number in (1, 2)]

    with closing(HostedScorer(Budget(), runtime=runtime_of(sequel))) as scorer:
        found = [outcome for _, outcome in draws_by(scorer, requests)]

    assert [type(one) for one in found] == [Draw, Draw]


def test_an_answer_that_is_quoted_as_a_whole_rejects_no_field() -> None:
    """It names `logprobs` as an answer does, so the next draw is made."""
    broken = json_response({"choices": [{"finish_reason": "error", "logprobs": None}]})
    sequel = Sequel(*[broken] * 6, GOOD)
    requests = [request_of(number=number) for number in (1, 2)]

    with closing(HostedScorer(Budget(), runtime=runtime_of(sequel))) as scorer:
        found = [outcome for _, outcome in draws_by(scorer, requests)]

    assert [type(one) for one in found] == [MissedDraw, Draw]


@pytest.mark.parametrize(("paused", "kind"), [(100.0, Draw), (0.0, MissedDraw)])
def test_a_deadline_does_not_run_during_a_wait(paused: float, kind: type[DrawOutcome]) -> None:
    """Between two looks hours may pass in which nothing is asked for."""
    time = FakeTime()
    request = request_of(logprob_cell_of(provider_of(deadline_s=50.0)))
    made: list[DrawOutcome] = []
    with closing(HostedScorer(Budget(), runtime=runtime_of(Sequel(GOOD), time=time))) as scorer:
        scorer.paused(1000.0)
        scorer.draw([request], seen=lambda _, outcome: made.append(outcome))
        asyncio.run(time.sleep(100.0))
        scorer.paused(paused)
        scorer.draw([request], seen=lambda _, outcome: made.append(outcome))

    assert [type(each) for each in made] == [Draw, kind]
