"""The requests and answers of servers with formats of their own.

vLLM as version 0.32 answers, SGLang as its source has it; Together, Text Generation Inference and
Ollama as their API references have them.
"""

import codecs
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from repro_gate.core.tokens.generation import Token
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
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    n: Literal[1]
    stream: Literal[False]
    return_token_ids: Literal[True]
    seed: int | None = None
    cache_salt: Annotated[str, Field(min_length=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    return_tokens_as_token_ids: bool = False
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
                top=self.logprobs or 0,
                is_truncated=False,
            ),
            shape=Shape.NONE if self.logprobs is None else Shape.LEGACY,
            wants_ids=True,
            is_named_by_id=self.return_tokens_as_token_ids,
            is_cold=self.cache_salt is not None,
        )


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "user", "assistant"]
    content: str


class OpenAiChat(BaseModel):
    """`POST /v1/chat/completions` of servers that ignore fields which they do not know."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0, le=2)]
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    def ask(self) -> Ask:
        """Return the request in common form, with a template of our own."""
        lines = [f"{message.role}: {message.content}\n" for message in self.messages]
        return Ask(
            model=self.model,
            question=Question(
                prompt="".join([*lines, "assistant:"]),
                max_tokens=self.max_tokens,
                top=self.top_logprobs or 0,
                is_truncated=False,
            ),
            shape=Shape.CONTENT if self.logprobs else Shape.NONE,
            is_chat=True,
        )


class VllmChat(OpenAiChat):
    """`POST /v1/chat/completions` of vLLM, as far as it is simulated."""

    return_token_ids: bool = False
    cache_salt: Annotated[str, Field(min_length=1)] | None = None
    prompt_logprobs: _Count | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    def ask(self) -> Ask:
        """Return the request in common form."""
        if self.add_generation_prompt and self.continue_final_message:
            raise ApiError(
                400, "Cannot set both `continue_final_message` and `add_generation_prompt`"
            )
        usual = super().ask()
        question = usual.question
        if self.continue_final_message:
            *before, last = self.messages
            lines = [f"{message.role}: {message.content}\n" for message in before]
            question = replace(question, prompt="".join([*lines, "assistant:", last.content]))
        if self.prompt_logprobs is not None:
            question = replace(question, echo=WHOLE_PROMPT)
        is_cold = self.cache_salt is not None
        return replace(usual, question=question, wants_ids=self.return_token_ids, is_cold=is_cold)


class OllamaCompletion(BaseModel):
    """`POST /v1/completions` of Ollama, which has no log-probabilities there."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str
    prompt: str
    max_tokens: int | None = None
    temperature: float | None = None

    def ask(self) -> Ask:
        """Return the request in common form; no limit is 0 there."""
        question = Question(prompt=self.prompt, max_tokens=self.max_tokens or 16)
        return Ask(model=self.model, question=question, shape=Shape.NONE)


class TogetherCompletion(BaseModel):
    """`POST /v1/completions` of Together, as far as it is simulated."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str
    prompt: str
    max_tokens: Annotated[int, Field(ge=0)]
    temperature: float
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    def ask(self) -> Ask:
        """Return the request in common form."""
        return Ask(
            model=self.model,
            question=Question(
                prompt=self.prompt,
                echo=WHOLE_PROMPT if self.echo else 0,
                max_tokens=self.max_tokens,
                top=self.logprobs or 0,
                is_truncated=False,
            ),
            shape=Shape.NONE if self.logprobs is None else Shape.LEGACY,
        )


class TogetherChat(BaseModel):
    """`POST /v1/chat/completions` of Together, as far as it is simulated."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    temperature: float
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    def ask(self) -> Ask:
        """Return the request in common form, with a template of our own."""
        lines = [f"{message.role}: {message.content}\n" for message in self.messages]
        question = Question(
            prompt="".join([*lines, "assistant:"]),
            max_tokens=self.max_tokens,
            top=self.logprobs or 0,
            is_truncated=False,
        )
        shape = Shape.NONE if self.logprobs is None else Shape.LEGACY
        return Ask(model=self.model, question=question, shape=shape, is_chat=True)


class _TgiParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    max_new_tokens: Annotated[int, Field(ge=1)]
    details: Literal[True]
    decoder_input_details: bool
    do_sample: bool
    temperature: Annotated[float, Field(gt=0)] | None = None
    top_n_tokens: Annotated[int, Field(ge=0, le=5)] | None = None


class TgiGenerate(BaseModel):
    """`POST /generate` of Text Generation Inference, as far as it is simulated."""

    model_config = ConfigDict(extra="forbid", strict=True)

    inputs: str
    parameters: _TgiParameters

    def ask(self) -> Ask:
        """Return the request in common form; it names no model."""
        return Ask(
            model="",
            question=Question(
                prompt=self.inputs,
                echo=WHOLE_PROMPT if self.parameters.decoder_input_details else 0,
                max_tokens=self.parameters.max_new_tokens,
                top=self.parameters.top_n_tokens or 0,
                is_truncated=False,
            ),
            shape=Shape.NONE,
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
    top_logprobs_num: _Count = 0
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
                top=self.top_logprobs_num,
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
        choice["logprobs"].pop("token_ids", None)
        if ask.is_named_by_id:
            _name_by_ids(choice["logprobs"], answer.generated)
    rows = zip(answer.echoed, _texts(answer.echoed), strict=True)
    # In a chat they are beside the choices, as the ids of the prompt are.
    (body if ask.is_chat else choice)["prompt_logprobs"] = [
        _entry(row, text) for row, text in rows
    ] or None
    return body | {"system_fingerprint": FINGERPRINT}


def _name_by_ids(logprobs: Json, rows: Sequence[Row]) -> None:
    """Replace the texts of tokens by names such as `token_id:5`."""
    if "content" in logprobs:
        for row in logprobs["content"]:
            for one in (row, *row["top_logprobs"]):
                one["token"] = f"token_id:{one.pop('token_id')}"
                one["bytes"] = list(one["token"].encode())
        return
    logprobs["tokens"] = [f"token_id:{row.token.id}" for row in rows]
    logprobs["top_logprobs"] = [
        {f"token_id:{token.id}": value for token, value in row.top} for row in rows
    ]


def _entry(row: Row, text: str) -> Json | None:
    if row.is_first:
        return None
    return {str(row.token.id): {"logprob": row.logprob, "rank": 1, "decoded_token": text}}


def sglang_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer of SGLang, also of its chat."""
    if ask.is_chat:
        return plain_body(answer, ask, number=number, cached=cached)
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
            "output_top_logprobs": [
                [[value, token.id, _text_of(token)] for token, value in row.top] or None
                for row in answer.generated
            ],
        },
    }


def plain_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer with tokens without ids, and without counts of a cache."""
    body = body_of(replace(answer, echoed=()), ask, number=number, cached=cached)
    del body["usage"]["prompt_tokens_details"]
    (choice,) = body["choices"]
    rows = [] if choice["logprobs"] is None else choice["logprobs"]["content"]
    for token in (one for row in rows for one in (row, *row["top_logprobs"])):
        del token["token_id"]
    return body


def ollama_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer of Ollama."""
    body = plain_body(answer, ask, number=number, cached=cached)
    return body | {"system_fingerprint": "fp_ollama"}


def together_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer of Together: the echo is beside the choices."""
    body = body_of(replace(answer, echoed=()), ask, number=number, cached=cached)
    body["prompt"] = []
    if answer.echoed:
        texts = [_text_of(row.token) for row in answer.echoed]
        lists = {
            "tokens": texts,
            "token_ids": [row.token.id for row in answer.echoed],
            "token_logprobs": [None if row.is_first else row.logprob for row in answer.echoed],
        }
        body["prompt"] = [{"text": "".join(texts), "logprobs": lists}]
    return body


def tgi_body(answer: Answer, ask: Ask, *, number: int, cached: int) -> Json:
    """Return the body of an answer of Text Generation Inference, also of its chat."""
    if ask.is_chat:
        return plain_body(answer, ask, number=number, cached=cached)
    made = [
        {"id": row.token.id, "text": _text_of(row.token), "logprob": row.logprob}
        for row in answer.generated
    ]
    return {
        "generated_text": "".join(_texts(answer.generated)),
        "details": {
            "finish_reason": "length",
            "generated_tokens": len(answer.generated),
            "seed": None,
            "prefill": [
                {
                    "id": row.token.id,
                    "text": _text_of(row.token),
                    "logprob": None if row.is_first else row.logprob,
                }
                for row in answer.echoed
            ],
            "tokens": [{**row, "special": False} for row in made],
            "top_tokens": [
                [
                    {"id": token.id, "text": _text_of(token), "logprob": value, "special": False}
                    for token, value in row.top
                ]
                for row in answer.generated
            ],
        },
    }


def _text_of(token: Token) -> str:
    return token.spelled.decode(errors="replace")


def _triples(rows: Sequence[Row]) -> list[list[Any]]:
    return [
        [None if row.is_first else row.logprob, row.token.id, _text_of(row.token)] for row in rows
    ]


def _texts(rows: Sequence[Row]) -> list[str]:
    """Return the text of each token; a character is shown by the last one of its tokens."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return [decoder.decode(row.token.spelled) for row in rows]
