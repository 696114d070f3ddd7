"""Whether a server pairs the log-probabilities of an echo with the right tokens.

A generated token and the same token echoed after the same prompt have equal log-probabilities, but
for noise. A server whose echo is off by one reports the value of a neighbouring token instead, and
does so in every draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from repro_gate.core.guards import require_at_least, require_finite

CONTINUATION_TOKENS = 24
"""Tokens generated for one comparison."""
MAX_COMPARISONS = 3
"""Comparisons per model before the result is left open."""
CALLS_PER_COMPARISON = 2
_NEAR_NATS = 0.5
_FAR_NATS = 2.0
"""Noise of 1 nat per token has so large a median in less than one of a million comparisons."""
_STEP_NATS = 0.2
"""Closer neighbours cannot be distinguished."""
_MIN_TOKENS = 12
_CLEAR = 0.25
"""One distance is clearly smaller than another at this share of it."""
_MIN_NEAR_SHARE = 0.75
_MAX_NEAR_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTwice:
    """Log-probabilities in nats of the same tokens, as generated and as echoed."""

    generated: tuple[float, ...]
    echoed: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.generated) != len(self.echoed):
            raise ValueError(
                f"{len(self.generated)} tokens, of which {len(self.echoed)} are echoed"
            )
        require_finite(generated=self.generated, echoed=self.echoed)


class Alignment(StrEnum):
    """Whether an echo pairs its values with the right tokens."""

    ALIGNED = "aligned"
    SHIFTED = "shifted"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentFigures:
    """An alignment with the figures behind it."""

    alignment: Alignment
    tokens: int
    near: int
    """Tokens whose two values agree."""
    distance: float
    """Median distance between the two values, in nats; 0 without tokens."""

    def __post_init__(self) -> None:
        require_at_least(0, tokens=self.tokens, near=self.near, distance=self.distance)
        if self.near > self.tokens:
            raise ValueError(f"{self.near} of {self.tokens} tokens agree")


def judge_alignment(compared: Sequence[ScoredTwice]) -> AlignmentFigures:
    """Judge the comparisons of one model together."""
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
    if tokens >= _MIN_TOKENS and near <= _MAX_NEAR_SHARE * tokens and distance >= _FAR_NATS:
        return Alignment.SHIFTED
    places = [(one, place) for one in compared for place in range(1, len(one.generated) - 1)]
    if len(places) < _MIN_TOKENS:
        return Alignment.NOT_SHOWN
    own, before, after = (
        median(abs(one.echoed[place] - one.generated[place + step]) for one, place in places)
        for step in (0, -1, 1)
    )
    beside = min(before, after)
    if near >= _MIN_NEAR_SHARE * tokens and beside >= _STEP_NATS and own <= _CLEAR * beside:
        return Alignment.ALIGNED
    is_beside = own >= _STEP_NATS and beside <= _CLEAR * own
    return Alignment.SHIFTED if is_beside else Alignment.NOT_SHOWN
