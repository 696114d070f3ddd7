"""The requests of both dialects, and the substitutes of rejected fields."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import Draw, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import Budget, LogprobCell, ProviderKind
from tests.fakes.hosted import (
    ENCODING,
    LOGPROBS,
    MODEL,
    PROMPT,
    RESPONSE,
    TEXT,
    TEXT_ENCODING,
    Counted,
    content_of,
    document_of,
    draw_with,
    draws_by,
    json_response,
    legacy_of,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)

FIREWORKS = logprob_cell_of(provider_of(kind=ProviderKind.FIREWORKS))
OPENAI = logprob_cell_of(provider_of(kind=ProviderKind.OPENAI))
IDS = [1, 10, 11, 12, 20, 21]
ASKED_OF_FIREWORKS = {
    "model": MODEL,
    "temperature": 0.7,
    "max_tokens": 0,
    "logprobs": True,
    "return_token_ids": True,
    "top_p": 1,
    "top_k": 0,
    "n": 1,
    "stream": False,
    "context_length_exceeded_behavior": "error",
}
ASKED_OF_OPENAI = {
    "model": MODEL,
    "temperature": 0.7,
    "max_tokens": 0,
    "logprobs": 1,
    "return_token_ids": True,
    "top_p": 1,
    "n": 1,
    "stream": False,
}
ALL = (None, -9.0, -9.0, -9.0, *LOGPROBS)


class Api:
    """An API that rejects fields with a message, and records the requests."""

    def __init__(self, refusals: dict[str, tuple[int, str]], answer: Callable[[Any], Any]) -> None:
        self._refusals = refusals
        self._answer = answer
        self.bodies: list[Any] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer or reject, after other calls had a chance to run."""
        body = json.loads(request.content)
        self.bodies.append(body)
        await asyncio.sleep(0)
        for field, (status, words) in self._refusals.items():
            if repr(body.get(field)) not in {"None", "1"}:
                return json_response({"error": {"message": words}}, status=status)
        return json_response(self._answer(body))


def _echo(body: Any) -> Any:
    """Answer as a server that supports `echo`, `echo_last` and `max_tokens`."""
    skipped = len(PROMPT) if "echo_last" in body else 0
    pieces, logprobs = [*PROMPT, *RESPONSE][skipped:], [*ALL][skipped:]
    for _ in range(body["max_tokens"]):
        pieces.append(PROMPT[1])
        logprobs.append(-3.0)
    shape = content_of if body["logprobs"] is True else legacy_of
    return document_of(shape(pieces, logprobs))


@pytest.mark.parametrize(
    ("cell", "encoding", "body"),
    [
        (FIREWORKS, ENCODING, {**ASKED_OF_FIREWORKS, "prompt": IDS, "echo_last": 2}),
        (FIREWORKS, TEXT_ENCODING, {**ASKED_OF_FIREWORKS, "prompt": TEXT, "echo_last": 2}),
        (OPENAI, ENCODING, {**ASKED_OF_OPENAI, "prompt": IDS, "echo": True}),
        (OPENAI, TEXT_ENCODING, {**ASKED_OF_OPENAI, "prompt": TEXT, "echo": True}),
    ],
)
def test_a_draw_is_one_call(cell: LogprobCell, encoding: Encoding, body: Any) -> None:
    """Prompt and response are sent together, as ids where they are known, with every setting."""
    api = Api({}, _echo)

    drawn = draw_with(api, request_of(cell, encoding=encoding))

    assert isinstance(drawn, Draw)
    assert drawn.logprobs == LOGPROBS
    assert api.bodies == [body]


@pytest.mark.parametrize(
    ("cell", "body"),
    [
        (FIREWORKS, {**ASKED_OF_FIREWORKS, "prompt": TEXT, "echo": True}),
        (OPENAI, {**ASKED_OF_OPENAI, "prompt": TEXT, "echo": True}),
    ],
)
def test_an_encoding_is_one_call(cell: LogprobCell, body: Any) -> None:
    """The text is sent and echoed."""
    api = Api({}, _echo)
    scorer = HostedScorer(Budget(), runtime=runtime_of(api))

    found = scorer.encode([cell])
    scorer.close()

    assert found == [ENCODING]
    assert api.bodies == [body]


def test_a_system_prompt_is_part_of_the_text() -> None:
    """The text is what the template makes; no other endpoint adds to it."""
    api = Api({}, _echo)
    cell = logprob_cell_of(prompt="{system}", template="<{system}|{prompt}>")
    scorer = HostedScorer(Budget(), runtime=runtime_of(api))

    scorer.encode([cell])
    scorer.close()

    assert [body["prompt"] for body in api.bodies] == ["<|{system}> Hello you"]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("cell", [FIREWORKS, OPENAI], ids=["fireworks", "openai"])
def test_max_tokens_of_0_may_be_rejected(cell: LogprobCell, status: int) -> None:
    """Then one token is generated and dropped, in all later calls as well."""
    api = Api({"max_tokens": (status, "max_tokens must be at least 1")}, _echo)
    scorer = HostedScorer(Budget(), runtime=runtime_of(api))

    results = draws_by(scorer, [request_of(cell, number=number) for number in (1, 2)])
    encoded = scorer.encode([cell])
    scorer.close()

    assert [getattr(outcome, "logprobs", None) for _, outcome in results] == [LOGPROBS] * 2
    assert encoded == [ENCODING]
    # The first call goes alone, so that the second one need not be refused.
    assert [body["max_tokens"] for body in api.bodies] == [0, 1, 1, 1]


def test_echo_last_may_be_rejected() -> None:
    """A server without `echo_last` is asked for a full echo."""
    api = Api({"echo_last": (400, "Unrecognized argument: echo_last")}, _echo)

    drawn = draw_with(api, request_of(FIREWORKS))

    assert isinstance(drawn, Draw)
    assert (drawn.logprobs, drawn.facts.attempts) == (LOGPROBS, 2)
    assert api.bodies[1] == {**ASKED_OF_FIREWORKS, "prompt": IDS, "echo": True}


def test_several_fields_may_be_rejected() -> None:
    """They are replaced one after the other."""
    api = Api(
        {
            "return_token_ids": (400, "return_token_ids: Extra inputs are not permitted"),
            "max_tokens": (400, "max_tokens: too small"),
        },
        _echo,
    )

    drawn = draw_with(api, request_of(OPENAI, encoding=TEXT_ENCODING))

    assert isinstance(drawn, Draw)
    without = {**ASKED_OF_OPENAI, "prompt": TEXT, "echo": True, "max_tokens": 1}
    del without["return_token_ids"]
    assert api.bodies[2] == without


def test_a_field_is_replaced_once() -> None:
    """A server that rejects the substitute too is not called a third time."""

    def refuse(_: httpx.Request) -> httpx.Response:
        return json_response({"error": {"message": "max_tokens is unwelcome"}}, status=400)

    api = Counted(refuse)
    scorer = HostedScorer(Budget(), runtime=runtime_of(api))

    ((_, outcome),) = draws_by(scorer, [request_of()])
    scorer.close()

    reason = "test-host: status 400 (Bad Request): max_tokens is unwelcome"
    assert isinstance(outcome, MissedDraw)
    assert outcome.reason == reason
    assert api.calls == 2


def test_an_ignored_echo_last_is_handled() -> None:
    """All positions may come although only the last ones were requested."""
    everything = Api({}, lambda _: document_of(content_of((*PROMPT, *RESPONSE), ALL)))

    drawn = draw_with(everything, request_of(FIREWORKS))

    assert isinstance(drawn, Draw)
    assert drawn.logprobs == LOGPROBS


def test_another_model_answering_is_invalid() -> None:
    """A baseline has the name that the model answers with."""
    request = request_of(answers_as="accounts/test/models/tiny-v1")

    found = draw_with(lambda _: json_response(document_of()), request)

    assert isinstance(found, InvalidDraw)
    assert found.reason == (
        f"the model {MODEL!r} answered in place of 'accounts/test/models/tiny-v1'"
    )


def test_a_call_has_an_id_and_asks_for_no_compression() -> None:
    """Each call has its own id, and its answer cannot expand."""
    heads: list[httpx.Headers] = []

    def keep(request: httpx.Request) -> httpx.Response:
        heads.append(request.headers)
        return json_response(document_of())

    draw_with(keep)
    draw_with(keep)

    assert {head["accept-encoding"] for head in heads} == {"identity"}
    assert len({head["x-request-id"] for head in heads}) == 2


def test_a_cookie_is_not_kept() -> None:
    """It would bind all draws to the backend that made the first."""
    cookies: list[str | None] = []

    def bake(request: httpx.Request) -> httpx.Response:
        cookies.append(request.headers.get("cookie"))
        return json_response(document_of(), set_cookie="backend=7")

    scorer = HostedScorer(Budget(), runtime=runtime_of(bake))
    draws_by(scorer, [request_of(number=1)])
    draws_by(scorer, [request_of(number=2)])
    scorer.close()

    assert cookies == [None, None]
