"""How nearly a model generates given tokens: what its samplers draw in their place."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from repro_gate.core.guards import require_at_least, require_finite, require_share
from repro_gate.core.tokens.generation import Divergence, Generation, Place, Token
from repro_gate.core.tokens.verdicts import Drift, Nondeterministic, Verdict

MAX_DISTANCE: Final = 0.5
"""Of a token that is no candidate; larger distances count as this (arXiv 2511.20621)."""


def require_distance(**values: float | tuple[float, ...] | None) -> None:
    """Raise ValueError unless each distance, alone or in a tuple, is one of a token."""
    for name, value in values.items():
        for distance in value if isinstance(value, tuple) else (value,):
            if distance is not None and not 0 <= distance <= MAX_DISTANCE:
                raise ValueError(f"{name} must lie between 0 and {MAX_DISTANCE}, got {distance}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Where the probability of a candidate lies when those of all are added up to 1."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require_share(low=self.low, high=self.high)
        if self.low > self.high:
            raise ValueError(
                f"a share must not end before it begins, got {self.low} to {self.high}"
            )

    @property
    def size(self) -> float:
        """The probability."""
        return self.high - self.low

    def distance(self, number: float) -> float:
        """Return how far a number between 0 and 1 lies outside; 0 for one inside."""
        return max(self.low - number, number - self.high, 0.0)

    def depth(self, number: float) -> float:
        """Return how far a number between 0 and 1 lies inside; 0 for one outside."""
        return max(0.0, min(number - self.low, self.high - number))

    def gap(self, other: "Share") -> float:
        """Return how far the nearest number in another share lies outside."""
        return max(self.low - other.high, other.low - self.high, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A claimed token, and what is drawn in its place after the claimed tokens before it."""

    id: int
    logprob: float
    """Raw, in nats."""
    best: tuple[tuple[int, float], ...]
    """The most likely tokens as (id, log-probability), best first."""
    drawn: int
    uniform: float | None
    """The random number of the draw; None when it has no effect or is unknown."""
    share: Share | None
    """Of the claimed token after all samplers; None when it cannot be drawn."""
    drawn_share: Share | None

    def __post_init__(self) -> None:
        require_finite(logprobs=(self.logprob, *(logprob for _, logprob in self.best)))
        require_at_least(0, id=self.id, drawn=self.drawn, best=min(self.best, default=(0, 0.0))[0])
        require_share(uniform=self.uniform)

    @property
    def distance(self) -> float | None:
        """How far the random number is from drawing the claimed token, 0 to 0.5; 0 if it does.

        None when there is no random number, as at temperature 0.
        """
        if self.drawn == self.id:
            return 0.0
        if self.uniform is None:
            return None
        return (
            MAX_DISTANCE
            if self.share is None
            else min(MAX_DISTANCE, self.share.distance(self.uniform))
        )

    @property
    def least_distance(self) -> float | None:
        """How far at least an unknown random number is, as it draws another token.

        None when the share of that token is not known.
        """
        if self.drawn_share is None:
            return None
        return MAX_DISTANCE if self.share is None else self.share.gap(self.drawn_share)


Verification: TypeAlias = tuple[VerifiedToken, ...]
"""One entry for each claimed token."""


def claim_of(first: Generation, finding: Verdict | None) -> tuple[Token, ...]:
    """Return the output to verify with the engine that made the first run; empty if there is none.

    Of a drift it is that of the golden, of runs that differ the first token of the other run after
    those that they share.
    """
    match finding:
        # After another prompt the tokens are no claim.
        case Drift(golden=golden, divergence=Divergence(place=Place.OUTPUT | Place.LOGITS)):
            return golden.generation.tokens
        case Nondeterministic(divergence=Divergence(place=Place.OUTPUT, observed=Token() as other)):
            return (*first.tokens[: finding.divergence.position], other)
        case _:
            return ()
