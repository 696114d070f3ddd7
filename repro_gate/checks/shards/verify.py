"""Verify that shards belong to one check and are complete."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from repro_gate import __version__
from repro_gate.core.engines import LORA_FACTS
from repro_gate.core.logprobs.policy import LogprobCell, LogprobPlan
from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.matrix import Plan
from repro_gate.core.shards.report import MeasuredCell, PlanIdentity, ShardReport
from repro_gate.core.shards.split import WholePlan
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.cell import Factor
from repro_gate.core.tokens.controls import Contrast, applies, further
from repro_gate.core.tokens.golden import MODEL_SHA256
from repro_gate.core.tokens.modes import Level
from repro_gate.errors import InputInvalid, MeasurementUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundShard:
    """A shard's report, and where it was found."""

    place: str
    report: ShardReport

    def __str__(self) -> str:
        """Return which shard it is, for a message."""
        return f"shard {self.report.shard}"

    def invalid(self, what: str, *, expected: object, found: object) -> InputInvalid:
        """Return the error for a part of this shard; what it contains is untrusted text."""
        return InputInvalid.at(
            self.place,
            f"{what} in {self}",
            expected=escape_text(str(expected)),
            found=escape_text(str(found)),
        )


def require_same_check(shards: Sequence[FoundShard], *, commit: str | None) -> PlanIdentity:
    """Return what all shards have in common.

    Args:
        shards: at least one.
        commit: the commit checked out here, whose goldens judge the shards; None if unknown.

    Raises:
        InputInvalid: a shard belongs to another check or occurs twice; the message names it.
        MeasurementUnavailable: a shard is missing; the message names it.
    """
    first, *others = shards
    identity = first.report.identity
    for other in others:
        _require_same(first, other)
    _require_here(first, commit)
    counts = Counter(found.report.shard.index for found in shards)
    for found in reversed(shards):
        index = found.report.shard.index
        if counts[index] > 1:
            places = ", ".join(other.place for other in shards if other.report.shard.index == index)
            raise InputInvalid.at(
                found.place, "shard", expected=f"{found} once", found=f"it in {places}"
            )
    total = first.report.shard.total
    missing = [f"{index}/{total}" for index in range(1, total + 1) if not counts[index]]
    if missing:
        raise MeasurementUnavailable(
            f"shard {', '.join(missing)} is missing: its cells were not measured",
            remedy="see why its job failed, and run that job again",
        )
    return identity


def require_complete(plan: WholePlan, shards: Sequence[FoundShard]) -> None:
    """Raise `InputInvalid` unless shards measured every cell of a plan once, on one profile.

    Args:
        plan: the plan of this checkout.
        shards: all shards of one check, in order; see `require_same_check`.
    """
    _require_plan(plan, shards)
    _require_every_cell_once(plan, shards)
    _require_suites(plan.logprobs, shards)
    _require_engines(plan, shards)
    _require_alike(shards)
    _require_controls(plan.tokens, shards)


def _require_same(first: FoundShard, other: FoundShard) -> None:
    ours, theirs = first.report.identity, other.report.identity
    for what, expected, found in (
        # Before the digests of the plans, which differ in consequence and mean nothing to a reader.
        ("option --suite", ", ".join(ours.suites) or None, ", ".join(theirs.suites) or None),
        ("option --only", ours.only, theirs.only),
        ("option --runs", ours.runs, theirs.runs),
        ("plan", ours.digest, theirs.digest),
        ("commit", ours.commit, theirs.commit),
        ("number of shards", first.report.shard.total, other.report.shard.total),
        ("version of repro-gate", first.report.tool_version, other.report.tool_version),
    ):
        if expected != found:
            raise other.invalid(
                f"the {what}", expected=f"{expected}, as in {first.place}", found=found
            )


def _require_here(first: FoundShard, commit: str | None) -> None:
    measured = first.report
    for what, expected, why, found in (
        ("version of repro-gate", __version__, "which merges here", measured.tool_version),
        ("commit", commit, "which is checked out here", measured.identity.commit),
    ):
        if expected != found:
            raise first.invalid(f"the {what}", expected=f"{expected}, {why}", found=found)


def _require_plan(plan: WholePlan, shards: Iterable[FoundShard]) -> None:
    digest = plan.digest
    for shard in shards:
        found = shard.report.identity.digest
        if found != digest:
            expected = f"{digest}, which is that of the matrix file here"
            raise shard.invalid("the plan", expected=expected, found=found)


def _require_every_cell_once(plan: WholePlan, shards: Sequence[FoundShard]) -> None:
    cells = {cell.id: cell for cell in plan.tokens.cells}
    planned = [*cells, *(suite.suite.name for suite in plan.logprobs)]
    where: dict[str, FoundShard] = {}
    for shard in shards:
        for unit in _units_of(shard.report):
            if unit in where:
                raise _wrong_unit(shard, unit, f"it, as {where[unit]} does")
            if unit not in planned:
                raise _wrong_unit(shard, unit, "it, though the matrix does not plan it")
            where[unit] = shard
        for measured in shard.report.cells:
            if measured.cell != cells[measured.cell.id]:
                raise _wrong_unit(shard, measured.cell.id, "another definition of it")
            _require_logits(plan.tokens, measured, shard)
            _require_modes(plan.tokens, measured, shard)
    missing = [unit for unit in planned if unit not in where]
    if missing:
        raise InputInvalid.at(
            shards[0].place,
            "cells",
            expected=f"{missing[0]} in one of the shards",
            found=f"it in none ({len(missing)} are missing)",
        )


def _require_logits(plan: Plan, measured: MeasuredCell, shard: FoundShard) -> None:
    run = measured.repetition
    if run is not None and plan.compares_logits(measured.cell) and not run.first.logits:
        expected = f"the logits of {measured.cell.id}, which are compared"
        raise shard.invalid("cells", expected=expected, found="none")


def _require_modes(plan: Plan, measured: MeasuredCell, shard: FoundShard) -> None:
    levels = plan.modes_of(measured.cell)
    for result in measured.modes:
        is_compared = levels.get(result.mode) is Level.BITS and result.answers > 0
        if is_compared and result.other_bits is None:
            expected = f"the logits of {measured.cell.id} in {result.mode}, which are compared"
            raise shard.invalid("cells", expected=expected, found="none")


def _wrong_unit(shard: FoundShard, unit: str, found: str) -> InputInvalid:
    return shard.invalid("cells", expected=f"{unit} once in all shards", found=found)


def _units_of(report: ShardReport) -> list[str]:
    return [*(one.cell.id for one in report.cells), *(part.suite for part in report.logprobs)]


def _require_suites(plans: Sequence[LogprobPlan], shards: Sequence[FoundShard]) -> None:
    planned = {plan.suite.name: plan for plan in plans}
    for found in shards:
        for part in found.report.logprobs:
            _require_suite(planned[part.suite], part, found)


def _require_suite(plan: LogprobPlan, part: LogprobReport, shard: FoundShard) -> None:
    suite, tolerance = f"suite {part.suite}", plan.suite.tolerance
    if part.tolerance != tolerance:
        expected = f"{tolerance}, which is that of the matrix file here"
        raise shard.invalid(f"the tolerance of {suite}", expected=expected, found=part.tolerance)
    for planned, measured in zip_longest(plan.cells, part.cells):
        wrong = _wrong_cell(planned, measured)
        if wrong is not None:
            expected = "none more" if planned is None else f"{planned.id}, as it is planned here"
            raise shard.invalid(f"cells of {suite}", expected=expected, found=wrong)
    described = {noise.policy for noise in part.policies}
    for cell in part.cells:
        if cell.totals and cell.cell.policy.name not in described:
            expected = f"{cell.cell.policy.name}, which {cell.id} was drawn from"
            raise shard.invalid(
                f"policies of {suite}", expected=expected, found="none of that name"
            )


def _wrong_cell(planned: LogprobCell | None, measured: LogprobCellReport | None) -> str | None:
    """Return what was found in place of a planned cell, or None if it is right."""
    if measured is None:
        return "none"
    if planned is None or planned.id != measured.id:
        return measured.id
    if planned.definition != measured.cell.definition:
        return "another definition of it"
    return None


def _require_engines(plan: WholePlan, shards: Sequence[FoundShard]) -> None:
    for shard in shards:
        described = {engine.name for engine in shard.report.engines}
        for one in shard.report.cells:
            engine = plan.tokens.model_of(one.cell).engine.name
            if one.repetition is not None and engine not in described:
                raise shard.invalid(
                    "engines",
                    expected=f"{engine}, which {one.cell.id} was run on",
                    found=", ".join(sorted(described)) or "none",
                )


def _require_alike(shards: Sequence[FoundShard]) -> None:
    """Refuse shards of different profiles, or of different files of one model."""
    seen: dict[str, tuple[FoundShard, str | None]] = {}
    for shard in shards:
        for what, found in _measured_with(shard.report):
            first, expected = seen.setdefault(what, (shard, found))
            if found != expected:
                raise shard.invalid(
                    f"the {what}", expected=f"{expected}, as in {first}", found=found
                )


def _measured_with(report: ShardReport) -> Iterator[tuple[str, str | None]]:
    for engine in report.engines:
        yield f"profile of engine {engine.name}", engine.profile
    # The plan has the digests of pinned models only.
    for name, facts in report.models.items():
        yield f"sha256 of model {name}", facts.get(MODEL_SHA256)
        for fact in filter(lambda fact: fact.startswith(LORA_FACTS), facts):
            yield f"{fact} of model {name}", facts[fact]


def _require_controls(plan: Plan, shards: Sequence[FoundShard]) -> None:
    for shard in shards:
        report = shard.report
        for control in report.controls:
            if not _is_planned(control.contrast, plan):
                raise shard.invalid(
                    "controls",
                    expected="two cells of the matrix, or one and a planned variation of it",
                    found=f"{control.contrast.cell.id} and {control.contrast.varied.id}",
                )
        proven = {one.cell.model for one in report.cells if one.problem is None}
        shown = {(each.contrast.cell.model, each.contrast.factor) for each in report.controls}
        for model in sorted(proven):
            for factor in Factor:
                is_wanted = applies(factor, plan.all_of(model)) and not report.interrupted
                if is_wanted and (model, factor) not in shown:
                    expected = (
                        f"one of {model} with another {factor}, which shows that this machine "
                        "can fail"
                    )
                    raise shard.invalid("controls", expected=expected, found="none")


def _is_planned(contrast: Contrast, plan: Plan) -> bool:
    cells = plan.all_of(contrast.cell.model)
    if contrast.cell in cells and contrast.varied in cells:
        return True
    return applies(contrast.factor, cells) and contrast in further(contrast.factor, cells)
