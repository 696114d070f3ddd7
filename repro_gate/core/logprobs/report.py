"""The report on one suite of log-probabilities, a part of the `GateReport`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from repro_gate.core.guards import require_at_least, require_finite, require_name, require_share
from repro_gate.core.logprobs.policy import LogprobCell, LogprobKind, PolicyKind, Tolerance
from repro_gate.core.logprobs.sessions import SessionNoise
from repro_gate.core.logprobs.verdicts import Equivalence, Evidence, LogprobVerdict, TokenShift
from repro_gate.core.tokens.verdicts import Orphan


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDraw:
    """An outlier among the draws of a cell; it was drawn again."""

    total: float
    """In nats."""
    center: float
    """The baseline's center, in nats."""
    bound: float
    """The allowed distance from the center, in nats."""
    tokens: tuple[TokenShift, ...]
    """The tokens that shifted most, first."""
    request_id: str
    """Untrusted text; empty when the answer had none."""

    def __post_init__(self) -> None:
        require_finite(total=self.total, center=self.center)
        require_at_least(0, bound=self.bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobCellReport:
    """What is known of one cell."""

    cell: LogprobCell
    verdict: LogprobVerdict
    source: str | None
    """The source of the baseline; None when the engine did not report one."""
    center: float | None
    """Of the baseline, in nats; None without a usable baseline."""
    band: float | None
    """The allowed distance of the sum from the center, in nats."""
    calibration: tuple[float, ...]
    """The sums of the calibration draws, in nats."""
    totals: tuple[float, ...]
    """The sums of the valid draws without outliers, in nats, in the order in which they came."""
    outliers: tuple[OutlierDraw, ...] = ()

    def __post_init__(self) -> None:
        require_finite(center=self.center, calibration=self.calibration, totals=self.totals)
        require_at_least(0, band=self.band)

    @property
    def id(self) -> str:
        """The id of the cell."""
        return self.cell.id


class SuiteVerdict(StrEnum):
    """The result of the suite test."""

    AGREES = "agrees"
    CHANGED = "changed"
    """A significant change, typically below the floor: a note."""
    DRIFT = "drift"
    NOT_TESTED = "not tested"
    """No cell could be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTest:
    """One stratified test over all cells: a changed model shifts every item a little."""

    verdict: SuiteVerdict
    cells: int
    """The number of compared cells."""
    left_out: int
    """Cells left out because they drifted individually."""
    p_value: float
    """The smallest of the three statistics, times three, in the last look taken."""
    evidence: Evidence
    """The statistic with that p-value."""
    typical_shift: float
    """The median over the cells of the absolute shift of the sum, in nats."""
    second_look: bool
    """Whether a second, independent set of draws was taken of every cell."""
    mean_shift: float
    """The signed mean over the cells, in nats."""
    mean_shift_bound: float
    """Bound on the absolute mean shift at 95 % confidence, in nats (TOST)."""
    equivalence: Equivalence
    band: float | None = None
    """How far another session may typically be, in nats; None where that is within the floor."""

    def __post_init__(self) -> None:
        require_at_least(
            0, cells=self.cells, left_out=self.left_out, typical_shift=self.typical_shift
        )
        require_at_least(0, band=self.band)
        require_share(p_value=self.p_value)
        require_finite(mean_shift=self.mean_shift)
        if not self.mean_shift_bound >= 0:
            raise ValueError(f"mean_shift_bound must be at least 0, got {self.mean_shift_bound}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyNoise:
    """The noise of a policy's draws, to compare policies."""

    policy: str
    model: str
    temperature: float
    logprobs: LogprobKind
    cells: int
    calibration_variance: float
    """Within cells, of the calibration draws, in nats squared."""
    variance: float
    """Within cells, of the draws of this check, in nats squared."""
    atom: float
    """The share of this check's draws that repeat a calibration draw exactly."""
    draws: int
    outliers: int
    kind: PolicyKind = PolicyKind.RESPONSE

    def __post_init__(self) -> None:
        require_name(self.policy)
        require_share(atom=self.atom)
        require_at_least(0, calibration_variance=self.calibration_variance, variance=self.variance)
        require_at_least(0, cells=self.cells, draws=self.draws, outliers=self.outliers)
        require_at_least(0, temperature=self.temperature)


class Usability(StrEnum):
    """Whether importance weights can be used."""

    USABLE = "usable"
    UNUSABLE = "unusable"
    UNDETERMINED = "undetermined"
    """Too few items or too few draws to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightReport:
    """Importance weights w = exp(target - base), one for each item."""

    base: str
    target: str
    is_control: bool
    """The target is a clone of the base: every weight should be 1."""
    must_be_usable: bool
    items: int
    mean_log_ratio: float
    """In nats."""
    effective_size: float
    """(sum w)^2 / sum w^2, between 1 and `items` (Kish)."""
    largest_share: float
    """Of the sum of all weights."""
    mean_weight: float
    """Its expectation is 1 when the responses were drawn from the base policy."""
    mean_p: float
    """The p-value of a mean weight of 1."""
    khat: float | None
    """The shape of the tail (PSIS); None when there are too few items to fit one."""
    khat_bar: float | None
    """The largest acceptable k-hat for this number of items."""
    control_p: float | None
    """The p-value of the A/A control; None for other targets."""
    problems: tuple[str, ...]
    """Why these weights are unusable; empty when they are not."""
    doubts: tuple[str, ...] = ()
    """Why usability is undetermined; empty when it is determined."""
    control_doubt: str | None = None
    """Why the A/A control could not have failed; None when it could, or there is none."""

    def __post_init__(self) -> None:
        require_name(self.base)
        require_name(self.target)
        require_at_least(0, items=self.items, effective_size=self.effective_size)
        require_share(
            largest_share=self.largest_share, mean_p=self.mean_p, control_p=self.control_p
        )
        require_finite(mean_log_ratio=self.mean_log_ratio, khat=self.khat, khat_bar=self.khat_bar)
        if not self.mean_weight >= 0:
            raise ValueError(f"mean_weight must be at least 0, got {self.mean_weight}")

    @property
    def usability(self) -> Usability:
        """Whether the weights are usable; a problem takes precedence over a doubt."""
        if self.problems:
            return Usability.UNUSABLE
        return Usability.UNDETERMINED if self.doubts else Usability.USABLE

    @property
    def failed(self) -> bool:
        """Whether unusable weights are a finding: those of a control, and required ones."""
        return bool(self.problems) and (self.is_control or self.must_be_usable)

    @property
    def inconclusive(self) -> bool:
        """Whether the weights leave the check inconclusive."""
        is_needed = self.must_be_usable and self.usability is Usability.UNDETERMINED
        return not self.failed and (is_needed or self.control_doubt is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobControl:
    """One draw per policy that has to differ: the same response after another prompt."""

    policy: str
    cell: str
    differed: bool

    def __post_init__(self) -> None:
        require_name(self.policy)

    @property
    def failed(self) -> bool:
        """Whether the API ignored the prompt, so that no check could fail."""
        return not self.differed


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the check cost."""

    calls: int
    """Draws made, at hosted APIs and on this machine."""
    saved: int
    """Draws of the first look skipped because they could not change the decision."""
    reused: int
    """Draws resumed from an interrupted check."""
    tokens: int
    """Prompt and response tokens of the draws made."""
    usd: float
    """By the price in the matrix; 0 without one."""

    def __post_init__(self) -> None:
        require_at_least(0, calls=self.calls, saved=self.saved, reused=self.reused)
        require_at_least(0, tokens=self.tokens, usd=self.usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobReport:
    """The results of a check for one suite of log-probabilities."""

    suite: str
    tolerance: Tolerance
    cells: tuple[LogprobCellReport, ...]
    orphans: tuple[Orphan, ...] = ()
    """Baselines that no cell uses."""
    suite_test: SuiteTest
    policies: tuple[PolicyNoise, ...]
    weights: tuple[WeightReport, ...]
    controls: tuple[LogprobControl, ...]
    spending: Spending
    sessions: SessionNoise | None = None
    """What the baselines of the compared cells show about sessions; None without any."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many cells have each verdict, by its word, and how many baselines are orphaned."""
        return Counter(found.word for found in (*(c.verdict for c in self.cells), *self.orphans))

    @property
    def measured(self) -> bool:
        """Whether any valid draw was made."""
        return any(cell.totals for cell in self.cells)

    @property
    def uncontrolled(self) -> tuple[str, ...]:
        """The measured policies without a control."""
        shown = {control.policy for control in self.controls}
        return tuple(noise.policy for noise in self.policies if noise.policy not in shown)
