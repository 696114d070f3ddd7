"""What providers want to hear and how they call what they tell: their differences, as data."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from repro_gate.core.policies import ProviderKind

REQUEST_ID: Final = "x-request-id"
"""The header in which a call is given a name."""
ANSWERED_IDS: Final = (REQUEST_ID, "x-fireworks-request-id", "cf-ray")
"""Where a server says what it calls the call, the best name first."""
BACKENDS: Final = ("fireworks-backend-host", "backend-host")
OVER_LIMIT: Final = "x-ratelimit-over-limit"


_NAMED_AS: Final = {
    "max_tokens": re.compile(
        r"max\w{0,24}[ _-]?tok|n_predict|num_predict|max_gen_len"
        r"|tokens?\b.{0,60}(?:positive|at least (?:1|one)\b|greater than (?:or equal to )?[01]\b)",
        re.IGNORECASE,
    )
}
"""How servers name a field that has another name inside of them."""


@dataclass(frozen=True, slots=True)
class RateFamily:
    """The headers that speak of one limit per minute."""

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
    """What one call asks: how likely the end of a prompt is, token by token."""

    model: str
    temperature: float
    prompt: str | tuple[int, ...]
    last: int | None = None
    """How many tokens at the end are asked about; None asks about all of them."""
    generate: int = 0
    """How many tokens are to be generated, and asked about in place of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a question is put to a provider."""

    always: Mapping[str, Any]
    """What every request says."""
    suffix: str | None
    """The field that asks for so many tokens of the prompt's end; without it all are asked for."""
    instead: Mapping[str, Mapping[str, Any]]
    """What is said in place of a field that a server refuses by its name."""

    def refused_in(self, words: str) -> frozenset[str]:
        """Return the fields that a server's words name, of those that can be said otherwise."""
        return frozenset(
            field for field in self.instead if _NAMED_AS.get(field, re.compile(field)).search(words)
        )

    def body(self, question: Question, *, refused: Collection[str] = ()) -> dict[str, Any]:
        """Return a request, without the fields that the server is known to refuse."""
        body: dict[str, Any] = {
            "model": question.model,
            "prompt": question.prompt,
            "temperature": question.temperature,
            **self.always,
        }
        if question.generate:
            body["max_tokens"] = question.generate
            refused = [field for field in refused if field != "max_tokens"]
        elif self.suffix is None or question.last is None:
            body["echo"] = True
        else:
            body[self.suffix] = question.last
        for field in refused:
            if body.pop(field, None) is not None:
                body |= self.instead[field]
        return body


_FIREWORKS: Final = Dialect(
    always={
        "max_tokens": 0,
        "logprobs": True,
        "return_token_ids": True,
        # Left out, these two come from the model's generation_config.
        "top_p": 1,
        "top_k": 0,
        "n": 1,
        "stream": False,
        # Its default is to cut the prompt without a word.
        "context_length_exceeded_behavior": "error",
    },
    suffix="echo_last",
    instead={"max_tokens": {"max_tokens": 1}, "echo_last": {"echo": True}},
)
_OPENAI: Final = Dialect(
    always={
        "max_tokens": 0,
        "logprobs": 1,
        # Not of OpenAI, but of vLLM and others; one that does not know it says so.
        "return_token_ids": True,
        "top_p": 1,
        "n": 1,
        "stream": False,
    },
    suffix=None,
    instead={"max_tokens": {"max_tokens": 1}, "return_token_ids": {}},
)


def dialect_of(kind: ProviderKind) -> Dialect:
    """Return how a kind of hosted provider is asked; an engine is asked in another way."""
    match kind:
        case ProviderKind.FIREWORKS:
            return _FIREWORKS
        case ProviderKind.OPENAI:
            return _OPENAI
        case ProviderKind.LOCAL:
            raise ValueError("an engine on this machine has no HTTP dialect")
        case _:
            assert_never(kind)
