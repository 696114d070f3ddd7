"""Small values for tests of hosted models: cells, tokens, answers, and a fake clock."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.adapters.http.retry import Runtime
from repro_gate.core.logprobs.draw import DrawOutcome, Encoding, Piece
from repro_gate.core.logprobs.policy import (
    Budget,
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
)
from repro_gate.ports import DrawRequest, Purpose

KEY = "fw_Zq7/tPx+93&vLm2~secret"
"""With characters that are escaped in URLs, JSON and HTML."""
ENVIRON = {"TEST_API_KEY": KEY}
MODEL = "accounts/test/models/tiny"
START = datetime(2030, 1, 1, tzinfo=UTC)

PROMPT = (Piece(1, b"<s>"), Piece(10, b"Say"), Piece(11, b" hi"), Piece(12, b":"))
RESPONSE = (Piece(20, b" Hello"), Piece(21, b" you"))
ENCODING = Encoding(prompt=PROMPT, response=RESPONSE)
TEXT_ENCODING = Encoding(
    prompt=tuple(Piece(None, piece.data) for piece in PROMPT),
    response=tuple(Piece(None, piece.data) for piece in RESPONSE),
)
LOGPROBS = (-0.5, -1.25)
TEXT = "Say hi: Hello you"

Json = Any
Handler = (
    Callable[[httpx.Request], httpx.Response]
    | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
)


class Counted:
    """A handler that counts its calls."""

    def __init__(self, handler: Callable[[httpx.Request], httpx.Response]) -> None:
        self._handler = handler
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Count the call, and answer it."""
        self.calls += 1
        return self._handler(request)


class FakeTime:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []
        self.jump = timedelta()
        """The error of the time of day."""

    def clock(self) -> float:
        """Return the seconds slept so far."""
        return self.seconds

    def now(self) -> datetime:
        """Return the time of day."""
        return START + timedelta(seconds=self.seconds) + self.jump

    async def sleep(self, seconds: float) -> None:
        """Advance the clock, after other tasks had a chance to run."""
        self.slept.append(seconds)
        wakes_at = self.seconds + seconds
        await asyncio.sleep(0)
        self.seconds = max(self.seconds, wakes_at)


def runtime_of(
    handler: Handler | None = None,
    *,
    time: FakeTime | None = None,
    environ: Mapping[str, str] | None = None,
    luck: float = 0.0,
) -> Runtime:
    """Return a runtime in which nothing takes time, with a handler in place of the network."""
    time = time or FakeTime()
    return Runtime(
        environ=ENVIRON if environ is None else environ,
        now=time.now,
        clock=time.clock,
        sleep=time.sleep,
        random=lambda: luck,
        transport=None if handler is None else httpx.MockTransport(handler),
    )


def provider_of(
    base_url: str = "https://api.test/v1",
    *,
    kind: ProviderKind = ProviderKind.FIREWORKS,
    **settings: Any,
) -> ProviderSpec:
    """Return a provider that needs a key."""
    return ProviderSpec(
        **{"name": "test-host", "api_key_env": "TEST_API_KEY", **settings},
        kind=kind,
        base_url=base_url,
    )


def logprob_cell_of(
    provider: ProviderSpec | None = None,
    *,
    item: str = "hello",
    kind: LogprobKind = LogprobKind.RAW,
    prompt: str = "hi",
    response: str = " Hello you",
    template: str = "Say {prompt}:",
    model: str = MODEL,
) -> LogprobCell:
    """Return a cell; by default that of `ENCODING`."""
    policy = Policy(
        name="base",
        provider=provider or provider_of(),
        model=model,
        system="",
        template=template,
        temperature=0.7,
        logprobs=kind,
    )
    return LogprobCell(policy=policy, item=Item(name=item, prompt=prompt, response=response))


def request_of(
    cell: LogprobCell | None = None,
    *,
    number: int = 1,
    encoding: Encoding = ENCODING,
    answers_as: str | None = None,
) -> DrawRequest:
    """Return a request for a draw."""
    return DrawRequest(
        cell=cell or logprob_cell_of(),
        encoding=encoding,
        purpose=Purpose.FIRST_LOOK,
        number=number,
        answers_as=answers_as,
    )


def content_of(
    pieces: Sequence[Piece] = RESPONSE,
    logprobs: Sequence[Json] = LOGPROBS,
    *,
    sampling: Sequence[Json] | None = None,
) -> Json:
    """Return log-probabilities in the newer format."""
    rows: list[dict[str, Json]] = [
        {
            "token": piece.data.decode("utf-8", errors="replace"),
            "bytes": list(piece.data),
            "logprob": logprob,
            "token_id": piece.id,
            "text_offset": 0,
            "top_logprobs": [],
        }
        for piece, logprob in zip(pieces, logprobs, strict=True)
    ]
    for row, value in zip(rows, sampling or (), strict=sampling is not None):
        row["sampling_logprob"] = value
    return {"content": rows}


def legacy_of(
    pieces: Sequence[Piece] = (*PROMPT, *RESPONSE),
    logprobs: Sequence[Json] = (None, -9.0, -9.0, -9.0, *LOGPROBS),
    *,
    has_ids: bool = True,
) -> Json:
    """Return log-probabilities in the older format; by default of prompt and response."""
    arrays: dict[str, Json] = {
        "tokens": [piece.data.decode() for piece in pieces],
        "token_logprobs": list(logprobs),
        "text_offset": [0] * len(pieces),
        "top_logprobs": None,
    }
    return {**arrays, "token_ids": [piece.id for piece in pieces]} if has_ids else arrays


def document_of(logprobs: Json = None, *, choice: Json = None, **changes: Json) -> Json:
    """Return an answer; by default the valid one for `ENCODING`."""
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "text": " Hello you",
                "finish_reason": "length",
                "logprobs": content_of() if logprobs is None else logprobs,
                **(choice or {}),
            }
        ],
        "usage": {"prompt_tokens": 6, "completion_tokens": 0, "total_tokens": 6},
        **changes,
    }


def json_response(document: Json, *, status: int = 200, **headers: str) -> httpx.Response:
    """Return a response whose body may be invalid JSON, such as NaN."""
    return httpx.Response(
        status,
        headers={
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        content=json.dumps(document).encode(),
    )


def well_answered(_: httpx.Request) -> httpx.Response:
    """Give the valid answer to every draw of `ENCODING`."""
    return json_response(document_of())


def draws_by(
    scorer: HostedScorer, requests: Sequence[DrawRequest]
) -> list[tuple[DrawRequest, DrawOutcome]]:
    """Return the draws of a scorer in the order of their reports."""
    drawn: list[tuple[DrawRequest, DrawOutcome]] = []
    scorer.draw(requests, seen=lambda request, outcome: drawn.append((request, outcome)))
    return drawn


def draw_with(
    handler: Handler | None,
    request: DrawRequest | None = None,
    *,
    budget: Budget | None = None,
    runtime: Runtime | None = None,
) -> DrawOutcome:
    """Return the outcome of one draw, and close the scorer."""
    scorer = HostedScorer(budget or Budget(), runtime=runtime or runtime_of(handler))
    try:
        ((_, outcome),) = draws_by(scorer, [request or request_of()])
    finally:
        scorer.close()
    return outcome
