"""Answers as JSON: tokens and log-probabilities, in the requested format."""

import codecs
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from repro_gate.core.tokens.generation import Token
from tests.fakes.fireworks.bodies import Ask, Shape

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One token of an answer."""

    token: Token
    logprob: float | None
    sampling: float | None = None
    top: tuple[tuple[Token, float], ...] = ()
    """The likeliest tokens at its position, best first."""
    is_first: bool = False
    """Whether it is the first token, whose value is meaningless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a model."""

    prompt: tuple[Token, ...]
    echoed: tuple[Row, ...]
    generated: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All returned rows, in order."""
        return self.echoed + self.generated


def body_of(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer."""
    prompt, generated = len(answer.prompt), len(answer.generated)
    return {
        "id": f"{'chatcmpl' if ask.is_chat else 'cmpl'}-{number:032x}",
        "object": "chat.completion" if ask.is_chat else "text_completion",
        "created": int(time.time()),
        "model": ask.model,
        "choices": [_choice(answer, ask)],
        "usage": {
            "prompt_tokens": prompt,
            "total_tokens": prompt + generated,
            "completion_tokens": generated,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
        **({"prompt_token_ids": _ids(answer.prompt)} if ask.is_chat and ask.wants_ids else {}),
    }


def generic_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer without what a generic compatible API does not have."""
    body = body_of(answer, ask, number=number, cached=cached)
    del body["usage"]["prompt_tokens_details"]
    for choice in body["choices"]:
        if choice["logprobs"] is not None:
            choice["logprobs"].pop("token_ids", None)
            for row in choice["logprobs"].get("content", ()):
                for one in (row, *row["top_logprobs"]):
                    del one["token_id"]
    return body


def _choice(answer: Answer, ask: Ask) -> Json:
    text = _text([row.token for row in answer.rows])
    content: Json = (
        {"message": {"role": "assistant", "content": text}} if ask.is_chat else {"text": text}
    )
    choice = {"index": 0, **content, "finish_reason": "length"}
    choice["logprobs"] = _logprobs(answer.rows, ask.shape)
    ids = _ids([row.token for row in answer.rows])
    if ask.wants_ids:
        choice["token_ids"] = ids
        if not ask.is_chat:
            choice["prompt_token_ids"] = _ids(answer.prompt)
    if ask.wants_raw_output:
        choice["raw_output"] = {
            "completion": text,
            "prompt_fragments": _ids(answer.prompt),
            "prompt_token_ids": _ids(answer.prompt),
            "completion_token_ids": ids,
        }
    return choice


def _logprobs(rows: Sequence[Row], shape: Shape) -> Json | None:
    offsets = _offsets([row.token for row in rows])
    match shape:
        case Shape.NONE:
            return None
        case Shape.LEGACY:
            return {
                "tokens": [_text([row.token]) for row in rows],
                "token_logprobs": [row.logprob for row in rows],
                "top_logprobs": [_legacy_top(row) for row in rows],
                "text_offset": offsets,
                "token_ids": _ids([row.token for row in rows]),
            }
        case Shape.CONTENT:
            return {"content": [_content(row, at) for row, at in zip(rows, offsets, strict=True)]}


def _content(row: Row, offset: int) -> Json:
    content: Json = {
        "token": _text([row.token]),
        "bytes": list(row.token.spelled),
        "logprob": row.logprob,
        "text_offset": offset,
        "token_id": row.token.id,
        "top_logprobs": [
            {
                "token": _text([token]),
                "logprob": logprob,
                "token_id": token.id,
                "bytes": list(token.spelled),
            }
            for token, logprob in row.top
        ],
    }
    return content if row.sampling is None else content | {"sampling_logprob": row.sampling}


def _legacy_top(row: Row) -> dict[str, float] | None:
    if row.is_first and row.logprob is None:
        return None
    # The token itself is always among the likeliest, and several may have the same text.
    own = {} if row.logprob is None else {_text([row.token]): row.logprob}
    return {_text([token]): logprob for token, logprob in reversed(row.top)} | own


def _offsets(tokens: Sequence[Token]) -> list[int]:
    """Return the offset of each token, in characters of the text."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    lengths = (len(decoder.decode(token.spelled)) for token in tokens)
    return [0, *accumulate(lengths)][: len(tokens)]


def _text(tokens: Sequence[Token]) -> str:
    return b"".join(token.spelled for token in tokens).decode("utf-8", errors="replace")


def _ids(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens]
