"""One measurement of log P(response | prompt), and its validation."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

from repro_gate.core.guards import require_at_least, require_logprobs, require_text
from repro_gate.core.text import escape_bytes
from repro_gate.core.tokens.golden import Facts

ROUNDING_NATS = 1e-6
"""A log-probability may exceed 0 by this much: the logarithm of a rounded 1."""
PLACEHOLDER_NATS = -9999.0
"""At or below this a value is a placeholder: no softmax is so small."""
FINGERPRINT = "system_fingerprint"
"""The kept fact with the id of a server's configuration."""
USAGE_PROMPT = "usage.prompt_tokens"
USAGE_CACHED = "usage.cached_tokens"
"""The kept facts with the tokens that a server counted."""
BACKENDS = ("fireworks-backend-host", "backend-host")
"""Headers with the machine that answered, the best one first."""
_PROMPT_TOKENS = (USAGE_PROMPT, "fireworks-prompt-tokens")
_CACHED_TOKENS = (USAGE_CACHED, "fireworks-cached-prompt-tokens")
_COUNT = re.compile(r"[0-9]{1,12}")
_NO_LOGPROBS = "ask a server and a model that return the log-probabilities of a prompt"


@dataclass(frozen=True, slots=True)
class Piece:
    """A token as a provider reports it, with or without an id."""

    id: int | None
    data: bytes

    def __post_init__(self) -> None:
        if self.id is not None and self.id < 0:
            raise ValueError(f"a token id must be at least 0, got {self.id}")

    def __str__(self) -> str:
        """Return the token as one safe line."""
        return f'{"" if self.id is None else f"{self.id} "}"{escape_bytes(self.data)}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Prompt and response of a cell as tokens of the model."""

    prompt: tuple[Piece, ...]
    """Empty where a server does not report them."""
    response: tuple[Piece, ...]
    """The tokens whose values a draw has: for kind `first_token` the most likely first tokens, best
    first, and for `generated` the greedy answer."""
    logprobs: tuple[float, ...] | None = None
    """The value of each in the call that generated the response, in nats; None for a given one."""

    def __post_init__(self) -> None:
        if not self.response:
            raise ValueError("a response must have at least one token")
        if self.logprobs is not None:
            require_logprobs(self.logprobs)
            if len(self.logprobs) != len(self.response):
                raise ValueError(
                    f"{len(self.logprobs)} log-probabilities for {len(self.response)} tokens"
                )

    @property
    def has_ids(self) -> bool:
        """Whether the provider reports token ids."""
        return all(piece.id is not None for piece in (*self.prompt, *self.response))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawFacts:
    """Metadata of the call behind a draw; never a secret."""

    at: str = ""
    """Time of the response; ISO 8601, UTC."""
    model: str = ""
    """The model name in the response."""
    request_id: str = ""
    latency_s: float = 0.0
    attempts: int = 1
    headers: Facts | None = None
    """Cached tokens, server timings, backend and rate limits, where sent."""

    def __post_init__(self) -> None:
        require_at_least(0, latency_s=self.latency_s)
        require_at_least(1, attempts=self.attempts)

    @property
    def backend(self) -> str:
        """The machine that answered; empty when unknown."""
        return self._kept(BACKENDS)

    @property
    def fingerprint(self) -> str:
        """The id of the server's configuration; empty when unknown."""
        return self._kept((FINGERPRINT,))

    @property
    def prompt_tokens(self) -> int | None:
        """The tokens of the prompt, with the response that it ends with, by the server's count."""
        return _count(self._kept(_PROMPT_TOKENS))

    @property
    def cached_tokens(self) -> int | None:
        """How many of them came from a cache, by the server's count."""
        return _count(self._kept(_CACHED_TOKENS))

    def _kept(self, names: Sequence[str]) -> str:
        headers = self.headers or {}
        return next((headers[name] for name in names if headers.get(name)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A valid measurement."""

    logprobs: tuple[float, ...]
    """One for each token of the response, in nats."""
    facts: DrawFacts = DrawFacts()
    others: tuple[tuple[Piece, float], ...] = ()
    """Tokens beside those of the response, with their values: for kind `first_token` the other
    likely ones, and for `generated` the token at the fork."""
    fork: int | None = None
    """Where a generated answer differs first from the response; None if it does not."""

    def __post_init__(self) -> None:
        require_logprobs(self.logprobs)
        require_logprobs((value for _, value in self.others), "others")
        require_at_least(0, fork=self.fork)

    @property
    def total(self) -> float:
        """Log P(response | prompt), in nats."""
        return math.fsum(self.logprobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidDraw:
    """A malformed response, or one about other tokens than requested."""

    reason: str
    position: int | None = None
    """Index of the response token at fault."""
    facts: DrawFacts = DrawFacts()

    def __post_init__(self) -> None:
        require_text(reason=self.reason)
        require_at_least(0, position=self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedDraw:
    """A draw that could not be measured."""

    reason: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        require_text(reason=self.reason)


DrawOutcome: TypeAlias = Draw | InvalidDraw | MissedDraw


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The part of an answer about the response, unvalidated."""

    pieces: tuple[Piece, ...]
    logprobs: tuple[float | None, ...]
    facts: DrawFacts = DrawFacts()
    alternatives: tuple[tuple[tuple[Piece, float | None], ...], ...] = ()
    """For each generated token the likely tokens in its place, with their values; in any order."""


def judge_answer(
    answered: Answered, encoding: Encoding, *, model: str | None = None
) -> DrawOutcome:
    """Validate an answer and return its draw, or why it is none.

    Placeholders for values that the server did not compute count as missed, not as invalid.

    Args:
        answered: the unvalidated answer.
        encoding: the requested tokens.
        model: the expected model name; None when none is known yet.
    """
    facts = answered.facts
    other = wrong_model(facts, model)
    if other is not None:
        return other
    if len(answered.logprobs) != len(answered.pieces):
        reason = f"{len(answered.logprobs)} log-probabilities for {len(answered.pieces)} tokens"
        return InvalidDraw(reason=reason, facts=facts)
    for position, (want, got) in enumerate(zip_longest(encoding.response, answered.pieces)):
        if not _is_same(want, got):
            reason = f"the answer is about {_format(got)}, where {_format(want)} was asked"
            return InvalidDraw(reason=reason, position=position, facts=facts)
    return judge_values(answered.logprobs, encoding.response, facts)


def wrong_model(facts: DrawFacts, model: str | None) -> InvalidDraw | None:
    """Return the outcome where another model answered than the expected one, if any is."""
    if model is None or facts.model == model:
        return None
    reason = f"the model {facts.model!r} answered in place of {model!r}"
    return InvalidDraw(reason=reason, facts=facts)


def judge_values(
    values: Sequence[float | None],
    pieces: Sequence[Piece],
    facts: DrawFacts,
    *,
    remedy: str = _NO_LOGPROBS,
) -> DrawOutcome:
    """Return a draw of values, one for each token, or why they are none."""
    logprobs: list[float] = []
    for position, value in enumerate(values):
        if value is None or not math.isfinite(value) or value > ROUNDING_NATS:
            shown = "no log-probability" if value is None else f"the log-probability {value:.6g}"
            reason = f"{shown} for {pieces[position]}"
            return InvalidDraw(reason=reason, position=position, facts=facts)
        logprobs.append(min(value, 0.0))
    placeholder = _placeholder(logprobs)
    if placeholder is not None:
        return MissedDraw(
            reason=f"this server gives no log-probabilities: {placeholder}", remedy=remedy
        )
    return Draw(logprobs=tuple(logprobs), facts=facts)


def _placeholder(logprobs: Sequence[float]) -> str | None:
    """Return why plausible values are placeholders, or None."""
    if len(logprobs) > 1 and min(logprobs) == max(logprobs):
        return f"all {len(logprobs)} tokens have {logprobs[0]:.6g}"
    if min(logprobs) <= PLACEHOLDER_NATS:
        return f"{min(logprobs):.6g} stands for a number that it did not compute"
    return None


def _is_same(want: Piece | None, got: Piece | None) -> bool:
    if want is None or got is None:
        return False
    # The text of a token may end within a character; its id is exact.
    return want.id == got.id if want.id is not None else want.data == got.data


def _count(text: str) -> int | None:
    return int(text) if _COUNT.fullmatch(text) else None


def _format(piece: Piece | None) -> str:
    return "nothing" if piece is None else str(piece)
