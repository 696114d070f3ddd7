"""Whether a server pairs the log-probabilities of an echo with the right tokens.

A model that generates tokens gives each its log-probability. The same tokens, echoed after the same
prompt, have the same ones, but for noise. A server that is off by one in its echo gives each token
the number of a neighbour, or of itself as the next token: draw for draw the same wrong number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from repro_gate.core.guards import require_at_least, require_finite

CONTINUATION_TOKENS = 24
"""How many tokens are generated for one comparison."""
MAX_COMPARISONS = 3
"""How many comparisons are made of a model until one can be told from the other."""
CALLS_PER_COMPARISON = 2
_NEAR_NATS = 0.5
_FAR_NATS = 2.0
"""Noise of 1 nat for each token is typically as far in less than one of a million comparisons."""
_STEP_NATS = 0.2
"""Neighbours that are typically nearer to each other cannot be told apart."""
_MIN_TOKENS = 12
_CLEAR = 0.25
"""One distance is clearly smaller than another at this share of it."""
_MOST = 0.75
_FEW = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTwice:
    """Tokens that a model generated, with their log-probabilities by two ways, in nats."""

    generated: tuple[float, ...]
    echoed: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.generated) != len(self.echoed):
            raise ValueError(
                f"{len(self.generated)} tokens, of which {len(self.echoed)} are echoed"
            )
        require_finite(generated=self.generated, echoed=self.echoed)


class Alignment(StrEnum):
    """What comparisons show."""

    ALIGNED = "aligned"
    SHIFTED = "shifted"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentFigures:
    """What a judgement rests on."""

    alignment: Alignment
    tokens: int
    near: int
    """Those whose two log-probabilities agree."""
    distance: float
    """Between the two, typically, in nats; 0 without tokens."""

    def __post_init__(self) -> None:
        require_at_least(0, tokens=self.tokens, near=self.near, distance=self.distance)
        if self.near > self.tokens:
            raise ValueError(f"{self.near} of {self.tokens} tokens agree")


def judge_alignment(compared: Sequence[ScoredTwice]) -> AlignmentFigures:
    """Return what comparisons of one model show together."""
    whole = [pair for one in compared for pair in zip(one.generated, one.echoed, strict=True)]
    distances = [abs(own - echoed) for own, echoed in whole]
    near = sum(distance <= _NEAR_NATS for distance in distances)
    distance = median(distances) if distances else 0.0
    return AlignmentFigures(
        alignment=_alignment(compared, near=near, tokens=len(whole), distance=distance),
        tokens=len(whole),
        near=near,
        distance=distance,
    )


def _alignment(
    compared: Sequence[ScoredTwice], *, near: int, tokens: int, distance: float
) -> Alignment:
    if tokens >= _MIN_TOKENS and near <= _FEW * tokens and distance >= _FAR_NATS:
        return Alignment.SHIFTED
    places = [(one, place) for one in compared for place in range(1, len(one.generated) - 1)]
    if len(places) < _MIN_TOKENS:
        return Alignment.NOT_SHOWN
    own, before, after = (
        median(abs(one.echoed[place] - one.generated[place + step]) for one, place in places)
        for step in (0, -1, 1)
    )
    beside = min(before, after)
    if near >= _MOST * tokens and beside >= _STEP_NATS and own <= _CLEAR * beside:
        return Alignment.ALIGNED
    is_beside = own >= _STEP_NATS and beside <= _CLEAR * own
    return Alignment.SHIFTED if is_beside else Alignment.NOT_SHOWN
