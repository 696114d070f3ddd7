"""Importance weights over time: which items ruin them, since when, and what is left without."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from repro_gate.core.logprobs.policy import WeightPlan
from repro_gate.core.timeline import PairLine, RuinousItem, SessionWeights, WeightsSummary
from repro_gate.statistics.weights import Weights, ruinous_items, tilted_mean, weights_of

Medians: TypeAlias = Mapping[str, Mapping[str, float]]
"""The median sums of a session by policy and item, in nats."""


@dataclass(slots=True)
class PairHistory:
    """The weights of one pair of policies, session by session."""

    base: str
    target: str
    points: list[SessionWeights] = field(default_factory=list[SessionWeights])
    last: Mapping[str, float] = field(default_factory=dict[str, float])
    """The log-ratios of the last session that has any, by item."""

    def add(self, session: int, medians: Medians) -> None:
        """Add a session, unless it has no item of both policies."""
        base, target = medians.get(self.base, {}), medians.get(self.target, {})
        ratios = {item: target[item] - base[item] for item in base if item in target}
        if ratios:
            self.last = ratios
            self.points.append(_weights_of(session, ratios))

    def line(self) -> PairLine:
        """Return the pair over time."""
        ruinous = self.points[-1].ruinous if self.points else ()
        return PairLine(
            base=self.base,
            target=self.target,
            points=tuple(self.points),
            ruinous=tuple(map(self._ruinous, ruinous)),
        )

    def _ruinous(self, item: str) -> RuinousItem:
        rest = [ratio for name, ratio in self.last.items() if name != item]
        total = weights_of(list(self.last.values()))
        alone = weights_of([self.last[item]])
        mean = total.mean_weight * total.items
        return RuinousItem(
            item=item,
            since=_since(item, self.points),
            sessions=sum(item in point.ruinous for point in self.points),
            share=min(1.0, alone.mean_weight / mean) if mean else 0.0,
            log_ratio=self.last[item],
            without=_summary(weights_of(rest), rest) if rest else None,
        )


def pair_histories(plan: WeightPlan | None, policies: Iterable[str]) -> list[PairHistory]:
    """Return an empty history of each policy against the base of the plan."""
    if plan is None:
        return []
    return [PairHistory(plan.base, name) for name in policies if name != plan.base]


def _weights_of(session: int, ratios: Mapping[str, float]) -> SessionWeights:
    names, values = list(ratios), list(ratios.values())
    found = weights_of(values)
    ruinous = ruinous_items(values)
    rest = [value for index, value in enumerate(values) if index not in ruinous]
    return SessionWeights(
        session=session,
        summary=_summary(found, values),
        largest_share=found.largest_share,
        khat=found.khat,
        khat_bar=found.khat_bar,
        ruinous=tuple(names[index] for index in ruinous),
        without=_summary(weights_of(rest), rest) if ruinous else None,
    )


def _summary(found: Weights, ratios: Sequence[float]) -> WeightsSummary:
    return WeightsSummary(
        items=found.items,
        effective_size=found.effective_size,
        mean_weight=found.mean_weight,
        divergence=tilted_mean(ratios),
    )


def _since(item: str, points: Sequence[SessionWeights]) -> int:
    """Return the first session of the last uninterrupted run with a ruinous item."""
    since = points[-1].session
    for point in reversed(points):
        if item not in point.ruinous:
            break
        since = point.session
    return since
