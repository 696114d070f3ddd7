"""What the engine needs of a kind of server, and the values of its answers."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from repro_gate.engines.requests import GenerateRequest
from repro_gate.engines.served.http import Http, HttpRefused
from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.strict_json import integer, items_at, number, text, value_at

BEST: Final = 5
"""How many of the likeliest tokens each request asks for; always as many, so that all are equal."""
_DIGITS: Final = 16
LOADING: Final = 503
"""Service unavailable: the server is there, and the model is not."""
_MAX_NAMES: Final = 10
REPLACED: Final = "\ufffd"
"""Stands for bytes that are no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt as the server is asked to continue it."""

    ids: tuple[int, ...] | None = None
    """None where only the answer shows them."""
    rendered: str | None = None
    """For a chat, the text that the template of the server made, where the server shows it."""


@dataclass(frozen=True, slots=True)
class Step:
    """The log-probabilities that a server gave for one token."""

    logprob: float
    best: tuple[tuple[int, float], ...]
    """The likeliest tokens, best first, then by id."""

    @classmethod
    def of(cls, logprob: object, best: Sequence[tuple[object, object]]) -> "Step":
        """Return the step, or raise `InvalidJson`."""
        read = [(integer(token, low=0), number(value)) for token, value in best]
        read.sort(key=lambda pair: (-pair[1], pair[0]))
        return cls(number(logprob), tuple(read))

    def to_wire(self) -> dict[str, Any]:
        """Return the entry of a trace."""
        return {"logprob": self.logprob, "best": [list(pair) for pair in self.best[:BEST]]}


def digest(token: int, step: Step | None) -> str:
    """Return the digest of all that the server gave for a token: ids and numbers as sent."""
    found = [] if step is None else [step.logprob, step.best]
    return hashlib.sha256(json.dumps([token, *found]).encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class Work:
    """When a server was at work at an answer, as far as it shows it."""

    slot: int
    """The place that no other answer had in that time."""
    seconds: float
    """Without the time in a queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server generated."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    steps: tuple[Step | None, ...]
    """For each token; None where the server left it out."""
    end: str
    """As in the protocol: `length`, `end_of_generation` or `stop_string`."""
    text: str
    """Before the stop string, where one ended it."""
    stop_string: str | None = None
    cached: int | None = None
    """How many tokens of the prompt came from a cache; None if the server does not show it."""
    fingerprint: str | None = None
    """What the server says of its configuration."""
    work: Work | None = None
    """None if the server does not show it."""

    def __post_init__(self) -> None:
        if not self.tokens:
            raise unusable("it has no tokens")
        if not self.prompt:
            raise unusable("it has no prompt")
        if len(self.steps) != len(self.tokens):
            raise ValueError("one step for each token is expected")


def total(metrics: str, name: str) -> int | None:
    """Return the sum of a metric in the text format of Prometheus, or None where it is not there.

    Args:
        metrics: what the server shows.
        name: a regular expression.
    """
    values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", metrics, re.MULTILINE)
    return int(sum(map(float, values))) if values else None


def unusable(fault: str) -> RequestRefused:
    """Return the error for an answer that the gate cannot use."""
    return RequestRefused(Refusal.INTERNAL, f"the answer of the server cannot be used: {fault}")


def wrong_server(fault: str, error: HttpRefused) -> RequestRefused:
    """Return the error for a server that does not answer as its dialect does."""
    fault = "the server refuses the key" if error.is_about_the_key else fault
    return RequestRefused(Refusal.SERVER_UNAVAILABLE, f"{fault}: {error.message}")


def served_names(http: Http) -> list[str] | None:
    """Return the names of the models that a server lists, or None while it is loading."""
    try:
        models = items_at(http.get("/v1/models"), "data")
    except HttpRefused as error:
        if error.status == LOADING:
            return None
        raise wrong_server("another server, or another dialect", error) from error
    return [text(value_at(model, "id"), "/v1/models: id") for model in models]


class Dialect(ABC):
    """One kind of server: how it is asked, and where its answers have what the gate needs."""

    can_keep_cache: ClassVar[bool]
    """Whether each request decides if it may use a cache."""

    def __init__(self, http: Http, model: str) -> None:
        """Speak to a server.

        Args:
            http: its connections.
            model: the name under which it serves the model.
        """
        self.http = http
        self.model = model

    def is_ready(self) -> bool:
        """Return whether the server serves the model; False while it is loading.

        Raises:
            RequestRefused: it serves others, whose names are shown.
            ServerGone: nothing answers.
        """
        names = served_names(self.http)
        if names is not None and self.model not in names:
            shown = ", ".join(map(self.http.quote, names[:_MAX_NAMES])) or "none"
            raise RequestRefused(
                Refusal.SERVER_UNAVAILABLE,
                f"the server has no model {self.model!r}; served_as has to be one of: {shown}",
            )
        return names is not None

    @abstractmethod
    def facts(self) -> Mapping[str, str]:
        """Return what the server shows of itself, without names of hosts, users or paths."""

    def require_size(self, size: int) -> None:  # noqa: B027 -- most servers do not show it
        """Refuse a server whose model cannot be the file of that many bytes."""

    @abstractmethod
    def prompt(self, request: GenerateRequest) -> Prompt:
        """Return the prompt of a request, as far as the server has to be asked for it."""

    @abstractmethod
    def generate(
        self, prompt: Prompt, request: GenerateRequest, *, keep_cache: bool = False
    ) -> Answer:
        """Have the server continue a prompt; cold, unless it may use its cache."""

    @abstractmethod
    def detokenize(self, ids: Sequence[int]) -> str | None:
        """Return the text of some tokens, or None where the server shows none."""

    def tokenize_plain(self, prompt: str) -> tuple[int, ...] | None:
        """Return the tokens of a text without a token before it, or None where it cannot be asked.

        Only needed where the text of one token may not be what it adds to a text.
        """
        del prompt
        return None

    @abstractmethod
    def running(self) -> int | None:
        """Return how many sequences are at work now, or None where the server does not show it."""

    def cache_hits(self) -> int | None:
        """Return how many tokens the caches have given so far, or None if it is not shown."""
        return None
