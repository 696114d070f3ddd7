"""How the log-probabilities of recorded tokens differ from those that a model gives them now."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from repro_gate.core.tokens.generation import (
    Choice,
    Generation,
    Place,
    first_divergence,
    output_divergence,
)
from repro_gate.core.tokens.verification import MAX_DISTANCE, Verification, VerifiedToken

SAME: Final = 0.000051
"""In nats: half of the last of the four decimals of a golden, and float64 rounding."""
NOTICEABLE: Final = 0.001
"""In nats."""
_MIN_REST: Final = 1e-4
"""The least probability of the tokens that are not known: the precision of a golden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What is known of the log-probabilities at one position, on both sides."""

    number: int
    """Counted from 0 in the output."""
    before: Mapping[int, float]
    """By token id: of the golden, or of run 1 where runs differ."""
    now: Mapping[int, float]
    ranked: tuple[int, int]
    """How many of the tokens of each side are its most likely ones, without a gap."""

    @property
    def shift(self) -> float:
        """The largest change of a log-probability that both sides know, in nats."""
        moved = (abs(self.before[token] - self.now[token]) for token in self._shared)
        # None of the most likely tokens is among those of now.
        return max(moved, default=math.inf)

    @property
    def kl_divergence(self) -> float:
        """A lower bound of KL(before | now), in nats.

        The sum of p ln(p / q) over the tokens that both sides know and the rest as one more token:
        joining tokens can only lower it.
        """
        pairs = [
            (probability_of(self.before[one]), probability_of(self.now[one]))
            for one in self._shared
        ]
        known = (sum(p for p, _ in pairs), sum(q for _, q in pairs))
        rest = (max(_MIN_REST, 1 - known[0]), max(_MIN_REST, 1 - known[1]))
        # The probability of an extremely unlikely token is 0 as a float.
        return max(0.0, sum(p * math.log(p / q) for p, q in [*pairs, rest] if p and q))

    @property
    def has_same_best(self) -> bool:
        """Whether the most likely token of now was the most likely one before, or as likely."""
        best = max(self.now, key=lambda token: self.now[token])
        return self.before.get(best, -math.inf) >= max(self.before.values()) - SAME

    @property
    def _shared(self) -> list[int]:
        return sorted(self.before.keys() & self.now.keys())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts:
    """How far the log-probabilities of some positions moved."""

    count: int
    largest: float
    mean: float
    first: int | None
    """The first position that moved by more than `NOTICEABLE`."""

    @property
    def are_none(self) -> bool:
        """Whether nothing moved, as far as a golden can show it."""
        return self.largest <= SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedTokens:
    """How nearly a model generates given tokens, one after the other."""

    count: int
    explained: int
    """As many are drawn by the samplers of the cell too."""
    mean_distance: float | None
    """Without random numbers that of the margins in nats; None if some are not known."""
    mean_kl_divergence: float | None
    """None without a trace; see `Position.kl_divergence`."""
    same_best: int | None
    """At as many positions the most likely token is the same; None without a trace."""


def probability_of(logprob: float) -> float:
    """Return a probability, at most 1 whatever an engine reports."""
    return math.exp(min(0.0, logprob))


def known_at(token: int, evidence: Choice | VerifiedToken) -> Mapping[int, float]:
    """Return the log-probabilities that are known where a token was chosen or claimed."""
    return {**dict(evidence.best), token: evidence.logprob}


def positions_of(
    before: Generation, now: Generation | None, verification: Verification
) -> tuple[Position, ...]:
    """Return the positions of an output at which both sides know log-probabilities.

    Args:
        before: the golden, or run 1 where runs differ.
        now: the generation of now, whose trace counts where there is no verification; None where
            there is none.
        verification: of the tokens of `before`, or of those that they share with another run.
    """
    drawn = _drawn_at_fork(before, now)
    found: list[Position] = []
    for number, (then, choice, (token, entry)) in enumerate(
        zip(before.tokens, before.trace, _evidence(now, verification), strict=False)
    ):
        known = {**drawn.get(number, {}), **known_at(token, entry)}
        ranked = len(choice.best), len(entry.best)
        found.append(
            Position(number=number, before=known_at(then.id, choice), now=known, ranked=ranked)
        )
        if then.id != token:
            # From here on they follow other tokens.
            break
    return tuple(found)


def _drawn_at_fork(before: Generation, now: Generation | None) -> Mapping[int, Mapping[int, float]]:
    """Return what the trace of now has where it first differs; before, a verification has it."""
    found = None if now is None else output_divergence(before, now)
    if now is None or found is None or found.observed is None or not now.trace:
        return {}
    return {found.position: known_at(found.observed.id, now.trace[found.position])}


def _evidence(
    now: Generation | None, verification: Verification
) -> Iterable[tuple[int, Choice | VerifiedToken]]:
    if verification or now is None:
        return [(entry.id, entry) for entry in verification]
    return [(token.id, choice) for token, choice in zip(now.tokens, now.trace, strict=False)]


def largest_shift(before: Generation, now: Generation) -> float | None:
    """Return the largest change of a log-probability up to a divergence; None if unknown."""
    found = first_divergence(before, now)
    if found is not None and found.place in {Place.TEMPLATE, Place.PROMPT}:
        return None
    moved = [position.shift for position in positions_of(before, now, ())]
    return max(filter(math.isfinite, moved), default=None)


def shifts_of(positions: Sequence[Position]) -> Shifts | None:
    """Return how far the log-probabilities moved; None without positions."""
    moved = [position.shift for position in positions]
    noticed = (at.number for at, by in zip(positions, moved, strict=True) if by > NOTICEABLE)
    if not moved:
        return None
    mean = fmean(moved)
    return Shifts(count=len(moved), largest=max(moved), mean=mean, first=next(noticed, None))


def forced_tokens(
    verification: Verification, positions: Sequence[Position], *, is_greedy: bool
) -> ForcedTokens:
    """Return how nearly the tokens of a verification, at least one, are generated.

    Args:
        verification: of all tokens of a golden.
        positions: see `positions_of`.
        is_greedy: whether the samplers draw without random numbers.
    """
    distances = [clipped_distance(token, is_greedy=is_greedy) for token in verification]
    known = [distance for distance in distances if distance is not None]
    divergences = [position.kl_divergence for position in positions]
    return ForcedTokens(
        count=len(verification),
        explained=sum(token.drawn == token.id for token in verification),
        mean_distance=fmean(known) if len(known) == len(distances) else None,
        mean_kl_divergence=fmean(divergences) if divergences else None,
        same_best=sum(each.has_same_best for each in positions) if positions else None,
    )


def clipped_distance(token: VerifiedToken, *, is_greedy: bool) -> float | None:
    """Return the distance of a token, 0 to 0.5: without random numbers the margin in nats.

    None when there are random numbers and this one is unknown.
    """
    if is_greedy and token.distance is None and token.best:
        return min(MAX_DISTANCE, max(0.0, token.best[0][1] - token.logprob))
    return token.distance
