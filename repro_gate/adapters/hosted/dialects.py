"""The requests and headers of each kind of provider, as data."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from repro_gate.adapters.hosted.native import (
    sglang_completion,
    sglang_request,
    tgi_completion,
    tgi_request,
    together_completion,
    unchanged,
    vllm_completion,
)
from repro_gate.core.logprobs.draw import BACKENDS
from repro_gate.core.logprobs.policy import ProviderKind

REQUEST_ID: Final = "x-request-id"
"""The header with the id that we give a call."""
ANSWERED_IDS: Final = (REQUEST_ID, "x-fireworks-request-id", "cf-ray")
"""Headers with the server's id of the call, the best one first."""
OVER_LIMIT: Final = "x-ratelimit-over-limit"


_NAMED_AS: Final = {
    "max_tokens": re.compile(
        r"max\w{0,24}[ _-]?tok|n_predict|num_predict|max_gen_len"
        r"|tokens?\b.{0,60}(?:positive|at least (?:1|one)\b|greater than (?:or equal to )?[01]\b)",
        re.IGNORECASE,
    )
}
"""How servers call a field in messages."""


@dataclass(frozen=True, slots=True)
class RateFamily:
    """The headers of one limit per minute."""

    limit: str
    remaining: str


REQUESTS: Final = RateFamily("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests")
PROMPT_TOKENS: Final = RateFamily(
    "x-ratelimit-limit-tokens-prompt", "x-ratelimit-remaining-tokens-prompt"
)
GENERATED_TOKENS: Final = RateFamily(
    "x-ratelimit-limit-tokens-generated", "x-ratelimit-remaining-tokens-generated"
)
FAMILIES: Final = (REQUESTS, PROMPT_TOKENS, GENERATED_TOKENS)

KEPT: Final = (
    "fireworks-prompt-tokens",
    "fireworks-cached-prompt-tokens",
    "fireworks-server-time-to-first-token",
    "fireworks-server-processing-time",
    *BACKENDS,
    *("fireworks-num-concurrent-requests", "num-concurrent-requests"),
    *("fireworks-deployment", "deployment"),
    *(header for family in FAMILIES for header in (family.limit, family.remaining)),
    OVER_LIMIT,
)
"""The headers that a draw keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The content of one call: the log-probabilities of the end of a prompt, or of an answer."""

    model: str
    temperature: float
    prompt: str | tuple[int, ...]
    last: int | None = None
    """How many tokens at the end; None for all tokens."""
    generate: int = 0
    """How many tokens to generate, and to score in place of the prompt."""
    messages: tuple[tuple[str, str], ...] = ()
    """The roles and texts of a chat, which replace the prompt."""
    is_open: bool = False
    """Whether the last message is the start of an answer, rather than complete."""
    top: int = 0
    """How many likely tokens to return in the place of each generated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The request format of a provider."""

    always: Mapping[str, Any]
    """The fields of every request."""
    scoring: Mapping[str, Any]
    """The fields that request the log-probabilities of a whole prompt."""
    generating: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The fields that request those of generated tokens instead."""
    chatting: Mapping[str, Any] = field(default_factory=lambda: {"logprobs": True})
    """The fields that request them of a chat."""
    opening: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The fields of a chat whose last message is the start of an answer."""
    top: str = "logprobs"
    """The field for the number of likely tokens."""
    top_of_chat: str = "top_logprobs"
    suffix: str | None = None
    """The field for a number of tokens at the end of the prompt; None if there are only all."""
    substitutes: Mapping[str, Mapping[str, Any]]
    """The substitutes of fields that a server rejects by name."""
    scored_by: str = "echo"
    """The name of the field that requests a prompt's log-probabilities, as the server has it."""
    path: str = "completions"
    """The endpoint, below the base URL."""
    chat_path: str = "chat/completions"
    models: str | None = None
    """Where the names of the models are, if answers do not have them."""
    takes_ids: bool = True
    """Whether a prompt may be sent as token ids."""
    salt: str | None = None
    """The field that separates a request from the cached prompts of all others."""
    is_cold: bool = False
    """Whether every prompt is computed again, rather than taken from a cache in part."""
    request: Callable[[Mapping[str, Any]], Any] = unchanged
    """Makes a request of this server from one in the format of completions."""
    completion: Callable[[Any], Any] = unchanged
    """Makes an answer in the format of completions from one of this server."""

    def rejected_in(self, message: str) -> frozenset[str]:
        """Return the fields that a message names, of those with a substitute."""
        return frozenset(
            field
            for field in self.substitutes
            if _NAMED_AS.get(field, re.compile(field)).search(message)
        )

    def path_of(self, body: Mapping[str, Any]) -> str:
        """Return the endpoint of a request."""
        return self.chat_path if "messages" in body else self.path

    def sent(self, body: Mapping[str, Any], *, salt: str) -> Any:
        """Return the request as this server reads it."""
        salted = body if self.salt is None else {**body, self.salt: salt}
        return salted if "messages" in body else self.request(salted)

    def body(self, question: Question, *, rejected: Collection[str] = ()) -> dict[str, Any]:
        """Return a request without the fields that the server is known to reject."""
        body: dict[str, Any] = {
            "model": question.model,
            **_asked_in(question),
            "temperature": question.temperature,
            **self.always,
        }
        if question.generate:
            body |= {**self.generating, "max_tokens": question.generate}
        else:
            body |= self.scoring
        if question.messages and question.generate:
            body |= self.chatting
        if question.is_open:
            body |= self.opening
        if question.top:
            body[self.top_of_chat if question.messages else self.top] = question.top
        if self.suffix is not None and question.last is not None and not question.generate:
            del body["echo"]
            body[self.suffix] = question.last
        return self._without(rejected, body, question)

    def _without(
        self, rejected: Collection[str], body: dict[str, Any], question: Question
    ) -> dict[str, Any]:
        for name in body.keys() & self.substitutes.keys() & set(rejected):
            value = body.pop(name)
            if name == "max_tokens" and question.generate:
                # The newer name at OpenAI; a completion has only this one.
                body["max_completion_tokens" if question.messages else name] = value
            else:
                body |= self.substitutes[name]
        return body


def _asked_in(question: Question) -> dict[str, Any]:
    if not question.messages:
        return {"prompt": question.prompt}
    return {"messages": [{"role": role, "content": text} for role, text in question.messages]}


_FIREWORKS: Final = Dialect(
    always={
        "logprobs": True,
        "return_token_ids": True,
        # Without these two the model's generation_config decides.
        "top_p": 1,
        "top_k": 0,
        "n": 1,
        "stream": False,
        # The default is to truncate the prompt silently.
        "context_length_exceeded_behavior": "error",
    },
    scoring={"max_tokens": 0, "echo": True},
    top="top_logprobs",
    suffix="echo_last",
    substitutes={"max_tokens": {"max_tokens": 1}, "echo_last": {"echo": True}},
)
_OPENAI: Final = Dialect(
    always={
        "logprobs": 1,
        # A field of vLLM and others; a server that does not know it rejects it by name.
        "return_token_ids": True,
        "top_p": 1,
        "n": 1,
        "stream": False,
    },
    scoring={"max_tokens": 0, "echo": True},
    substitutes={"max_tokens": {"max_tokens": 1}, "return_token_ids": {}},
)
_VLLM: Final = Dialect(
    always={
        "return_token_ids": True,
        # Without these the model's generation_config decides.
        "top_p": 1,
        "top_k": -1,
        "min_p": 0,
        "repetition_penalty": 1,
        "n": 1,
        "stream": False,
    },
    # Only with `echo` may nothing be generated.
    scoring={"max_tokens": 1, "prompt_logprobs": 0},
    # In a list by text, tokens that are a part of a character replace one another.
    generating={"logprobs": 1, "return_tokens_as_token_ids": True},
    chatting={"logprobs": True, "return_tokens_as_token_ids": False},
    opening={"add_generation_prompt": False, "continue_final_message": True},
    substitutes={},
    scored_by="prompt_logprobs",
    salt="cache_salt",
    is_cold=True,
    completion=vllm_completion,
)
_SGLANG: Final = Dialect(
    always={"top_p": 1, "top_k": -1, "min_p": 0, "n": 1, "stream": False},
    scoring={"max_tokens": 0, "echo": True},
    substitutes={"max_tokens": {"max_tokens": 1}},
    scored_by="logprob_start_len",
    top="top_logprobs",
    path="generate",
    chat_path="v1/chat/completions",
    models="v1/models",
    is_cold=True,
    request=sglang_request,
    completion=sglang_completion,
)
_TOGETHER: Final = Dialect(
    always={"logprobs": 1, "top_p": 1, "n": 1, "stream": False},
    scoring={"max_tokens": 1, "echo": True},
    # The number of likely tokens is that of `logprobs` here, also in a chat.
    chatting={},
    top_of_chat="logprobs",
    substitutes={},
    takes_ids=False,
    completion=together_completion,
)
_TGI: Final = Dialect(
    always={},
    scoring={"max_tokens": 1, "echo": True},
    top="top_logprobs",
    substitutes={},
    scored_by="decoder_input_details",
    path="generate",
    chat_path="v1/chat/completions",
    models="v1/models",
    takes_ids=False,
    request=tgi_request,
    completion=tgi_completion,
)
_LLAMA_SERVER: Final = Dialect(
    always={
        "logprobs": 1,
        "cache_prompt": False,
        "top_p": 1,
        "n": 1,
        "stream": False,
    },
    scoring={"max_tokens": 1, "echo": True},
    substitutes={},
    is_cold=True,
)


def dialect_of(kind: ProviderKind) -> Dialect:  # noqa: C901, PLR0911 -- one case for each kind
    """Return the dialect of a kind of hosted provider; raises ValueError for an engine."""
    match kind:
        case ProviderKind.FIREWORKS:
            return _FIREWORKS
        case ProviderKind.OPENAI:
            return _OPENAI
        case ProviderKind.VLLM:
            return _VLLM
        case ProviderKind.SGLANG:
            return _SGLANG
        case ProviderKind.TOGETHER:
            return _TOGETHER
        case ProviderKind.TGI:
            return _TGI
        case ProviderKind.LLAMA_SERVER:
            return _LLAMA_SERVER
        case ProviderKind.LOCAL:
            raise ValueError("an engine on this machine has no HTTP dialect")
        case _:
            assert_never(kind)
