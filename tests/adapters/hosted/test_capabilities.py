"""A server without a required capability: one sentence, no finding, and no further calls."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import Budget, LogprobCell, ProviderKind
from tests.fakes.hosted import (
    ENCODING,
    LOGPROBS,
    PROMPT,
    RESPONSE,
    TEXT,
    TEXT_ENCODING,
    content_of,
    document_of,
    draws_by,
    json_response,
    legacy_of,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)

FIREWORKS = logprob_cell_of(provider_of(kind=ProviderKind.FIREWORKS, concurrency=4))
OPENAI = logprob_cell_of(provider_of(kind=ProviderKind.OPENAI, concurrency=4))
EVERYTHING = (*PROMPT, *RESPONSE)
ALL_LOGPROBS = (None, -9.0, -9.0, -9.0, *LOGPROBS)
REMEDY = (
    'gate its tokens with an engine of kind = "served"; log-probabilities of prompts come from '
    'vLLM (kind = "vllm"), SGLang ("sglang") and servers that echo them, not from llama-server'
)
IGNORED = (
    "test-host cannot be gated: it ignored `echo` and gave log-probabilities of generated tokens, "
    "not of the prompt"
)
OVERRUN = "test-host cannot be gated: it ignored `max_tokens = 1` and generated 40 tokens"
REFUSED = (
    "test-host: status 400 (Bad Request): Only no echo is supported "
    "(it cannot be gated without `echo`)"
)
SILENT = "test-host cannot be gated: it gives no log-probabilities of the prompt"


class Server:
    """Answers every call by one function of its body, and counts the calls."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer
        self.asked: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.asked.append(json.loads(request.content))
        found = self._answer(self.asked[-1])
        return found if isinstance(found, httpx.Response) else json_response(found)


def _encoded(server: Server, cells: list[LogprobCell]) -> list[Any]:
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))
    found = scorer.encode(cells)
    scorer.close()
    return list(found)


def _drawn(
    server: Server, cell: LogprobCell, *, draws: int = 3, encoding: Encoding = ENCODING
) -> list[DrawOutcome]:
    scorer = HostedScorer(Budget(), runtime=runtime_of(server))
    requests = [request_of(cell, number=n, encoding=encoding) for n in range(1, draws + 1)]
    results = draws_by(scorer, requests)
    scorer.close()
    return [outcome for _, outcome in results]


def _usage(prompt: int, completion: int) -> Any:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def _generated(count: int, *, usage: Any = None) -> Any:
    """Return the answer of a server that generates tokens and echoes none."""
    logprobs = content_of((RESPONSE[1],) * count, (-1.0,) * count)
    document = document_of(logprobs, choice={"text": " you" * count}, usage=usage)
    return document if usage else {k: v for k, v in document.items() if k != "usage"}


def _unlimited(body: Any) -> Any:
    made = body["max_tokens"] or 40
    return _generated(made, usage=_usage(6, made))


CANNOT: dict[str, tuple[Callable[[Any], Any], int, str]] = {
    "llama-server": (lambda _: _generated(1, usage=_usage(6, 1)), 1, IGNORED),
    "no usage": (lambda _: _generated(1), 1, IGNORED),
    "no limit, no usage": (lambda _: _generated(16), 1, IGNORED),
    "zero is no limit": (_unlimited, 2, IGNORED),
    "any limit is none": (lambda _: _generated(40, usage=_usage(6, 40)), 2, OVERRUN),
    "no logprobs": (lambda _: document_of(choice={"logprobs": None, "text": TEXT}), 1, SILENT),
    "no rows": (lambda _: document_of({"content": []}), 1, SILENT),
    "a flag": (lambda _: document_of(choice={"logprobs": False, "text": TEXT}), 1, SILENT),
    "an echo with a single number": (
        lambda _: document_of(legacy_of(EVERYTHING, (None, -1.0, None, None, None, None))),
        1,
        SILENT,
    ),
    "an echo without numbers": (
        lambda _: document_of(legacy_of(EVERYTHING, (None,) * 6)),
        1,
        SILENT,
    ),
    "an echo with numbers of what was generated": (
        lambda _: document_of(content_of((RESPONSE[1],), (-1.0,)), choice={"text": f"{TEXT} you"}),
        1,
        SILENT,
    ),
    "echo refused": (
        lambda _: json_response({"error": {"message": "Only no echo is supported"}}, status=400),
        1,
        REFUSED,
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_a_missing_capability_is_reported_in_one_sentence(case: str) -> None:
    """Recording makes one call, or a second one with one token; no further cell costs a call."""
    answer, calls, reason = CANNOT[case]
    server = Server(answer)
    cells = [OPENAI, *(logprob_cell_of(OPENAI.policy.provider, prompt=p) for p in "abc")]

    found = _encoded(server, cells)

    assert found[1:] == [MissedDraw(reason=reason, remedy=REMEDY)] * 3
    assert len(server.asked) == calls


@pytest.mark.parametrize("cell", [FIREWORKS, OPENAI], ids=["fireworks", "openai"])
@pytest.mark.parametrize("encoding", [ENCODING, TEXT_ENCODING], ids=["ids", "texts"])
def test_a_check_stops_early_too(cell: LogprobCell, encoding: Encoding) -> None:
    """A server that replaced a better one is not called for every draw."""
    server = Server(lambda _: _generated(1, usage=_usage(6, 1)))

    found = _drawn(server, cell, encoding=encoding)

    assert found == [MissedDraw(reason=IGNORED, remedy=REMEDY)] * 3
    # The other way to ask for an echo is tried once.
    assert ["echo" in body for body in server.asked] == [True] if cell is OPENAI else [False, True]


def test_a_server_that_takes_zero_for_no_limit_is_asked_for_one_token() -> None:
    """Usage shows it; the generated tokens are ignored, and later calls ask for one token."""

    def answer(body: Any) -> Any:
        made = body["max_tokens"] or 7
        pieces = (*EVERYTHING, *(RESPONSE[1],) * made)
        return document_of(
            legacy_of(pieces, (*ALL_LOGPROBS, *(-1.0,) * made)), usage=_usage(6, made)
        )

    server = Server(answer)

    found = _drawn(server, OPENAI)

    assert [getattr(outcome, "logprobs", None) for outcome in found] == [LOGPROBS] * 3
    assert [body["max_tokens"] for body in server.asked] == [0, 1, 1, 1]


def test_a_generated_token_too_many_is_ignored() -> None:
    """A server that generates one token in place of none still has a valid answer."""
    document = document_of(
        legacy_of((*EVERYTHING, RESPONSE[1]), (*ALL_LOGPROBS, -1.0)), usage=_usage(6, 1)
    )

    assert _encoded(Server(lambda _: document), [OPENAI]) == [ENCODING]


def test_a_proven_server_is_called_again() -> None:
    """One answer without numbers is a missing draw; the next call is made."""
    answers = iter([document_of(), document_of({"content": []}), document_of()])
    server = Server(lambda _: next(answers))
    cell = logprob_cell_of(provider_of(concurrency=1))

    first, second, third = _drawn(server, cell)

    assert isinstance(first, Draw)
    assert second == MissedDraw(
        reason="test-host: it gives no log-probabilities of the prompt, "
        "although an earlier answer was complete",
        remedy="check for another version or server behind base_url; resume with --resume",
    )
    assert isinstance(third, Draw)


def test_an_echo_of_other_tokens_is_still_invalid() -> None:
    """It comes from a capable server with a wrong answer."""
    other = document_of(content_of((RESPONSE[0], PROMPT[1]), LOGPROBS))

    (found,) = _drawn(Server(lambda _: other), FIREWORKS, draws=1)

    assert isinstance(found, InvalidDraw)
