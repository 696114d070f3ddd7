"""Draws of the kinds that generate: what is sent, rejected fields and limits, and bad answers."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import Draw, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import (
    Budget,
    Endpoint,
    LogprobCell,
    PolicyKind,
    ProviderKind,
)
from tests.fakes.hosted import (
    KEY,
    MODEL,
    document_of,
    draw_with,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
BEST = {" Hello": -0.5, " Hi": -1.5, " Hey": -2.5}


def cell_of(
    kind: PolicyKind = PolicyKind.FIRST_TOKEN,
    endpoint: Endpoint = Endpoint.CHAT,
    provider: ProviderKind = ProviderKind.OPENAI,
    **changes: Any,
) -> LogprobCell:
    """Return a cell whose policy generates."""
    cell = logprob_cell_of(provider_of(kind=provider, attempts=1))
    usual = {"system": "Be brief.", "template": "", "temperature": 0.0, "top_logprobs": 3}
    tokens = 1 if kind is PolicyKind.FIRST_TOKEN else 2
    own = {"kind": kind, "endpoint": endpoint, "max_tokens": tokens}
    return LogprobCell(policy=replace(cell.policy, **{**usual, **own, **changes}), item=cell.item)


def rows_of(*tokens: dict[str, float]) -> Any:
    """Return log-probabilities of tokens, each the best of its alternatives."""
    return {
        "content": [
            {
                "token": next(iter(likely)),
                "logprob": next(iter(likely.values())),
                "top_logprobs": [{"token": one, "logprob": value} for one, value in likely.items()],
            }
            for likely in tokens
        ]
    }


class Server:
    """Answers each question with the next document, or rejects it; keeps what was sent."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.paths: list[str] = []
        self.bodies: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.paths.append(request.url.path)
        if request.method == "GET":
            return json_response({"data": [{"id": MODEL}]})
        self.bodies.append(json.loads(request.content))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, str):
            return json_response({"error": {"message": answer}}, status=400)
        return json_response(answer)


GOOD = document_of(rows_of(BEST))
NOTHING = document_of(choice={"logprobs": None})


def encoded_by(server: Server, *cells: LogprobCell) -> list[Any]:
    """Return the references of cells."""
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))
    found = list(scorer.encode(cells))
    scorer.close()
    return found


def test_a_first_token_of_a_chat_is_one_call() -> None:
    """With the messages, and without the prompt."""
    server = Server(GOOD)

    (found,) = encoded_by(server, cell_of())

    assert isinstance(found, Encoding), found
    assert [piece.data for piece in found.response] == [text.encode() for text in BEST]
    assert found.logprobs == tuple(BEST.values())
    assert server.paths == ["/v1/chat/completions"]
    assert server.bodies == [
        {
            "model": MODEL,
            "messages": MESSAGES,
            "temperature": 0.0,
            "logprobs": True,
            "return_token_ids": True,
            "top_p": 1,
            "n": 1,
            "stream": False,
            "max_tokens": 1,
            "top_logprobs": 3,
        }
    ]


ENDPOINTS: dict[ProviderKind, tuple[str, dict[str, Any]]] = {
    ProviderKind.OPENAI: ("/v1/completions", {"logprobs": 3}),
    ProviderKind.LLAMA_SERVER: ("/v1/completions", {"logprobs": 3, "cache_prompt": False}),
    ProviderKind.TOGETHER: ("/v1/completions", {"logprobs": 3}),
    ProviderKind.FIREWORKS: ("/v1/completions", {"logprobs": True, "top_logprobs": 3}),
    ProviderKind.VLLM: ("/v1/completions", {"logprobs": 3, "return_tokens_as_token_ids": True}),
    ProviderKind.SGLANG: ("/v1/generate", {"top_logprobs_num": 3, "logprob_start_len": 0}),
    ProviderKind.TGI: (
        "/v1/generate",
        {
            "parameters": {
                "max_new_tokens": 1,
                "details": True,
                "decoder_input_details": False,
                "do_sample": False,
                "top_n_tokens": 3,
            }
        },
    ),
}


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_each_kind_has_its_request_for_alternatives(kind: ProviderKind) -> None:
    """After a text."""
    server = Server(GOOD)
    path, fields = ENDPOINTS[kind]

    encoded_by(server, cell_of(endpoint=Endpoint.COMPLETIONS, provider=kind, template="{prompt}"))

    assert server.paths[-1] == path
    assert fields.items() <= server.bodies[0].items()


CHATS: dict[ProviderKind, tuple[str, dict[str, Any]]] = {
    **{
        kind: ("/v1/chat/completions", {"logprobs": True, "top_logprobs": 3})
        for kind in (ProviderKind.LLAMA_SERVER, ProviderKind.FIREWORKS, ProviderKind.VLLM)
    },
    ProviderKind.TOGETHER: ("/v1/chat/completions", {"logprobs": 3}),
    ProviderKind.SGLANG: ("/v1/v1/chat/completions", {"logprobs": True, "top_logprobs": 3}),
    ProviderKind.TGI: ("/v1/v1/chat/completions", {"logprobs": True, "top_logprobs": 3}),
}


@pytest.mark.parametrize("kind", CHATS)
def test_each_kind_has_its_request_for_a_chat(kind: ProviderKind) -> None:
    """At the usual endpoint."""
    server = Server(GOOD)
    path, fields = CHATS[kind]

    encoded_by(server, cell_of(provider=kind))

    assert server.paths[-1] == path
    assert fields.items() <= server.bodies[0].items()


REJECTIONS = {
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead.": {"max_completion_tokens": 1},
    "Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 1.": {
        "max_tokens": 16
    },
    "top_logprobs must be between 0 and 2": {"top_logprobs": 2},
    "Unrecognized request argument supplied: return_token_ids": {"top_logprobs": 3},
}


@pytest.mark.parametrize("message", REJECTIONS)
def test_a_rejected_field_is_replaced(message: str) -> None:
    """By what the message allows; the next question has it from the start."""
    server = Server(message, GOOD)
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))

    first, second = scorer.encode([cell_of(), cell_of(max_tokens=2)])
    scorer.close()

    assert isinstance(first, Encoding), first
    assert isinstance(second, Encoding), second
    assert len(server.bodies) == 3
    assert REJECTIONS[message].items() <= server.bodies[1].items()


def test_a_server_with_few_alternatives_gives_a_short_reference() -> None:
    """Of as many tokens as it allows, although it adds the sampled one."""
    server = Server("top_logprobs must be between 0 and 2", GOOD)

    (found,) = encoded_by(server, cell_of())

    assert isinstance(found, Encoding)
    assert len(found.response) == 2


@pytest.mark.parametrize("kind", [PolicyKind.FIRST_TOKEN, PolicyKind.GENERATED])
def test_a_draw_has_the_values_of_the_reference(kind: PolicyKind) -> None:
    """Of both kinds."""
    server = Server(document_of(rows_of(BEST, {".": -0.25, "!": -2.0})))
    cell = cell_of(kind)
    (encoding,) = encoded_by(server, cell)

    drawn = draw_with(server, request_of(cell, encoding=encoding))

    assert isinstance(drawn, Draw), drawn
    assert drawn.logprobs == encoding.logprobs
    assert drawn.facts.model == MODEL


_REFUSED = "logprobs are not supported"
NOT_MEASURED: dict[str, tuple[Any, str]] = {
    "no log-probabilities": (
        NOTHING,
        "test-host cannot be gated: it gives no log-probabilities of generated tokens",
    ),
    "no alternatives": (
        document_of({"content": [{"token": "a", "logprob": -1.0}]}),
        "this server gives no alternatives of the tokens that it generates",
    ),
    "logprobs are refused": (
        _REFUSED,
        f"test-host: status 400 (Bad Request): {_REFUSED} (it cannot be gated without `logprobs`)",
    ),
    "the key": (
        document_of(rows_of({KEY[:6]: -1.0, KEY[6:12]: -2.0, KEY[12:]: -3.0})),
        "the generated tokens spell the key",
    ),
}


@pytest.mark.parametrize("case", NOT_MEASURED)
def test_what_cannot_be_measured_is_missed(case: str) -> None:
    """With a reason, never as a finding."""
    answer, reason = NOT_MEASURED[case]

    (found,) = encoded_by(Server(answer), cell_of())

    assert isinstance(found, MissedDraw), found
    assert found.reason == reason


def test_a_server_without_log_probabilities_is_asked_once() -> None:
    """All other cells have the same reason."""
    server = Server(NOTHING)

    found = encoded_by(server, cell_of(), cell_of(max_tokens=2), cell_of(top_logprobs=2))

    assert len({one.reason for one in found}) == 1
    assert len(server.bodies) == 1


def test_a_prompt_from_the_cache_is_no_draw_at_a_server_that_was_asked_to_compute_it() -> None:
    """The values of a cached prompt differ in their last digits."""
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}
    answer = document_of(rows_of(BEST), usage=usage)

    (cold,) = encoded_by(Server(answer), cell_of(provider=ProviderKind.LLAMA_SERVER))
    (other,) = encoded_by(Server(answer), cell_of())

    assert isinstance(cold, MissedDraw)
    assert "took 8 tokens of the prompt from its cache" in cold.reason
    assert isinstance(other, Encoding)


def test_another_model_is_invalid() -> None:
    """Its values are not read."""
    cell = cell_of()
    (encoding,) = encoded_by(Server(GOOD), cell)

    request = request_of(cell, encoding=encoding, answers_as="expected")
    drawn = draw_with(Server(GOOD), request)

    assert isinstance(drawn, InvalidDraw)
    assert drawn.reason == f"the model {MODEL!r} answered in place of 'expected'"


def test_kinds_that_generate_have_no_echo_to_compare() -> None:
    """So no call is made."""
    server = Server(GOOD)
    cell = cell_of()
    (encoding,) = encoded_by(server, cell)
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))

    assert scorer.score_twice(cell, encoding) is None
    assert len(server.bodies) == 1


def test_cells_of_other_settings_have_references_of_their_own() -> None:
    """Though their text and model are the same."""
    server = Server(GOOD)

    encoded_by(server, cell_of(), cell_of(temperature=1.0), cell_of(top_logprobs=2), cell_of())

    assert len(server.bodies) == 3
