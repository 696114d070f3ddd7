"""Shards put together: first the proof that they are all, then the verdicts of the whole."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from repro_gate.checks.tokens import judge_tokens, known_to
from repro_gate.core.measurement import Measurement, joined
from repro_gate.core.report import GateReport, Timing
from repro_gate.core.sharding import WholePlan
from repro_gate.core.shards import PlanIdentity, ShardReport
from repro_gate.core.text import printable
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.ports import GoldenReader


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundShard:
    """A shard's report, and where it was found."""

    place: str
    report: ShardReport

    def __str__(self) -> str:
        """Return which shard it is, for a message."""
        return f"shard {self.report.shard}"


def require_one_check(shards: Sequence[FoundShard], *, commit: str | None) -> PlanIdentity:
    """Return what all shards have in common.

    Args:
        shards: at least one.
        commit: what is checked out here, whose goldens would judge them; None where that is not
            known.

    Raises:
        InputInvalid: one of them belongs to another check, or comes twice; it is named.
        MeasurementUnavailable: one of them is missing; it is named.
    """
    first, *others = shards
    identity = first.report.identity
    for other in others:
        _require_same(first, other)
    _require_commit(first, commit)
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
            remedy="Look at the job that should have measured it, and run it again.",
        )
    return identity


def merge_shards(
    plan: WholePlan, shards: Sequence[FoundShard], *, goldens: GoldenReader
) -> GateReport:
    """Return the report of the whole plan.

    Args:
        plan: what this checkout plans; it has to be what the shards measured parts of.
        shards: all of one check, see `require_one_check`.
        goldens: of this checkout.

    Raises:
        InputInvalid: the shards are of another matrix, do not have every cell exactly once, or
            were not measured on one class of machine; or goldens are broken.
    """
    ordered = sorted(shards, key=lambda found: found.report.shard.index)
    _require_plan(plan, ordered)
    _require_every_cell_once(plan, ordered)
    _require_one_profile(ordered)
    seen = joined(_measurement_of(found.report) for found in ordered)
    reports = [found.report for found in ordered]
    known = known_to(goldens, plan=plan.tokens, seen=seen)
    judged = judge_tokens(
        plan.tokens,
        seen,
        known,
        timing=_timing(reports),
        started_at=min(report.started_at for report in reports),
    )
    parts = {part.suite: part for report in reports for part in report.logprobs}
    return replace(
        judged,
        suites=(*judged.suites, *(suite.suite.name for suite in plan.logprobs)),
        logprobs=tuple(parts[suite.suite.name] for suite in plan.logprobs),
        repeat_with=ordered[0].report.identity.options,
    )


def _require_same(first: FoundShard, other: FoundShard) -> None:
    for what, expected, found in (
        ("plan", first.report.identity.digest, other.report.identity.digest),
        ("commit", first.report.identity.commit, other.report.identity.commit),
        ("number of shards", first.report.shard.total, other.report.shard.total),
        ("version of repro-gate", first.report.tool_version, other.report.tool_version),
    ):
        if expected != found:
            raise InputInvalid.at(
                other.place,
                f"the {what} of {other}",
                expected=f"{_told(expected)}, as in {first.place}",
                found=_told(found),
            )


def _require_commit(first: FoundShard, here: str | None) -> None:
    measured = first.report.identity.commit
    if measured != here:
        raise InputInvalid.at(
            first.place,
            f"the commit of {first}",
            expected=f"{here}, which is checked out here",
            found=_told(measured),
        )


def _require_plan(plan: WholePlan, shards: Iterable[FoundShard]) -> None:
    digest = plan.digest
    for found in shards:
        if found.report.identity.digest != digest:
            raise InputInvalid.at(
                found.place,
                f"the plan of {found}",
                expected=f"{digest}, which is that of the matrix file here",
                found=_told(found.report.identity.digest),
            )


def _require_every_cell_once(plan: WholePlan, shards: Sequence[FoundShard]) -> None:
    cells = {cell.id: cell for cell in plan.tokens.cells}
    planned = [*cells, *(suite.suite.name for suite in plan.logprobs)]
    where: dict[str, FoundShard] = {}
    for found in shards:
        for unit in _units_of(found.report):
            if unit in where:
                _refuse_unit(found, unit, f"it, as {where[unit]} does")
            if unit not in planned:
                _refuse_unit(found, unit, "it, though the matrix does not plan it")
            where[unit] = found
        for measured in found.report.cells:
            if measured.cell != cells[measured.cell.id]:
                _refuse_unit(found, measured.cell.id, "another definition of it")
    missing = [unit for unit in planned if unit not in where]
    if missing:
        raise InputInvalid.at(
            shards[0].place,
            "cells",
            expected=f"{missing[0]} in one of the shards",
            found=f"it in none ({len(missing)} are missing)",
        )


def _refuse_unit(found: FoundShard, unit: str, what: str) -> None:
    raise InputInvalid.at(
        found.place, f"cells of {found}", expected=f"{_told(unit)} once in all shards", found=what
    )


def _units_of(report: ShardReport) -> list[str]:
    return [*(one.cell.id for one in report.cells), *(part.suite for part in report.logprobs)]


def _require_one_profile(shards: Sequence[FoundShard]) -> None:
    seen: dict[str, tuple[FoundShard, str]] = {}
    for found in shards:
        for engine in found.report.engines:
            first, profile = seen.setdefault(engine.name, (found, engine.profile))
            if engine.profile != profile:
                raise InputInvalid.at(
                    found.place,
                    f"the profile of engine {_told(engine.name)} in {found}",
                    expected=f"{_told(profile)}, as in {first}",
                    found=_told(engine.profile),
                )


def _measurement_of(report: ShardReport) -> Measurement:
    return Measurement(
        engines={engine.name: engine for engine in report.engines},
        models=dict(report.models),
        repetitions={one.cell: one.repetition for one in report.cells if one.repetition},
        problems={one.cell: one.problem for one in report.cells if one.problem},
        controls=list(report.controls),
        interrupted=report.interrupted,
    )


def _timing(reports: Sequence[ShardReport]) -> Timing:
    # They worked side by side: the longest is what one waited for.
    return Timing(
        wall_s=max(report.timing.wall_s for report in reports),
        load_s=sum(report.timing.load_s for report in reports),
        engine_s=sum(report.timing.engine_s for report in reports),
        generated_tokens=sum(report.timing.generated_tokens for report in reports),
    )


def _told(foreign: object) -> str:
    return printable(str(foreign))
