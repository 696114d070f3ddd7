"""What the logprob gate says of one cell: one of these, and never an exception."""

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

    COINCIDENCES = "coincidences"
    """The draws no longer repeat the calibration draws to the last digit."""
    SUM = "sum"
    """The log-probability of the response as a whole has moved."""
    TOKENS = "tokens"
    """That of a single token has moved, which the sum may hide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenShift:
    """How far one token of the response has moved, by the medians, in nats."""

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
class Deciding:
    """The quantity that decided whether a difference is too large: the sum, or one token."""

    token: TokenShift | None
    """None when it is the sum."""
    shift: float
    """Of its median, in nats."""
    band: float
    """How far the median may move, in nats."""
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
    """A difference that is significant in the suite as a whole and was seen in both looks."""

    evidence: Evidence
    p_value: float
    """After Holm's correction over the cells of the suite."""
    shift: float
    """Of the sum, by the medians, in nats."""
    band: float
    """How far the sum may be from the baseline's center, in nats."""
    deciding: Deciding
    tokens: tuple[TokenShift, ...]
    """Those that moved most, first."""

    def __post_init__(self) -> None:
        require_share(p_value=self.p_value)
        require_finite(shift=self.shift)
        require_at_least(0, band=self.band)


class Equivalence(StrEnum):
    """What is claimed of a cell that agrees."""

    IDENTICAL = "identical"
    """Every draw repeats a calibration draw to the last digit."""
    EQUIVALENT = "equivalent"
    """Two one-sided tests place the shift within the floor, at 5 %."""
    NOT_SHOWN = "not shown"
    """No difference was found; that there is none was not shown either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agrees:
    """The draws are within what the baseline allows."""

    word: ClassVar[str] = "agrees"

    equivalence: Equivalence
    changed: Effect | None = None
    """A certain change that is too small to count; None when none was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """The draws have moved away from the baseline, certainly and by more than is allowed."""

    word: ClassVar[str] = "drift"

    effect: Effect
    provenance: tuple[FactChange, ...]
    """What is not as it was when the baseline was recorded: the first suspects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlying:
    """Outliers are more frequent than is allowed."""

    word: ClassVar[str] = "outlier"

    count: int
    """How many draws of the suite are outliers."""
    draws: int
    """How many valid draws there are, outliers among them."""
    most: int
    """So many outliers would be no finding yet."""
    allowed: float
    """The share of all draws of a service that may be outliers."""
    unfinished: Inconclusive | None = None
    """Why the other draws of the cell were not made, if they were not."""

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
    """An answer is about other content than was asked, or has impossible values."""

    word: ClassVar[str] = "invalid"

    reason: str
    """In foreign words."""
    position: int | None
    """The token of the response that shows it, counted from 0."""
    count: int
    """How many draws of the cell are invalid."""

    def __post_init__(self) -> None:
        require_text(reason=self.reason)
        require_at_least(0, position=self.position)
        require_at_least(1, count=self.count)


LogprobVerdict: TypeAlias = Agrees | Shifted | Outlying | Invalid | Unrecorded | Inconclusive
