"""A baseline: the committed calibration draws of one item under one policy."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from repro_gate.core.guards import require_at_least, require_finite, require_logprobs, require_share
from repro_gate.core.logprobs.draw import Draw, DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobCell, Tolerance
from repro_gate.core.logprobs.sessions import (
    CalibrationSession,
    SessionTotals,
    require_sessions,
)
from repro_gate.core.tokens.golden import FactChange, Facts

RESOLUTION_NATS = 1e-5
"""Draws that differ by at most this in every token are identical; APIs round below it."""
DECIMALS = 6
"""Of a log-probability in a baseline file; more digits would only record the machine."""
_NORMAL_MAD = 1.4826
"""The standard deviation of a normal distribution over its MAD: 1 / Phi^-1(3/4)."""
_USUAL_FLOOR_NATS = 8.0
"""Five standard deviations of the noise published for a hosted service (1.56 nats)."""
_EXACT_FLOOR_NATS = 1.0
_DRAWS_OF_EXACT = 100
"""With so many draws, a service that is off in 5 % of them goes unnoticed in 0.6 % of cases."""
_EXACT_NATS = 1e-3
_DISTANCE_FACTOR = 1.5
"""For normal noise of 40 tokens, exceeded once in thousands of draws against ten recorded ones."""
_ORDINARY_SHARE = 0.975
_FLOOR_OVER_ORDINARY = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of a cell's calibration draws."""

    center: float
    """The median of the sums, in nats."""
    scale: float
    """The median absolute deviation from it, as the standard deviation of a normal, in nats."""
    deviation: float
    """The standard deviation of the sums, in nats."""
    atom: float
    """The share of the most frequent value among the draws."""
    floor: float
    """Minimum distance of an outlier in nats, from the noise of all cells of the policy."""

    def __post_init__(self) -> None:
        require_finite(center=self.center)
        require_at_least(0, scale=self.scale, deviation=self.deviation, floor=self.floor)
        require_share(atom=self.atom)

    def outlier_bound(self, factor: float) -> float:
        """Return the distance from the center, in nats, beyond which a draw is an outlier."""
        return max(factor * self.scale, self.floor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The content of a baseline file; complete without the matrix."""

    id: str
    source: str
    """Where it holds: the name of a provider, or the profile of an engine."""
    definition: Facts
    encoding: Encoding
    draws: tuple[tuple[float, ...], ...]
    """Calibration draws: a log-probability for each token of the response, in nats."""
    facts: tuple[DrawFacts, ...]
    """One for each draw."""
    noise: Noise
    answered_as: str
    """The model name in the responses."""
    provenance: Facts
    recorded_at: str
    sessions: tuple[CalibrationSession, ...] = ()
    """In order; empty when all draws are of one."""
    others: tuple[tuple[tuple[Piece, float], ...], ...] = ()
    """`Draw.others` of each draw; empty where no draw has any."""
    forks: tuple[int | None, ...] = ()
    """`Draw.fork` of each draw; empty where no draw has one."""

    def __post_init__(self) -> None:
        if not self.draws or len(self.facts) != len(self.draws):
            raise ValueError(f"{len(self.facts)} calls for {len(self.draws)} draws")
        cell_id = f"{self.definition['policy']}--{self.definition['item']}"
        if self.id != cell_id:
            raise ValueError(f"'id' is {self.id}, and 'definition' is that of {cell_id}")
        tokens = len(self.encoding.response)
        for index, draw in enumerate(self.draws):
            require_logprobs(draw, f"draws[{index}]")
            if len(draw) != tokens:
                raise ValueError(
                    f"'draws[{index}]' has {len(draw)} log-probabilities for {tokens} tokens"
                )
        for name, given in (("others", self.others), ("forks", self.forks)):
            if given and len(given) != len(self.draws):
                raise ValueError(f"{len(given)} {name} for {len(self.draws)} draws")
        if self.sessions:
            require_sessions(self.sessions, draws=len(self.draws), until=self.recorded_at)

    @property
    def totals(self) -> tuple[float, ...]:
        """The sums of the draws, in nats."""
        return tuple(map(math.fsum, self.draws))

    @property
    def made(self) -> tuple[Draw, ...]:
        """The draws with everything that is known of them."""
        count = len(self.draws)
        kept = (self.others or ((),) * count, self.forks or (None,) * count)
        return tuple(
            Draw(logprobs=logprobs, facts=facts, others=others, fork=fork)
            for logprobs, facts, others, fork in zip(self.draws, self.facts, *kept, strict=True)
        )

    @property
    def all_sessions(self) -> tuple[CalibrationSession, ...]:
        """The sessions of the draws, at least one."""
        only = CalibrationSession(started_at=self.recorded_at, draws=len(self.draws))
        return self.sessions or (only,)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of draws of each session."""
        return tuple(session.draws for session in self.all_sessions)

    @property
    def session_totals(self) -> SessionTotals:
        """The sums of the draws, by session."""
        return SessionTotals(sessions=self.all_sessions, totals=self.totals)


def changes_against(
    cell: LogprobCell, baseline: Baseline, tolerance: Tolerance
) -> tuple[FactChange, ...]:
    """Return what the matrix has changed about a cell since its baseline was recorded."""
    changes = cell.changes_since(baseline.definition)
    made, wanted = len(baseline.draws), tolerance.calibration_draws
    if made >= wanted:
        return changes
    # The error rates hold for this number of draws; with fewer, no shift is significant.
    return (*changes, FactChange(name="calibration_draws", before=str(made), after=str(wanted)))


def fit_noise(draws: Sequence[Sequence[float]], *, others: Iterable[float] = ()) -> Noise:
    """Estimate the noise of calibration draws.

    Args:
        draws: n x T log-probabilities in nats, n >= 1.
        others: absolute deviations from their median of draws of the policy's other cells. A
            service that mostly repeats itself has a MAD of 0, and then these set the scale.
    """
    totals = [math.fsum(draw) for draw in draws]
    center = median(totals)
    mean = math.fsum(totals) / len(totals)
    return Noise(
        center=center,
        scale=_NORMAL_MAD * median(deviations(totals)),
        deviation=math.sqrt(math.fsum((t - mean) ** 2 for t in totals) / max(1, len(totals) - 1)),
        atom=max(_times(draws, draw) for draw in draws) / len(draws),
        floor=_outlier_floor(sorted(others)),
    )


def deviations(totals: Sequence[float]) -> list[float]:
    """Return the absolute deviations from the median, in nats."""
    center = median(totals)
    return [abs(total - center) for total in totals]


def is_same(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two draws are equal within `RESOLUTION_NATS`."""
    return all(abs(a - b) <= RESOLUTION_NATS for a, b in zip(one, other, strict=True))


def differs_beyond_noise(draw: Sequence[float], recorded: Sequence[Sequence[float]]) -> bool:
    """Return whether a draw is farther from the recorded draws than they are from each other.

    The distance is the sum over the tokens of the distances from their medians, which varies
    little among draws of the same noise.
    """
    centers = [median(values) for values in zip(*recorded, strict=True)]

    def distance(of: Sequence[float]) -> float:
        return math.fsum(abs(a - b) for a, b in zip(of, centers, strict=True))

    furthest = max(map(distance, recorded))
    return distance(draw) > max(RESOLUTION_NATS, _DISTANCE_FACTOR * furthest)


def outliers(draws: Sequence[Draw], noise: Noise, *, factor: float) -> tuple[int, ...]:
    """Return the indices of the outliers.

    Where most draws are far from the center, the cell has shifted and none is an outlier.
    """
    far = far_draws(draws, noise, factor=factor)
    return () if 2 * len(far) > len(draws) else far


def far_draws(draws: Sequence[Draw], noise: Noise, *, factor: float) -> tuple[int, ...]:
    """Return the indices of draws beyond the outlier bound, however many there are."""
    bound = noise.outlier_bound(factor)
    return tuple(n for n, draw in enumerate(draws) if abs(draw.total - noise.center) > bound)


def _times(draws: Sequence[Sequence[float]], draw: Sequence[float]) -> int:
    return sum(is_same(draw, other) for other in draws)


def _outlier_floor(others: Sequence[float]) -> float:
    """Return the minimum distance of an outlier from other cells' sorted deviations, in nats."""
    if len(others) >= _DRAWS_OF_EXACT and others[-1] <= _EXACT_NATS:
        return _EXACT_FLOOR_NATS
    ordinary = others[math.ceil(_ORDINARY_SHARE * len(others)) - 1] if others else 0.0
    return max(_USUAL_FLOOR_NATS, _FLOOR_OVER_ORDINARY * ordinary)
