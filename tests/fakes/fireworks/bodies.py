"""Requests, validated as strictly as by the API."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

WHOLE_PROMPT = -1
"""Echo as many tokens as the prompt has."""

_Count: TypeAlias = Annotated[int, Field(ge=0)]
_Top: TypeAlias = Annotated[int, Field(ge=0, le=5)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_Temperature: TypeAlias = Annotated[float, Field(ge=0, le=2)]
_Unsimulated: TypeAlias = None
"""The API knows the field; this server does not support it, and rejects it."""
_DEFAULT_MAX_TOKENS = 16


class ApiError(Exception):
    """The error with which the API answers a request."""

    def __init__(self, status: int, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


class Shape(StrEnum):
    """The format of log-probabilities."""

    NONE = "none"
    LEGACY = "legacy"
    """Parallel lists."""
    CONTENT = "content"
    """One object per token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The input of a model; the same question has the same answer, apart from noise."""

    prompt: str | tuple[int, ...]
    echo: int = 0
    """How many of the last tokens of the prompt are echoed."""
    max_tokens: int = 0
    temperature: float | None = None
    """None when there are no sampling log-probabilities."""
    top: int = 0
    is_truncated: bool = True
    """Whether a prompt beyond the context is truncated rather than rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request of any endpoint and dialect."""

    model: str
    question: Question
    shape: Shape
    is_chat: bool = False
    wants_ids: bool = False
    is_named_by_id: bool = False
    """Whether tokens are named by their ids, in place of their texts."""
    wants_raw_output: bool = False
    wants_metrics: bool = False
    is_cold: bool = False
    """Whether nothing of the prompt may come from the cache."""


class _Body(BaseModel):
    """The fields of every endpoint."""

    model_config = ConfigDict(extra="forbid", strict=True)
    is_chat: ClassVar[bool] = False

    model: str
    echo: bool | None = None
    max_tokens: _Count | None = None
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    seed: int | None = None
    temperature: _Temperature | None = None
    top_p: _Share | None = None
    user: str | None = None

    frequency_penalty: _Unsimulated = None
    logit_bias: _Unsimulated = None
    presence_penalty: _Unsimulated = None
    stop: _Unsimulated = None


class _FireworksBody(_Body):
    """The fields of both endpoints of Fireworks."""

    context_length_exceeded_behavior: Literal["error", "truncate"] = "truncate"
    echo_last: _Count | None = None
    ignore_eos: bool = False
    logprobs: bool | _Top | None = None
    max_completion_tokens: _Count | None = None
    metadata: dict[str, str] | None = None
    perf_metrics_in_response: bool | None = None
    prompt_cache_isolation_key: str | None = None
    prompt_cache_key: str | None = None
    raw_output: bool | None = None
    return_token_ids: bool | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] = "auto"
    top_k: _Count | None = None
    top_logprobs: _Top | None = None

    min_p: _Unsimulated = None
    mirostat_lr: _Unsimulated = None
    mirostat_target: _Unsimulated = None
    prediction: _Unsimulated = None
    reasoning_effort: _Unsimulated = None
    reasoning_history: _Unsimulated = None
    repetition_penalty: _Unsimulated = None
    response_format: _Unsimulated = None
    speculation: _Unsimulated = None
    thinking: _Unsimulated = None
    typical_p: _Unsimulated = None

    def to_ask(self, prompt: str | tuple[int, ...]) -> Ask:
        """Return the request in common form."""
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ApiError(400, "max_tokens and max_completion_tokens cannot be specified together")
        return Ask(
            model=self.model,
            question=Question(
                prompt=prompt,
                echo=WHOLE_PROMPT if self.echo else self.echo_last or 0,
                max_tokens=_first(self.max_tokens, self.max_completion_tokens, _DEFAULT_MAX_TOKENS),
                temperature=self._sampling_temperature,
                top=self._top,
                is_truncated=self.context_length_exceeded_behavior == "truncate",
            ),
            shape=self._shape,
            is_chat=self.is_chat,
            wants_ids=bool(self.return_token_ids),
            wants_raw_output=bool(self.raw_output),
            wants_metrics=bool(self.perf_metrics_in_response),
        )

    @property
    def _shape(self) -> Shape:
        if isinstance(self.logprobs, bool):
            return Shape.CONTENT if self.logprobs else Shape.NONE
        return Shape.NONE if self.logprobs is None else Shape.LEGACY

    @property
    def _top(self) -> int:
        if self._shape is Shape.LEGACY:
            return self.logprobs or 0
        return (self.top_logprobs or 0) if self._shape is Shape.CONTENT else 0

    @property
    def _sampling_temperature(self) -> float | None:
        # Without these two, the model's own defaults would cut the distribution.
        is_whole = self.top_p == 1 and self.top_k == 0
        temperature = 1.0 if self.temperature is None else self.temperature
        return temperature if is_whole and temperature > 0 else None


class FireworksCompletion(_FireworksBody):
    """`POST /inference/v1/completions`."""

    prompt: str | list[int]
    images: _Unsimulated = None

    def ask(self) -> Ask:
        """Return the request in common form."""
        prompt = self.prompt if isinstance(self.prompt, str) else tuple(self.prompt)
        return self.to_ask(prompt)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: str
    content: str


class FireworksChat(_FireworksBody):
    """`POST /inference/v1/chat/completions`."""

    is_chat: ClassVar[bool] = True

    messages: Annotated[list[_Message], Field(min_length=1)]
    function_call: _Unsimulated = None
    functions: _Unsimulated = None
    parallel_tool_calls: _Unsimulated = None
    prompt_truncate_len: _Unsimulated = None
    safe_tokenization: _Unsimulated = None
    tool_choice: _Unsimulated = None
    tools: _Unsimulated = None

    def ask(self) -> Ask:
        """Return the request in common form, with a template of our own."""
        lines = [f"{message.role}: {message.content}\n" for message in self.messages]
        return self.to_ask("".join([*lines, "assistant:"]))


class GenericCompletion(_Body):
    """`POST /v1/completions` of a generic API that is compatible with OpenAI's."""

    prompt: str | list[int]
    logprobs: _Top | None = None
    best_of: _Unsimulated = None
    stream_options: _Unsimulated = None
    suffix: _Unsimulated = None

    def ask(self) -> Ask:
        """Return the request in common form."""
        return Ask(
            model=self.model,
            question=Question(
                prompt=self.prompt if isinstance(self.prompt, str) else tuple(self.prompt),
                echo=WHOLE_PROMPT if self.echo else 0,
                max_tokens=_first(self.max_tokens, _DEFAULT_MAX_TOKENS),
                top=self.logprobs or 0,
                is_truncated=False,
            ),
            shape=Shape.NONE if self.logprobs is None else Shape.LEGACY,
        )


class GenericChat(_Body):
    """`POST /v1/chat/completions` of a generic API that is compatible with OpenAI's."""

    is_chat: ClassVar[bool] = True

    messages: Annotated[list[_Message], Field(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_completion_tokens: _Count | None = None

    def ask(self) -> Ask:
        """Return the request in common form, with a template of our own."""
        lines = [f"{message.role}: {message.content}\n" for message in self.messages]
        return Ask(
            model=self.model,
            question=Question(
                prompt="".join([*lines, "assistant:"]),
                max_tokens=_first(self.max_tokens, self.max_completion_tokens, _DEFAULT_MAX_TOKENS),
                top=self.top_logprobs or 0,
                is_truncated=False,
            ),
            shape=Shape.CONTENT if self.logprobs else Shape.NONE,
            is_chat=True,
        )


class Body(Protocol):
    """The fields of an endpoint."""

    @classmethod
    def model_validate(cls, obj: Any, /) -> Self:
        """Return the validated fields."""
        ...

    def ask(self) -> Ask:
        """Return the request in common form."""
        ...


def read_body(kind: type[Body], body: Any) -> Ask:
    """Return the request in a body, or raise an error."""
    try:
        return kind.model_validate(body).ask()
    except ValidationError as error:
        found = [_told(problem) for problem in error.errors(include_url=False)]
        several = f"{len(found)} request validation errors: " if len(found) > 1 else ""
        raise ApiError(400, several + "; ".join(found)) from None


def _told(problem: Any) -> str:
    field = ".".join(map(str, problem["loc"]))
    is_unsimulated = problem["type"] == "none_required"
    message = "This server does not simulate the field" if is_unsimulated else problem["msg"]
    return f"{message}, field: '{field}', value: {problem['input']!r}"


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
