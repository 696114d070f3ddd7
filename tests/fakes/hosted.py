"""Small values to test hosted models with: cells, tokens, answers, and a clock of one's own."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.adapters.http.retry import Runtime
from repro_gate.core.draws import DrawOutcome, Encoding, Piece
from repro_gate.core.policies import (
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
"""With characters that are written otherwise in URLs, JSON and HTML."""
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


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []
        self.jump = timedelta()
        """How far the time of day is from where it should be."""

    def clock(self) -> float:
        """Return the seconds that were slept."""
        return self.seconds

    def now(self) -> datetime:
        """Return the time of day."""
        return START + timedelta(seconds=self.seconds) + self.jump

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once, after others have had their turn."""
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
    """Return runtime where nothing takes time, with a handler in place of the network."""
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
    """Return a provider that wants a key."""
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
) -> LogprobCell:
    """Return a cell; unless told otherwise it is the one that `ENCODING` is of."""
    policy = Policy(
        name="base",
        provider=provider or provider_of(),
        model=MODEL,
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
    """Return log-probabilities in the newer of the two shapes."""
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
    """Return log-probabilities in the older shape, of everything unless told otherwise."""
    arrays: dict[str, Json] = {
        "tokens": [piece.data.decode() for piece in pieces],
        "token_logprobs": list(logprobs),
        "text_offset": [0] * len(pieces),
        "top_logprobs": None,
    }
    return {**arrays, "token_ids": [piece.id for piece in pieces]} if has_ids else arrays


def document_of(logprobs: Json = None, *, choice: Json = None, **changes: Json) -> Json:
    """Return an answer; without arguments the good one about `ENCODING`."""
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
    """Return a response whose body may hold what is no JSON, such as NaN."""
    return httpx.Response(
        status,
        headers={
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        content=json.dumps(document).encode(),
    )


def well_answered(_: httpx.Request) -> httpx.Response:
    """Answer every draw of `ENCODING` as it should be."""
    return json_response(document_of())


def draws_by(
    scorer: HostedScorer, requests: Sequence[DrawRequest]
) -> list[tuple[DrawRequest, DrawOutcome]]:
    """Return what a scorer tells, in its order."""
    told: list[tuple[DrawRequest, DrawOutcome]] = []
    scorer.draw(requests, seen=lambda request, outcome: told.append((request, outcome)))
    return told


def draw_with(
    handler: Handler | None,
    request: DrawRequest | None = None,
    *,
    budget: Budget | None = None,
    runtime: Runtime | None = None,
) -> DrawOutcome:
    """Return the outcome of one draw, with everything closed after it."""
    scorer = HostedScorer(budget or Budget(), runtime=runtime or runtime_of(handler))
    try:
        ((_, outcome),) = draws_by(scorer, [request or request_of()])
    finally:
        scorer.close()
    return outcome
