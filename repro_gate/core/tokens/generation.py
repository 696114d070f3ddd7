"""Generations: tokens with their evidence, and their exact comparison."""

import math
import re
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, zip_longest
from typing import Final, assert_never, overload

from repro_gate.core.guards import require_at_least
from repro_gate.core.text import escape_bytes

MAX_TOKEN_BYTES: Final = 4096
"""No tokenizer has a longer token."""
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")


class Stop(StrEnum):
    """Why a generation ended."""

    LENGTH = "length"
    END_OF_GENERATION = "end_of_generation"
    STOP_STRING = "stop_string"
    """The last token completed a stop string of the prompt."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: equal only when both its id and its bytes are."""

    id: int
    data: bytes | None
    """The bytes of the token; for a control token, its name. None if they are unknown."""

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ValueError(f"a token id must be at least 0, got {self.id}")

    @property
    def spelled(self) -> bytes:
        """The bytes, or the id in angle brackets where they are unknown."""
        return b"<%d>" % self.id if self.data is None else self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The evidence for one chosen token: raw log-probabilities, in nats, before any sampler."""

    logprob: float
    best: tuple[tuple[int, float], ...]
    """The most likely tokens as (id, log-probability), best first."""

    def __post_init__(self) -> None:
        _require_possible([self.logprob, *(logprob for _, logprob in self.best)])
        if any(token < 0 for token, _ in self.best):
            raise ValueError(f"a token id must be at least 0, got {self.best}")

    @property
    def margin(self) -> float | None:
        """The lead of the best token over the second in nats; 0 is a tie."""
        if len(self.best) < 2:  # noqa: PLR2004 -- a margin lies between two
            return None
        return self.best[0][1] - self.best[1][1]


class Choices(Sequence[Choice]):
    """A sequence of choices that are made when they are read, and equal to a tuple of them."""

    __slots__ = ()

    @abstractmethod
    def at(self, place: int) -> Choice:
        """Return the choice at a place from 0 to below the length."""

    @overload
    def __getitem__(self, index: int) -> Choice: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Choice, ...]: ...
    def __getitem__(self, index: int | slice) -> Choice | tuple[Choice, ...]:
        """Return one choice, or those of a slice."""
        places = range(len(self))[index]
        return self.at(places) if isinstance(places, int) else tuple(map(self.at, places))

    def __eq__(self, other: object) -> bool:
        """Return whether these are the same choices, be it as a tuple."""
        return tuple(self) == (tuple(other) if isinstance(other, Choices) else other)

    def __hash__(self) -> int:
        """Return the hash of the tuple that it equals."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Return the choices as a tuple."""
        return repr(tuple(self))


class Trace(Choices):
    """The choices of one run, in a seventh of the memory of separate values."""

    __slots__ = ("_ends", "_ids", "_logprobs", "_values")

    def __init__(self, choices: Iterable[tuple[float, Iterable[int], Iterable[float]]]) -> None:
        """Take the log-probability of each choice, and the ids and log-probabilities of its best.

        Raises:
            ValueError: a choice is not valid, or a number is of another type or too large.
        """
        logprobs: list[float] = []
        values: list[float] = []
        ids: list[int] = []
        ends: list[int] = []
        for logprob, some_ids, some_values in choices:
            logprobs.append(logprob)
            ids += some_ids
            values += some_values
            ends.append(len(ids))
            if len(ids) != len(values):
                raise ValueError("as many ids as log-probabilities are expected")
        # All at once, as there are a thousand times as many as cells.
        if {*map(type, ids)} - {int} or {*map(type, logprobs), *map(type, values)} - {int, float}:
            raise ValueError("ids are integers, and log-probabilities are numbers")
        try:
            self._logprobs, self._values = array("d", logprobs), array("d", values)
            self._ids, self._ends = array("q", ids), array("q", ends)
        except OverflowError as error:
            raise ValueError("a number of more than 64 bits") from error
        _require_possible(self._logprobs)
        _require_possible(self._values)
        if ids and min(ids) < 0:
            raise ValueError(f"a token id must be at least 0, got {min(ids)}")

    def __len__(self) -> int:
        """Return the number of choices."""
        return len(self._logprobs)

    def at(self, place: int) -> Choice:
        """Return the choice at a place."""
        start, end = self._ends[place - 1] if place else 0, self._ends[place]
        best = zip(self._ids[start:end], self._values[start:end], strict=True)
        return Choice(logprob=self._logprobs[place], best=tuple(best))

    def columns(self) -> tuple[list[float], list[list[int]], list[list[float]]]:
        """Return the arguments of this trace, one list of each."""
        ids, values = self._ids.tolist(), self._values.tolist()
        spans = [slice(*span) for span in pairwise((0, *self._ends))]
        return self._logprobs.tolist(), [ids[at] for at in spans], [values[at] for at in spans]


def _require_possible(logprobs: Iterable[float]) -> None:
    if not all(map(math.isfinite, logprobs)):
        raise ValueError(f"log-probabilities must be finite, got {list(logprobs)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The output of one run of one cell."""

    prompt: tuple[Token, ...]
    tokens: tuple[Token, ...]
    stop: Stop
    trace: Sequence[Choice] = ()
    """One entry per token of a traced run, empty otherwise."""
    rendered: str | None = None
    """The text that a chat template made; None for a prompt that is a text."""
    stop_string: str | None = None
    """The one that ended it."""
    content: bytes | None = None
    """What llama-server answers: the text before the stop string. Its tokens stay in `tokens`."""
    logits: tuple[str, ...] = ()
    """For each token the digest of the logits that it was drawn from; empty if not requested."""

    def __post_init__(self) -> None:
        if self.logits and len(self.logits) != len(self.tokens):
            raise ValueError(f"{len(self.logits)} digests of logits for {len(self.tokens)} tokens")
        if not all(map(_DIGEST.fullmatch, self.logits)):
            raise ValueError("a digest of logits has 16 digits in lower-case hex")
        if self.trace and len(self.trace) != len(self.tokens):
            raise ValueError(f"{len(self.trace)} trace entries for {len(self.tokens)} tokens")
        is_cut = self.stop is Stop.STOP_STRING
        if (self.stop_string is not None, self.content is not None) != (is_cut, is_cut):
            raise ValueError("a generation has a stop string and a content if one ended it")

    def at(self, place: "Place") -> tuple[Token, ...]:
        """Return the sequence in which a divergence has its position."""
        match place:
            case Place.TEMPLATE:
                return _lines_of(self.rendered)
            case Place.PROMPT:
                return self.prompt
            case Place.OUTPUT:
                return self.tokens
            case Place.LOGITS:
                return tuple(Token(step, each.encode()) for step, each in enumerate(self.logits))
            case _:
                assert_never(place)

    def lacks_logits_of(self, other: "Generation") -> bool:
        """Return whether only the other one has digests of its logits."""
        return bool(other.logits) and not self.logits


def text_of(tokens: Sequence[Token]) -> str:
    """Return the escaped text of the tokens, as one safe line."""
    return escape_bytes(bytes_of(tokens))


def bytes_of(tokens: Sequence[Token]) -> bytes:
    """Return the text of the tokens as it is."""
    return b"".join(token.spelled for token in tokens)


def are_same(one: Token | None, other: Token | None) -> bool:
    """Return whether two tokens do not differ: without the bytes of one, the ids decide.

    This is no equality: a token without bytes is the same as two that differ in their bytes.
    """
    if one is None or other is None:
        return one is other
    return one.id == other.id and (one.data == other.data or None in {one.data, other.data})


class Place(StrEnum):
    """The part of a generation in which two of them differ, in the order of comparison."""

    TEMPLATE = "template"
    """The text of a chat changed, not the tokenizer; each line is a token with its number as id."""
    PROMPT = "prompt"
    """The tokenizer changed, not the model."""
    OUTPUT = "output"
    LOGITS = "logits"
    """All tokens are equal; each digest is a token with the number of its step as id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first position at which two generations differ."""

    place: Place
    position: int
    """Counted from 0 within `place`."""
    expected: Token | None
    """None when the expected sequence had already ended."""
    observed: Token | None
    """None when the observed sequence had already ended."""
    logits_from: int | None = None
    """The first step with other logits, at most that of an output's position; None if unknown."""

    def __post_init__(self) -> None:
        require_at_least(0, position=self.position)
        if are_same(self.expected, self.observed):
            raise ValueError(f"the tokens at a divergence must differ, got {self.expected} twice")
        require_at_least(0, logits_from=self.logits_from)
        has_steps = self.place in {Place.OUTPUT, Place.LOGITS}
        if self.logits_from is not None and not (has_steps and self.logits_from <= self.position):
            raise ValueError("logits are compared up to a divergence in the output")

    def starts_from(self, expected: Generation) -> bool:
        """Return whether a generation has the expected token, or its end, at this position."""
        tokens = expected.at(self.place)
        return self.position <= len(tokens) and (*tokens, None)[self.position] == self.expected


def first_divergence(expected: Generation, observed: Generation) -> Divergence | None:
    """Return where `observed` first differs from `expected`, or None when they are equal.

    The text of a chat is compared first, then the tokens of the prompt: outputs of different
    prompts are not comparable. A sequence that ends early differs at its own end. Logits are
    compared where both have them.
    """
    found = (_first(place, expected, observed) for place in Place)
    return next(filter(None, found), None)


def output_divergence(expected: Generation, observed: Generation) -> Divergence | None:
    """Return where two outputs first differ, ignoring the prompts and truncation at a limit."""
    found = _first(Place.OUTPUT, expected, observed)
    if found is None:
        return None
    is_cut = found.expected is None and _is_cut_short(expected)
    is_cut |= found.observed is None and _is_cut_short(observed)
    return None if is_cut else found


def _is_cut_short(generation: Generation) -> bool:
    # An empty output is never truncated: a limit allows at least one token.
    return generation.stop is Stop.LENGTH and bool(generation.tokens)


def _lines_of(text: str | None) -> tuple[Token, ...]:
    lines = (text or "").encode("utf-8", errors="surrogatepass").splitlines(keepends=True)
    return tuple(Token(number, line) for number, line in enumerate(lines))


def _first(place: Place, one: Generation, other: Generation) -> Divergence | None:
    expected, observed = one.at(place), other.at(place)
    if expected == observed or (place is Place.LOGITS and not (expected and observed)):
        return None
    pairs = enumerate(zip_longest(expected, observed))
    found = next((found for found in pairs if not are_same(*found[1])), None)
    if found is None:
        return None
    position, (want, got) = found
    has_steps = place in {Place.OUTPUT, Place.LOGITS}
    return Divergence(
        place=place,
        position=position,
        expected=want,
        observed=got,
        logits_from=_first_logits(one, other, end=position) if has_steps else None,
    )


def _first_logits(one: Generation, other: Generation, *, end: int) -> int | None:
    """Return the first step up to a fork whose logits differ; None where none are known to."""
    steps = enumerate(zip(one.logits[: end + 1], other.logits[: end + 1], strict=False))
    return next((step for step, (before, now) in steps if before != now), None)
