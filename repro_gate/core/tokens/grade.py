"""Grades: whether a drift is as small as the harmless changes that the references know."""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

from repro_gate.core.guards import require_at_least, require_name, require_share, require_text
from repro_gate.core.tokens.verification import require_distance

ALPHA: Final = 0.01
"""At most this probability of `BEYOND`, in the whole report, for a harmless change."""
POWER: Final = 0.8
"""The probability of `BEYOND` for a drift that is further by the detectable shift."""
LARGEST_SHIFT: Final = 0.05
"""With a larger detectable shift it cannot be decided; about that of a q4_0 KV cache."""


class FailingDrift(StrEnum):
    """Which drift of a suite is a finding."""

    ANY = "drift"
    BEYOND_ROUNDING = "beyond-rounding"
    """Of another grade it is shown, and no finding."""


class GradeWord(StrEnum):
    """How a drift compares with harmless changes."""

    CONSISTENT = "consistent with rounding"
    """No further from the goldens than a harmless change, as far as these cells can show."""
    BEYOND = "beyond rounding"
    """Further from the goldens than every harmless change, or what rounding cannot do."""
    UNDECIDED = "cannot be decided"


class GradeReason(StrEnum):
    """Why a drift is graded without statistics."""

    TEMPLATE = "template"
    """A chat is rendered as another text."""
    TOKENIZER = "tokenizer"
    """The same text has other prompt tokens."""
    SAMPLER = "sampler"
    """Another token is drawn from the same log-probabilities, and not by a hair."""
    NO_REFERENCE = "no reference"
    """No variant was recorded for these cells."""
    STALE = "stale"
    """Every recorded variant is of other goldens."""
    NOT_VERIFIED = "not verified"
    """The engine cannot verify tokens, or does not know its random numbers."""


NOT_ROUNDING: Final = (GradeReason.TEMPLATE, GradeReason.TOKENIZER, GradeReason.SAMPLER)
"""What rounding cannot do."""
_MAX_SHIFT: Final = 2.0
"""Above the detectable shift of any cells: their distances differ by at most half."""
_MAX_COARSE_CELLS: Final = 50
"""With more of them the levels that a sign-flip test can reach are dense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantDistance:
    """A harmless change, on the cells that are compared with it."""

    name: str
    distance: float
    """The mean over the cells."""
    p_value: float
    """Of a drift that is no further from the goldens than this change."""
    kl_divergence: float | None = None
    """The mean over those cells that drifted; None when it is unknown."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_distance(distance=self.distance)
        require_share(p_value=self.p_value)
        require_at_least(0, kl_divergence=self.kl_divergence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """How the drift of a model compares with harmless changes, over the cells of a suite."""

    suite: str
    model: str
    fail_on: FailingDrift = FailingDrift.ANY
    """Of the suite."""
    reason: GradeReason | None = None
    """None when statistics decide."""
    shown_by: str | None = None
    """The id of the first cell that shows what rounding cannot do."""
    cells: int = 0
    """Cells with known distances: those that match, and those that drifted and were verified.

    Where variants are compared, only cells that all of them know.
    """
    tokens: int = 0
    """Of those cells."""
    not_compared: int = 0
    """The other cells that drifted."""
    distance: float | None = None
    """The mean over the cells; None without any."""
    explained: float | None = None
    """The share of their tokens that are drawn now too."""
    kl_divergence: float | None = None
    """The mean over those that drifted, a lower bound in nats; None when it is unknown."""
    same_best: float | None = None
    """The share of positions of those that drifted with the same most likely token."""
    variants: tuple[VariantDistance, ...] = ()
    """The compared harmless changes, the most distant one first."""
    left_out: tuple[str, ...] = ()
    """Recorded variants that are stale or lack drifted cells that others have."""
    p_value: float | None = None
    """The largest of the variants, after Holm's correction for all grades of the report."""
    tests: int = 0
    """The number of grades of the report that statistics decide."""
    detectable_shift: float | None = None
    """In distance beyond the most distant variant; None with fewer than `min_cells`."""
    outlier: str | None = None
    """The id of a drifted cell that is further by `LARGEST_SHIFT` than a variant moves any cell."""

    def __post_init__(self) -> None:
        require_text(suite=self.suite)
        require_name(self.model)
        require_at_least(0, cells=self.cells, tokens=self.tokens, not_compared=self.not_compared)
        require_at_least(0, tests=self.tests, kl_divergence=self.kl_divergence)
        require_at_least(0, detectable_shift=self.detectable_shift)
        require_distance(distance=self.distance)
        require_share(explained=self.explained, same_best=self.same_best, p_value=self.p_value)
        _require_basis(self)
        if self.outlier is not None and self.p_value is None:
            raise ValueError(f"no variant that {self.outlier} is further than")

    @property
    def word(self) -> GradeWord:
        """The grade."""
        if self.reason is not None:
            return GradeWord.BEYOND if self.reason in NOT_ROUNDING else GradeWord.UNDECIDED
        if self.p_value is not None and self.p_value <= ALPHA:
            return GradeWord.BEYOND
        # A mean over many cells does not show a single one.
        is_like_the_others = not self.not_compared and self.outlier is None
        is_known = is_like_the_others and self.cells >= self.min_cells
        if is_known and (self.detectable_shift or 0.0) <= LARGEST_SHIFT:
            return GradeWord.CONSISTENT
        return GradeWord.UNDECIDED

    @property
    def min_cells(self) -> int:
        """The fewest cells with which it can be decided."""
        return min_cells(self.tests)

    @property
    def needed_cells(self) -> int | None:
        """As many like these decide it; None when it is decided, or not for their number."""
        if self.word is not GradeWord.UNDECIDED or self.reason is not None or self.not_compared:
            return None
        if self.detectable_shift is None:
            return self.min_cells
        if self.detectable_shift <= LARGEST_SHIFT:
            # It is for the outlier.
            return None
        spread = self.detectable_shift / detection_factor(self.cells, tests=self.tests)
        return _cells_to_detect(LARGEST_SHIFT / spread, tests=self.tests)

    @property
    def needed_tokens(self) -> int | None:
        """The tokens of as many cells."""
        cells = self.needed_cells
        return None if cells is None else math.ceil(cells * self.tokens / self.cells)


def _require_basis(grade: Grade) -> None:
    """Raise ValueError unless a grade rests on a reason or on numbers that fit each other."""
    if (grade.reason is None) != (grade.p_value is not None):
        raise ValueError("a grade has a reason or a p-value, and not both")
    if (grade.reason in NOT_ROUNDING) != (grade.shown_by is not None):
        raise ValueError("what rounding cannot do is shown by a cell, and nothing else is")
    if (grade.cells == 0) != (grade.distance is None):
        raise ValueError(f"{grade.cells} cells with the distance {grade.distance}")
    if grade.tokens < grade.cells:
        raise ValueError(f"{grade.cells} cells have {grade.tokens} tokens")
    if grade.p_value is None:
        return
    worst = max((variant.p_value for variant in grade.variants), default=2.0)
    if not (grade.tests and grade.cells) or grade.p_value < worst:
        raise ValueError(f"the p-value {grade.p_value} of {grade.cells} cells and these variants")
    shift = grade.detectable_shift
    if (shift is None) != (grade.cells < grade.min_cells) or (shift or 0.0) > _MAX_SHIFT:
        raise ValueError(f"the detectable shift {shift} of {grade.cells} cells")


def min_cells(tests: int) -> int:
    """Return the fewest cells with which one of some sign-flip tests can reach its level.

    The smallest p-value of n cells is 2^-n, and the first step of Holm's correction multiplies it.
    """
    return math.ceil(math.log2(max(1, tests) / ALPHA))


def detection_factor(cells: int, *, tests: int) -> float:
    """Return the shift, in standard deviations of one cell, that a sign-flip test detects.

    It does so with the probability `POWER`, for about normal differences: the test is about as
    powerful as the t-test (Lehmann and Romano, "Testing statistical hypotheses", 15.2), so that the
    factor is (t(1 - level) + t(power)) / sqrt(n), with the largest level that can be reached. Where
    only n positive differences reach it, each has to be positive with the n-th root of the power.

    Args:
        cells: at least `min_cells(tests)`.
        tests: at the first step of Holm's correction.
    """
    level = ALPHA / max(1, tests)
    rejecting = math.floor(level * 2**cells) if cells <= _MAX_COARSE_CELLS else 2
    if cells <= _MAX_COARSE_CELLS:
        level = rejecting / 2**cells
    by_t = (_t_quantile(1 - level, cells - 1) + _t_quantile(POWER, cells - 1)) / math.sqrt(cells)
    return max(by_t, _normal_quantile(POWER ** (1 / cells))) if rejecting == 1 else by_t


def _cells_to_detect(shift: float, *, tests: int) -> int:
    """Return how many cells detect a shift, in standard deviations of one cell."""
    level = ALPHA / max(1, tests)
    # With the spread known exactly; the few that it costs to estimate it follow.
    least = ((_normal_quantile(1 - level) + _normal_quantile(POWER)) / shift) ** 2
    cells = max(min_cells(tests), math.ceil(least))
    while detection_factor(cells, tests=tests) > shift:
        cells += 1
    return cells


def _normal_quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _t_quantile(share: float, degrees: int) -> float:
    """Return a quantile of Student's t: the expansion 26.7.5 of Abramowitz and Stegun (1964).

    From 6 degrees of freedom on it is right to half a percent for the shares used here.
    """
    z = _normal_quantile(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))
