"""The requests and answers of self-hosted servers that do not echo a prompt: vLLM and SGLang.

vLLM as version 0.32 answers, SGLang as its source has it.
"""

import codecs
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tests.fakes.fireworks.answers import Answer, Json, Row, body_of
from tests.fakes.fireworks.bodies import WHOLE_PROMPT, ApiError, Ask, Question, Shape

FINGERPRINT = "vllm-0.32.0-e360ad00"
_Ids = list[Annotated[int, Field(ge=0)]]
_Count = Annotated[int, Field(ge=0)]


class VllmCompletion(BaseModel):
    """`POST /v1/completions` of vLLM, as far as it is simulated."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    prompt: str | _Ids
    temperature: float
    max_tokens: int
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    n: Literal[1]
    stream: Literal[False]
    return_token_ids: Literal[True]
    cache_salt: Annotated[str, Field(min_length=1)] | None = None
    logprobs: _Count | None = None
    prompt_logprobs: _Count | None = None

    def ask(self) -> Ask:
        """Return the request in common form."""
        if self.max_tokens < 1:
            raise ApiError(400, f"max_tokens must be at least 1, got {self.max_tokens}.")
        scores = self.prompt_logprobs is not None
        return Ask(
            model=self.model,
            question=Question(
                prompt=self.prompt if isinstance(self.prompt, str) else tuple(self.prompt),
                echo=WHOLE_PROMPT if scores else 0,
                max_tokens=self.max_tokens,
                is_truncated=False,
            ),
            shape=Shape.NONE if self.logprobs is None else Shape.LEGACY,
            wants_ids=True,
            is_cold=self.cache_salt is not None,
        )


class _SglangSampling(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    max_new_tokens: _Count
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    n: Literal[1]


class SglangGenerate(BaseModel):
    """`POST /generate` of SGLang, as far as it is simulated."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = None
    input_ids: _Ids | None = None
    sampling_params: _SglangSampling
    return_logprob: Literal[True]
    logprob_start_len: Annotated[int, Field(ge=-1)]
    return_text_in_logprobs: Literal[True]
    stream: Literal[False]

    def ask(self) -> Ask:
        """Return the request in common form; it names no model."""
        if (self.text is None) == (self.input_ids is None):
            raise ApiError(400, "Either text or input_ids should be provided.")
        return Ask(
            model="",
            question=Question(
                prompt=self.text if self.text is not None else tuple(self.input_ids or ()),
                echo=WHOLE_PROMPT if self.logprob_start_len == 0 else 0,
                max_tokens=self.sampling_params.max_new_tokens,
                is_truncated=False,
            ),
            shape=Shape.NONE,
            is_cold=self.logprob_start_len == 0,
        )


def vllm_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer of vLLM."""
    body = body_of(replace(answer, echoed=()), ask, number=number, cached=cached)
    (choice,) = body["choices"]
    if choice["logprobs"] is not None:
        del choice["logprobs"]["token_ids"]
    rows = zip(answer.echoed, _texts(answer.echoed), strict=True)
    choice["prompt_logprobs"] = [_entry(row, text) for row, text in rows] or None
    return body | {"system_fingerprint": FINGERPRINT}


def _entry(row: Row, text: str) -> Json | None:
    if row.is_first:
        return None
    return {str(row.token.id): {"logprob": row.logprob, "rank": 1, "decoded_token": text}}


def sglang_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer of SGLang."""
    usual = body_of(answer, ask, number=number, cached=cached)
    return {
        "text": "".join(_texts(answer.generated)),
        "output_ids": [row.token.id for row in answer.generated],
        "meta_info": {
            "id": usual["id"],
            "finish_reason": {"type": "length", "length": len(answer.generated)},
            "weight_version": "default",
            "prompt_tokens": len(answer.prompt),
            "completion_tokens": len(answer.generated),
            "cached_tokens": cached,
            "input_token_logprobs": _triples(answer.echoed),
            "output_token_logprobs": _triples(answer.generated),
        },
    }


def _triples(rows: Sequence[Row]) -> list[list[Any]]:
    texts = (row.token.spelled.decode(errors="replace") for row in rows)
    return [
        [None if row.is_first else row.logprob, row.token.id, text]
        for row, text in zip(rows, texts, strict=True)
    ]


def _texts(rows: Sequence[Row]) -> list[str]:
    """Return the text of each token; a character is shown by the last one of its tokens."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return [decoder.decode(row.token.spelled) for row in rows]
