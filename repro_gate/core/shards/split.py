"""Deterministic, balanced division of a plan among runners or devices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from repro_gate.core.engines import LoraSpec
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.matrix import Plan
from repro_gate.core.shards.report import Shard
from repro_gate.core.text import digest_of
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.golden_format import cell_to_data
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.errors import UsageInvalid

_CHARACTERS_PER_TOKEN = 4
"""Typical of English text; affects the balance only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePlan:
    """The token plan and the log-probability plans of one check."""

    tokens: Plan
    logprobs: tuple[LogprobPlan, ...] = ()

    @property
    def units(self) -> int:
        """The number of indivisible units of work: cells, and suites of log-probabilities.

        The verdicts of such a suite are corrected for all of its cells together.
        """
        return len(self.tokens.cells) + len(self.logprobs)

    @property
    def digest(self) -> str:
        """SHA-256 of the plan, independent of the device."""
        plan = self.tokens
        return digest_of(
            {
                "cells": [_planned_cell(plan, cell) for cell in plan.cells],
                "models": {name: _model_facts(plan, name) for name in plan.models},
                "claimed": sorted(plan.claimed),
                "logprobs": [_planned_suite(suite) for suite in self.logprobs],
            }
        )

    def part(self, shard: Shard) -> "WholePlan":
        """Return the part of one shard: consecutive units, so that it loads few models.

        Raises:
            UsageInvalid: there are more shards than units.
        """
        if shard.total > self.units:
            raise UsageInvalid(
                f"there are only {self.units} cells and suites to measure, which is not enough for "
                f"{shard.total} shards"
            )
        cells, suites = self.tokens.cells, self.logprobs
        weights = [*(_tokens_of(self.tokens, cell) for cell in cells), *map(_tokens_in, suites)]
        mine = divided(weights, shard.total)[shard.index - 1]
        count = len(cells)
        whole = cells if self.tokens.whole is None else self.tokens.whole
        return WholePlan(
            tokens=replace(self.tokens.of(cells[mine.start : mine.stop]), whole=whole),
            logprobs=suites[max(mine.start - count, 0) : max(mine.stop - count, 0)],
        )


def lanes_of(plan: Plan, devices: Sequence[str]) -> tuple[Plan, ...]:
    """Divide the plan among devices that run in parallel.

    With more devices than cells, the last devices stay unused.
    """
    used = devices[: max(1, len(plan.cells))]
    whole = WholePlan(tokens=plan)
    return tuple(
        _on(whole.part(Shard(index, len(used))).tokens if plan.cells else plan, device)
        for index, device in enumerate(used, start=1)
    )


def divided(weights: Sequence[int], parts: int) -> list[range]:
    """Divide a sequence into consecutive, non-empty parts of about equal weight.

    Args:
        weights: of the elements in order, at least as many as there are parts.
        parts: at least 1.
    """
    sums = [0, *accumulate(weights)]
    cuts = [0]
    for left in range(parts, 1, -1):
        start = cuts[-1]
        # Later parts need at least one each, and share what is left.
        stops = range(start + 1, len(sums) - left + 1)
        goal = sums[start] + (sums[-1] - sums[start]) / left
        _, cut = min((abs(sums[stop] - goal), stop) for stop in stops)
        cuts.append(cut)
    # The last part takes the rest, also where it weighs nothing.
    cuts.append(len(weights))
    return [range(start, stop) for start, stop in pairwise(cuts)]


def _tokens_of(plan: Plan, cell: Cell) -> int:
    return plan.runs_of(cell) * (cell.max_tokens + len(cell.text) // _CHARACTERS_PER_TOKEN)


def _tokens_in(plan: LogprobPlan) -> int:
    lengths = (len(cell.prefix) + len(cell.given_response) for cell in plan.cells)
    return plan.suite.tolerance.draws * sum(1 + n // _CHARACTERS_PER_TOKEN for n in lengths)


def _on(plan: Plan, device: str) -> Plan:
    models = {
        name: replace(model, engine=replace(model.engine, device=device))
        for name, model in plan.models.items()
    }
    return replace(plan, models=models)


def _planned_cell(plan: Plan, cell: Cell) -> Mapping[str, object]:
    suite = plan.suites[cell]
    runs = {"suite": suite.name, "runs": suite.runs, "fresh_runs": suite.fresh_runs}
    against = {} if suite.against is None else {"against": suite.against}
    fail_on = {} if suite.fail_on is FailingDrift.ANY else {"fail_on": suite.fail_on.value}
    modes = {"modes": {str(mode): level.value for mode, level in suite.modes.items()}}
    return {
        **cell_to_data(cell),
        **runs,
        "evidence": suite.evidence.value,
        **against,
        **fail_on,
        **(modes if suite.modes else {}),
    }


def _model_facts(plan: Plan, name: str) -> Mapping[str, object]:
    model = plan.models[name]
    engine = model.engine
    return {
        "source": model.source,
        "sha256": model.sha256,
        **({} if model.served_as is None else {"served_as": model.served_as}),
        **({"lora": [_adapter(spec) for spec in model.lora]} if model.lora else {}),
        "engine": engine.name,
        "kind": engine.kind.value,
        "command": list(engine.command),
        "settings": dict(engine.settings),
    }


def _adapter(spec: LoraSpec) -> Mapping[str, object]:
    return {"source": spec.source, "sha256": spec.sha256, "scale": spec.scale}


def _planned_suite(plan: LogprobPlan) -> Mapping[str, object]:
    tolerance = plan.suite.tolerance
    return {
        "suite": plan.suite.name,
        "cells": [dict(cell.definition) for cell in plan.cells],
        "draws": tolerance.draws,
        "calibration_draws": tolerance.calibration_draws,
        "false_alarm_rate": tolerance.false_alarm_rate,
        "floor_nats": tolerance.floor_nats,
        "outlier_factor": tolerance.outlier_factor,
        "max_outlier_rate": tolerance.max_outlier_rate,
    }
