"""Faults of a service, and the rules for when they occur."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from repro_gate.core.tokens.generation import Token
from tests.fakes.fireworks.answers import Json, Row
from tests.fakes.fireworks.noise import Noise
from tests.fakes.fireworks.weights import Weights

_LEGACY_ARRAYS = ("tokens", "token_logprobs", "top_logprobs", "text_offset", "token_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Another model is behind the name."""

    weights: Weights | None = None
    """None keeps the weights."""
    noise: Noise | None = None
    """None keeps the noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The echoed tokens are more or less likely than they should be: an outlier, or drift."""

    nats: float
    """Added to the sum; negative for less likely."""
    token: int | None = None
    """The index of the changed echoed token; None to spread it over all of them."""

    def apply(self, rows: list[Row]) -> list[Row]:
        """Return the changed rows."""
        places = range(len(rows)) if self.token is None else [self.token]
        parts = dict.fromkeys(places, self.nats / max(1, len(places)))
        return [moved(row, parts.get(place, 0.0)) for place, row in enumerate(rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Misread:
    """An echoed token differs from the one that was sent."""

    token: int
    """The index among the echoed tokens."""
    becomes: Token

    def apply(self, rows: list[Row]) -> list[Row]:
        """Return the changed rows."""
        rows[self.token] = replace(rows[self.token], token=self.becomes)
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerAs:
    """The answer has the name of another model."""

    model: str

    def apply(self, body: Json) -> None:
        """Change the body of an answer."""
        body["model"] = self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Lists lose their last items or repeat them."""

    by: int
    array: str | None = None
    """One of the legacy lists, or `content`; None for all of them."""

    def apply(self, body: Json) -> None:
        """Change the body of an answer."""
        logprobs = body["choices"][0]["logprobs"]
        for name in (*_LEGACY_ARRAYS, "content") if self.array is None else (self.array,):
            entries = logprobs.get(name)
            if entries is not None:
                cut = max(0, len(entries) + min(0, self.by))
                logprobs[name] = entries[:cut] + entries[-1:] * max(0, self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A log-probability is replaced: by NaN, infinity, null, a string."""

    value: object
    token: int = 0
    """The index among the returned tokens."""

    def apply(self, body: Json) -> None:
        """Change the body of an answer."""
        logprobs = body["choices"][0]["logprobs"]
        if "content" in logprobs:
            row = logprobs["content"][self.token]
            row |= dict.fromkeys(row.keys() & {"logprob", "sampling_logprob"}, self.value)
        else:
            logprobs["token_logprobs"][self.token] = self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Any other change of the body of an answer."""

    change: Callable[[Json], Any]
    """Changes it in place."""

    def apply(self, body: Json) -> None:
        """Change the body of an answer."""
        self.change(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """An error in the format of the API, or a redirect."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    message: str = "scripted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Bytes in place of an answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to those of every answer; `content-type` is JSON unless it is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The answer has additional headers."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """The connection ends in the middle of the answer."""

    after: int
    """Bytes of the body that are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The answer takes longer than the latency of all."""

    seconds: float


OnModel: TypeAlias = Swap
OnRows: TypeAlias = Shift | Misread
OnBody: TypeAlias = AnswerAs | Resize | Put | Edit
OnWire: TypeAlias = Fail | Say | Head | CutOff | Wait
Effect: TypeAlias = OnModel | OnRows | OnBody | OnWire


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When an effect occurs: the matching requests are counted from 1."""

    effect: Effect
    first: int = 1
    last: float = math.inf
    every: int = 1
    """1 for each of them, 2 for every second one, and so on."""
    model: str | None = None
    """The requested model; None for any."""
    text: str | None = None
    """A substring of the prompt and response; None for any."""

    def is_about(self, model: str, text: str) -> bool:
        """Return whether a request matches."""
        return self.model in {None, model} and (self.text is None or self.text in text)

    def strikes(self, number: int) -> bool:
        """Return whether the effect occurs at the n-th matching request."""
        return self.first <= number <= self.last and (number - self.first) % self.every == 0


def on(number: int, effect: Effect, *, model: str | None = None, text: str | None = None) -> Rule:
    """Return a rule for exactly one request."""
    return Rule(effect=effect, first=number, last=number, model=model, text=text)


class Rulebook:
    """Rules, and the number of matching requests of each."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._counted = [0] * len(rules)

    def strike(self, model: str, text: str) -> list[Effect]:
        """Count a request, and return its effects in the order of the rules."""
        effects: list[Effect] = []
        for place, rule in enumerate(self._rules):
            if rule.is_about(model, text):
                self._counted[place] += 1
                if rule.strikes(self._counted[place]):
                    effects.append(rule.effect)
        return effects


def moved(row: Row, nats: float) -> Row:
    """Return a row with shifted log-probabilities, at most 0."""
    # An unshifted row must stay identical; the first position has no value.
    if not nats or row.logprob is None or row.is_first:
        return row
    sampling = None if row.sampling is None else min(0.0, row.sampling + nats)
    return replace(row, logprob=min(0.0, row.logprob + nats), sampling=sampling)
