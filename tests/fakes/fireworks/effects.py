"""What may go wrong with a service, and the rules that say when it does."""

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
    """None leaves the weights."""
    noise: Noise | None = None
    """None leaves the noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The echoed tokens are more or less likely than they should be: an outlier, or drift."""

    nats: float
    """Added to the sum; negative for less likely."""
    token: int | None = None
    """The echoed token that is hit, counted from 0; None for equal parts on all of them."""

    def apply(self, rows: list[Row]) -> list[Row]:
        """Return the rows as they are told."""
        places = range(len(rows)) if self.token is None else [self.token]
        parts = dict.fromkeys(places, self.nats / max(1, len(places)))
        return [moved(row, parts.get(place, 0.0)) for place, row in enumerate(rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Misread:
    """Another token is echoed than was sent."""

    token: int
    """Counted from 0 among those echoed."""
    becomes: Token

    def apply(self, rows: list[Row]) -> list[Row]:
        """Return the rows as they are told."""
        rows[self.token] = replace(rows[self.token], token=self.becomes)
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerAs:
    """The answer names another model."""

    model: str

    def apply(self, body: Json) -> None:
        """Change the body of an answer."""
        body["model"] = self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Arrays lose their last entries or have them twice."""

    by: int
    array: str | None = None
    """One of the legacy arrays, or `content`; None for all that there are."""

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
    """Something stands where a log-probability should: NaN, infinity, null, a text."""

    value: object
    token: int = 0
    """Counted from 0 among those that come back."""

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
    """Whatever else may happen to the body of an answer."""

    change: Callable[[Json], Any]
    """Changes it in place."""

    def apply(self, body: Json) -> None:
        """Change the body of an answer."""
        self.change(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """An error in the shape of the API, or a redirect."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    message: str = "scripted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Bytes in place of an answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Besides those of every answer; `content-type` is JSON unless it stands here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The answer has other headers, besides its own."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """The connection ends in the middle of the answer."""

    after: int
    """Bytes of the body that still arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The answer takes longer, besides the latency that all have."""

    seconds: float


OnModel: TypeAlias = Swap
OnRows: TypeAlias = Shift | Misread
OnBody: TypeAlias = AnswerAs | Resize | Put | Edit
OnWire: TypeAlias = Fail | Say | Head | CutOff | Wait
Effect: TypeAlias = OnModel | OnRows | OnBody | OnWire


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When an effect strikes: the requests that it is about are counted from 1."""

    effect: Effect
    first: int = 1
    last: float = math.inf
    every: int = 1
    """1 for each of them, 2 for every second one, and so on."""
    model: str | None = None
    """The model that was asked; None for any."""
    text: str | None = None
    """What stands somewhere in the prompt and response; None for any."""

    def is_about(self, model: str, text: str) -> bool:
        """Tell whether the rule counts a request."""
        return self.model in {None, model} and (self.text is None or self.text in text)

    def strikes(self, number: int) -> bool:
        """Tell whether the effect strikes at this request, of those that the rule counts."""
        return self.first <= number <= self.last and (number - self.first) % self.every == 0


def on(number: int, effect: Effect, *, model: str | None = None, text: str | None = None) -> Rule:
    """Return the rule that strikes at one request."""
    return Rule(effect=effect, first=number, last=number, model=model, text=text)


class Rulebook:
    """Rules, and how many requests each has counted."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._counted = [0] * len(rules)

    def strike(self, model: str, text: str) -> list[Effect]:
        """Count a request, and return what strikes, in the order of the rules."""
        effects: list[Effect] = []
        for place, rule in enumerate(self._rules):
            if rule.is_about(model, text):
                self._counted[place] += 1
                if rule.strikes(self._counted[place]):
                    effects.append(rule.effect)
        return effects


def moved(row: Row, nats: float) -> Row:
    """Return a row whose log-probabilities are moved, and never above 0."""
    # An unmoved row stays as it is to the last bit; the first position has no value to move.
    if not nats or row.logprob is None or row.is_first:
        return row
    sampling = None if row.sampling is None else min(0.0, row.sampling + nats)
    return replace(row, logprob=min(0.0, row.logprob + nats), sampling=sampling)
