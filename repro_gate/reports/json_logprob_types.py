"""The log-probabilities of `repro-gate/report/v1`: its own types, as in `json_types`.

A number is null where there is none to write down: JSON knows no infinity.
"""

from typing import TypedDict


class FactChangeEntry(TypedDict):
    """One fact that changed since the golden or the baseline was recorded."""

    name: str
    before: str | None
    after: str | None


class ToleranceEntry(TypedDict):
    """When a difference counts."""

    calibration_draws: int
    draws: int
    false_alarm_rate: float
    floor_nats: float
    outlier_factor: float
    max_outlier_rate: float


class FalseAlarmsEntry(TypedDict):
    """How the stated rate is shared."""

    cells: float
    matrix: float
    outliers: float
    controls: float


class PolicyItemEntry(TypedDict):
    """What the matrix says of a cell."""

    policy: str
    item: str
    provider: str
    model: str
    system: str
    template: str
    temperature: float
    logprobs: str
    prompt: str
    response: str


class TokenShiftEntry(TypedDict):
    """How far one token has moved."""

    position: int
    id: int | None
    text: str
    expected: float | None
    observed: float | None
    shift: float | None


class DecidingEntry(TypedDict):
    """The sum, or the token, whose shift is too large."""

    token: TokenShiftEntry | None
    shift: float | None
    band: float | None
    calibration: list[float | None]
    draws: list[float | None]


class EffectEntry(TypedDict):
    """A difference that is certain."""

    evidence: str
    p_value: float | None
    shift: float | None
    band: float | None
    deciding: DecidingEntry
    tokens: list[TokenShiftEntry]


class OutlierDrawEntry(TypedDict):
    """A draw that was drawn again."""

    total: float | None
    center: float | None
    bound: float | None
    tokens: list[TokenShiftEntry]
    request_id: str | None


class OutlierRateEntry(TypedDict):
    """How frequent outliers are in the suite."""

    count: int
    draws: int
    most: int
    rate: float | None
    allowed: float | None


class InvalidEntry(TypedDict):
    """How many draws were invalid, and where the first shows it."""

    position: int | None
    count: int


class LogprobCellEntry(TypedDict):
    """One cell."""

    id: str
    definition: PolicyItemEntry
    source: str | None
    verdict: str
    reason: str | None
    remedy: str | None
    sameness: str | None
    effect: EffectEntry | None
    provenance: list[FactChangeEntry]
    outlier_rate: OutlierRateEntry | None
    invalid: InvalidEntry | None
    center: float | None
    band: float | None
    calibration: list[float | None]
    totals: list[float | None]
    outliers: list[OutlierDrawEntry]


class MatrixEntry(TypedDict):
    """The test over all cells of the suite."""

    verdict: str
    cells: int
    left_out: int
    p_value: float | None
    evidence: str | None
    typical_shift: float | None
    second_look: bool
    mean_shift: float | None
    mean_shift_bound: float | None
    sameness: str | None


class PolicyEntry(TypedDict):
    """How a policy's draws vary."""

    policy: str
    model: str
    temperature: float
    logprobs: str
    cells: int
    calibration_variance: float | None
    variance: float | None
    atom: float | None
    draws: int
    outliers: int


class WeightEntry(TypedDict):
    """Importance weights of one policy over another."""

    base: str
    target: str
    is_control: bool
    must_be_usable: bool
    usable: bool
    usability: str
    problems: list[str]
    doubts: list[str]
    control_doubt: str | None
    items: int
    mean_log_ratio: float | None
    effective_size: float | None
    largest_share: float | None
    mean_weight: float | None
    mean_p: float | None
    khat: float | None
    khat_bar: float | None
    control_p: float | None


class LogprobControlEntry(TypedDict):
    """One draw that has to differ."""

    policy: str
    cell: str
    differed: bool


class SpendingEntry(TypedDict):
    """What the check of the suite cost."""

    calls: int
    saved: int
    reused: int
    tokens: int
    usd: float | None


class OrphanedBaselineEntry(TypedDict):
    """A baseline that no cell uses."""

    id: str
    source: str


class LogprobEntry(TypedDict):
    """One suite."""

    suite: str
    outcome: str
    tolerance: ToleranceEntry
    false_alarms: FalseAlarmsEntry
    counts: dict[str, int]
    cells: list[LogprobCellEntry]
    orphans: list[OrphanedBaselineEntry]
    matrix: MatrixEntry
    policies: list[PolicyEntry]
    weights: list[WeightEntry]
    controls: list[LogprobControlEntry]
    spending: SpendingEntry
