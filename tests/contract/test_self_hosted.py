"""Log-probabilities of prompts and of generated tokens, in the own formats of servers."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import (
    Budget,
    Endpoint,
    LogprobCell,
    PolicyKind,
    ProviderKind,
)
from repro_gate.ports import Purpose
from tests.fakes.fireworks.conduct import KEY, Conduct, Dialect
from tests.fakes.fireworks.effects import Edit, Rule
from tests.fakes.fireworks.hosting import MODEL, HostedModel
from tests.fakes.fireworks.self_hosted import FINGERPRINT
from tests.fakes.fireworks.server import Api, serving
from tests.fakes.fireworks.weights import HashedWeights, TinyWeights, Weights
from tests.fakes.hosted import draws_by, logprob_cell_of, provider_of, request_of, runtime_of

DIALECTS = {
    ProviderKind.VLLM: Dialect.VLLM,
    ProviderKind.SGLANG: Dialect.SGLANG,
    ProviderKind.TOGETHER: Dialect.TOGETHER,
    ProviderKind.TGI: Dialect.TGI,
}
GENERATING = {
    **DIALECTS,
    ProviderKind.OPENAI: Dialect.OLLAMA,
    ProviderKind.FIREWORKS: Dialect.FIREWORKS,
}
_BY_IDS = (ProviderKind.VLLM, ProviderKind.SGLANG)
PROMPT = "The quick brown f\u00f6x"
RESPONSE = " jumps \N{PARTY POPPER} over the dog."
HASHED = HashedWeights()
ENVIRON = {"TEST_API_KEY": KEY}


class _Served:
    """A scorer at a server of one kind."""

    def __init__(self, api: Api, kind: ProviderKind, scorer: HostedScorer, name: str) -> None:
        self.api = api
        self.scorer = scorer
        provider = provider_of(api.base_url, kind=kind, attempts=1)
        self.cell: LogprobCell = logprob_cell_of(
            provider, prompt=PROMPT, response=RESPONSE, template="{prompt}", model=name
        )

    def encoding(self) -> Encoding:
        """Return the tokens of the cell."""
        (encoding,) = self.scorer.encode([self.cell])
        assert isinstance(encoding, Encoding), encoding
        return encoding

    def draws(self, encoding: Encoding, count: int = 1) -> list[DrawOutcome]:
        """Return draws of the cell."""
        numbers = range(1, count + 1)
        requests = [request_of(self.cell, number=n, encoding=encoding) for n in numbers]
        return [outcome for _, outcome in draws_by(self.scorer, requests)]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Give a stack for servers and scorers."""
    with ExitStack() as resources:
        yield resources


def generating_cell_of(
    cell: LogprobCell, kind: PolicyKind, endpoint: Endpoint, *, tokens: int = 1
) -> LogprobCell:
    """Return a cell that generates after the same prompt."""
    changes: dict[str, Any] = {"kind": kind, "endpoint": endpoint, "max_tokens": tokens}
    policy = replace(cell.policy, temperature=0.0, top_logprobs=3, **changes)
    return replace(cell, policy=policy)


def _served(
    opened: ExitStack,
    kind: ProviderKind,
    weights: Weights = HASHED,
    *,
    name: str = MODEL,
) -> _Served:
    conduct = Conduct(dialect=GENERATING[kind])
    api = opened.enter_context(serving(HostedModel(weights=weights), conduct=conduct))
    runtime = runtime_of(environ=ENVIRON)
    scorer = opened.enter_context(closing(HostedScorer(Budget(), runtime=runtime)))
    return _Served(api, kind, scorer, name)


@pytest.mark.parametrize("kind", DIALECTS)
def test_the_numbers_are_those_of_the_engine(
    opened: ExitStack, qwen2: TinyWeights, kind: ProviderKind
) -> None:
    """Exactly; the tokens are split at the response, also among parts of characters."""
    served = _served(opened, kind, qwen2)
    encoding = served.encoding()

    (draw,) = served.draws(encoding)

    assert isinstance(draw, Draw), draw
    prompt, response = (
        tuple(piece.id for piece in pieces if piece.id is not None)
        for pieces in (encoding.prompt, encoding.response)
    )
    assert (prompt, response) == (qwen2.tokenize(PROMPT), qwen2.tokenize(RESPONSE))
    assert draw.logprobs == qwen2.ask(prompt=prompt, response=response).logprobs


@pytest.mark.parametrize("kind", _BY_IDS)
def test_generated_tokens_are_scored_again(opened: ExitStack, kind: ProviderKind) -> None:
    """So that a server whose numbers are off by one is found."""
    served = _served(opened, kind)

    found = served.scorer.score_twice(served.cell, served.encoding())

    assert isinstance(found, ScoredTwice), found
    assert found.generated == found.echoed


@pytest.mark.parametrize("kind", _BY_IDS)
def test_nothing_of_a_prompt_comes_from_the_cache(opened: ExitStack, kind: ProviderKind) -> None:
    """A prompt that was sent before is computed again: each call to vLLM has its own salt."""
    served = _served(opened, kind)

    draws = served.draws(served.encoding(), count=3)

    assert all(isinstance(draw, Draw) for draw in draws), draws
    bodies = [asked.body for asked in served.api.requests]
    if kind is ProviderKind.VLLM:
        assert len({body["cache_salt"] for body in bodies}) == 4
    else:
        assert [body["logprob_start_len"] for body in bodies] == [0] * 4


def test_a_part_of_a_prompt_from_the_cache_is_no_draw(opened: ExitStack) -> None:
    """Its log-probabilities may be stale."""
    served = _served(opened, ProviderKind.VLLM)
    encoding = served.encoding()
    details = {"cached_tokens": 16}
    warm = Edit(change=lambda body: body["usage"].update(prompt_tokens_details=details))
    served.api.follow(Rule(effect=warm))

    assert served.draws(encoding) == [
        MissedDraw(
            reason="test-host took 16 tokens of the prompt from its cache, so their "
            "log-probabilities may be those of an earlier request",
            remedy="start the server without a prefix cache",
        )
    ]


def test_the_fingerprint_of_vllm_is_kept(opened: ExitStack) -> None:
    """For each draw and for the policy."""
    served = _served(opened, ProviderKind.VLLM)

    (draw,) = served.draws(served.encoding())

    assert isinstance(draw, Draw)
    assert draw.facts.fingerprint == FINGERPRINT
    assert served.scorer.facts(served.cell.policy)["provider.fingerprint"] == FINGERPRINT


@pytest.mark.parametrize("kind", [ProviderKind.SGLANG, ProviderKind.TGI])
def test_the_model_must_be_listed(opened: ExitStack, kind: ProviderKind) -> None:
    """Answers do not name one, so another model would go unnoticed."""
    served = _served(opened, kind, name="other")

    assert list(served.scorer.encode([served.cell])) == [
        MissedDraw(
            reason=f"test-host serves {MODEL}, not other",
            remedy="change the model of the policy, or start the server with that name",
        )
    ]


@pytest.mark.parametrize("kind", [ProviderKind.TOGETHER, ProviderKind.TGI])
def test_only_a_text_is_sent_where_no_ids_are_taken(opened: ExitStack, kind: ProviderKind) -> None:
    """The ids of its tokens are compared nevertheless."""
    served = _served(opened, kind)
    encoding = served.encoding()

    (draw,) = served.draws(encoding)

    assert isinstance(draw, Draw), draw
    assert encoding.has_ids
    texts = [asked.body.get("prompt", asked.body.get("inputs")) for asked in served.api.requests]
    assert texts == [PROMPT + RESPONSE] * 2


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize("kind", GENERATING)
def test_first_tokens_have_the_values_of_the_model(
    opened: ExitStack, qwen2: TinyWeights, kind: ProviderKind, endpoint: Endpoint
) -> None:
    """The likeliest ones, best first, in each format."""
    if (kind, endpoint) == (ProviderKind.OPENAI, Endpoint.COMPLETIONS):
        pytest.skip("Ollama has no log-probabilities there")
    served = _served(opened, kind, qwen2)
    cell = generating_cell_of(served.cell, PolicyKind.FIRST_TOKEN, endpoint)
    text = PROMPT if endpoint is Endpoint.COMPLETIONS else f"user: {PROMPT}\nassistant:"
    expected = sorted(qwen2.following(qwen2.tokenize(text)), reverse=True)[:3]

    (reference,) = served.scorer.encode([cell])

    assert isinstance(reference, Encoding), reference
    assert reference.logprobs == tuple(expected)
    (_, drawn) = draws_by(served.scorer, [request_of(cell, encoding=reference)])[0]
    assert isinstance(drawn, Draw), drawn
    assert drawn.logprobs == reference.logprobs


def _chat_cell(served: _Served, **changes: Any) -> LogprobCell:
    policy = replace(served.cell.policy, endpoint=Endpoint.CHAT, system="Be brief.", **changes)
    return replace(served.cell, policy=policy)


def test_a_response_in_a_chat_has_the_numbers_of_the_engine(
    opened: ExitStack, qwen2: TinyWeights
) -> None:
    """It starts where the template ends, which the ids of two calls show."""
    served = _served(opened, ProviderKind.VLLM, qwen2)
    cell = _chat_cell(served)
    prefix = f"system: Be brief.\nuser: {PROMPT}\nassistant:"

    (encoding,) = served.scorer.encode([cell])

    assert isinstance(encoding, Encoding), encoding
    ids = tuple(piece.id for piece in encoding.prompt)
    response = tuple(piece.id for piece in encoding.response if piece.id is not None)
    assert (ids, response) == (qwen2.tokenize(prefix), qwen2.tokenize(RESPONSE))
    (_, draw) = draws_by(served.scorer, [request_of(cell, encoding=encoding)])[0]
    assert isinstance(draw, Draw), draw
    prompt = tuple(id for id in ids if id is not None)
    assert draw.logprobs == qwen2.ask(prompt=prompt, response=response).logprobs


def test_a_control_in_a_chat_is_after_another_prompt(opened: ExitStack) -> None:
    """Whose tokens are not known; those of the response are compared."""
    served = _served(opened, ProviderKind.VLLM)
    cell = _chat_cell(served)
    (encoding,) = served.scorer.encode([cell])
    assert isinstance(encoding, Encoding), encoding
    other = replace(cell, item=replace(cell.item, prompt="Another one"))
    request = replace(request_of(other, encoding=encoding), purpose=Purpose.CONTROL)

    (_, usual), (_, control) = [
        draws_by(served.scorer, [one])[0] for one in (request_of(cell, encoding=encoding), request)
    ]

    assert isinstance(usual, Draw), usual
    assert isinstance(control, Draw), control
    assert control.logprobs != usual.logprobs


def test_another_chat_template_is_invalid(opened: ExitStack) -> None:
    """The server renders other tokens before the response than were recorded."""
    served = _served(opened, ProviderKind.VLLM)
    cell = _chat_cell(served)
    (encoding,) = served.scorer.encode([cell])
    assert isinstance(encoding, Encoding), encoding
    other = replace(cell, policy=replace(cell.policy, system="Be short!"))

    (_, drawn) = draws_by(served.scorer, [request_of(other, encoding=encoding)])[0]

    assert isinstance(drawn, InvalidDraw), drawn
    assert drawn.reason.startswith("the answer is for another prompt: its token ")


def _closed(body: Any) -> None:
    """Give the prompt of an answer another first token, as if the chat were a new one."""
    body["prompt_token_ids"][0] += 1


def test_a_response_that_does_not_continue_the_chat_is_missed(opened: ExitStack) -> None:
    """A server that ignores `continue_final_message` closes the message."""
    served = _served(opened, ProviderKind.VLLM)
    served.api.follow(Rule(effect=Edit(change=_closed), first=2))

    (found,) = served.scorer.encode([_chat_cell(served)])

    assert isinstance(found, MissedDraw), found
    assert found.reason == "the response does not start where the answer of the chat starts"
