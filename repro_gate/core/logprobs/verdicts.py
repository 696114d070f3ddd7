"""The verdicts of the log-probability gate on one cell."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias

from repro_gate.core.guards import require_at_least, require_finite, require_share, require_text
from repro_gate.core.logprobs.draw import Piece
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded


class Evidence(StrEnum):
    """The statistic that showed a difference."""

    EXACT_REPEATS = "exact_repeats"
    """The draws no longer repeat the calibration draws exactly."""
    SUM = "sum"
    """The log-probability of the whole response shifted."""
    TOKENS = "tokens"
    """The log-probability of a single token shifted, which the sum may hide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenShift:
    """The shift of one token of the response, by the medians, in nats."""

    position: int
    """Counted from 0."""
    piece: Piece
    expected: float
    observed: float

    def __post_init__(self) -> None:
        require_at_least(0, position=self.position)
        require_finite(expected=self.expected, observed=self.observed)

    @property
    def shift(self) -> float:
        """Observed minus expected."""
        return self.observed - self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Where most of the generated answers that leave the recorded one do so."""

    position: int
    """Counted from 0."""
    piece: Piece | None
    """The token that is generated there; None where the answer ends."""
    margin: float
    """How much likelier it is there than the recorded token, by the median, in nats."""
    draws: int
    """The answers with this fork."""
    of: int
    """All answers."""

    def __post_init__(self) -> None:
        require_at_least(0, position=self.position, margin=self.margin)
        require_at_least(1, draws=self.draws, of=self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """The quantity that decided whether a difference is too large."""

    token: TokenShift | None
    """None when it is the sum."""
    shift: float
    """Of its median, in nats."""
    band: float
    """The allowed shift of the median, in nats."""
    calibration: tuple[float, ...]
    """Its values in the calibration draws, in nats."""
    draws: tuple[float, ...]
    """Those in the new ones."""

    def __post_init__(self) -> None:
        moved = () if self.token is None else (self.token.expected, self.token.observed)
        values = (self.shift, self.band, *self.calibration, *self.draws, *moved)
        if not all(map(math.isfinite, values)):
            raise ValueError(f"what decided must be finite, got {self}")
        if self.band < 0:
            raise ValueError(f"a band must be at least 0, got {self.band}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A difference that is significant in its suite and confirmed by the second look."""

    evidence: Evidence
    p_value: float
    """After Holm's correction over the cells of the suite."""
    shift: float
    """Of the sum, by the medians, in nats."""
    band: float
    """The allowed distance of the sum from the baseline's center, in nats."""
    deciding: Deciding
    tokens: tuple[TokenShift, ...]
    """The tokens that shifted most, first."""
    by_distance: bool = False
    """Whether shift and band are of the mean distance over all tokens, in place of the sum."""
    fork: Fork | None = None
    """Of answers of kind `generated`."""

    def __post_init__(self) -> None:
        require_share(p_value=self.p_value)
        require_finite(shift=self.shift)
        require_at_least(0, band=self.band)


class Equivalence(StrEnum):
    """How much a cell without a difference is known to agree."""

    IDENTICAL = "identical"
    """Every draw repeats a calibration draw exactly."""
    EQUIVALENT = "equivalent"
    """Two one-sided tests place the shift within the floor, at 5 %."""
    NOT_SHOWN = "not shown"
    """No difference was found, and equivalence was not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agrees:
    """The draws agree with the baseline."""

    word: ClassVar[str] = "agrees"

    equivalence: Equivalence
    changed: Effect | None = None
    """A significant change below the tolerance, if any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """The draws shifted significantly and beyond the tolerance."""

    word: ClassVar[str] = "drift"

    effect: Effect
    provenance: tuple[FactChange, ...]
    """What changed in the provenance since the baseline was recorded, most likely causes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlying:
    """Outliers are more frequent than allowed."""

    word: ClassVar[str] = "outlier"

    count: int
    """Outliers among the draws of the suite."""
    draws: int
    """Valid draws, including outliers."""
    most: int
    """The largest number of outliers that is no finding."""
    allowed: float
    """The allowed share of outliers."""
    unfinished: Inconclusive | None = None
    """Why remaining draws of the cell were not made; None when all were."""

    def __post_init__(self) -> None:
        require_at_least(0, count=self.count, most=self.most)
        require_share(allowed=self.allowed)
        if self.count > self.draws:
            raise ValueError(f"{self.count} of {self.draws} draws are outliers")

    @property
    def rate(self) -> float:
        """The share of outliers among all draws of the suite."""
        return self.count / max(1, self.draws)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A malformed response, or one about other tokens than requested."""

    word: ClassVar[str] = "invalid"

    reason: str
    """Untrusted text."""
    position: int | None
    """Index of the response token at fault."""
    count: int
    """Invalid draws of the cell."""

    def __post_init__(self) -> None:
        require_text(reason=self.reason)
        require_at_least(0, position=self.position)
        require_at_least(1, count=self.count)


LogprobVerdict: TypeAlias = Agrees | Shifted | Outlying | Invalid | Unrecorded | Inconclusive
