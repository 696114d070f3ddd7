"""Merge shards: verify that they are complete, then judge the whole."""

from collections.abc import Sequence
from dataclasses import replace

from repro_gate.checks.shards.verify import FoundShard, require_complete
from repro_gate.checks.tokens.check import judge_tokens, read_committed
from repro_gate.core.report import GateReport, Timing
from repro_gate.core.shards.report import ShardReport
from repro_gate.core.shards.split import WholePlan
from repro_gate.core.tokens.measurement import Measurement, joined
from repro_gate.ports import GoldenReader, ReferenceReader
from repro_gate.strict_json import MAX_INTEGER, MAX_NUMBER


def merge_shards(
    plan: WholePlan,
    shards: Sequence[FoundShard],
    *,
    goldens: GoldenReader,
    references: ReferenceReader | None = None,
) -> GateReport:
    """Return the report of the whole plan.

    Args:
        plan: the plan of this checkout, which the shards must have measured.
        shards: all shards of one check, see `require_same_check`.
        goldens: the goldens of this checkout.
        references: their references in this checkout.

    Raises:
        InputInvalid: the shards are of another matrix or different profiles, or do not have every
            cell exactly once; or goldens or references are broken.
    """
    ordered = sorted(shards, key=lambda found: found.report.shard.index)
    require_complete(plan, ordered)
    measured = joined(measurement_of(found.report) for found in ordered)
    reports = [found.report for found in ordered]
    committed = read_committed(goldens, references, plan=plan.tokens, measured=measured)
    judged = judge_tokens(
        plan.tokens,
        measured,
        committed,
        timing=_timing(reports),
        started_at=min(report.started_at for report in reports),
    )
    commits = {report.commit for report in reports}
    parts = {part.suite: part for report in reports for part in report.logprobs}
    return replace(
        judged,
        suites=(*judged.suites, *(suite.suite.name for suite in plan.logprobs)),
        logprobs=tuple(parts[suite.suite.name] for suite in plan.logprobs),
        repeat_with=ordered[0].report.identity.options,
        commit=commits.pop() if len(commits) == 1 else None,
    )


def measurement_of(report: ShardReport) -> Measurement:
    """Return the measurements of a shard, without their times."""
    return Measurement(
        engines=list(report.engines),
        models=dict(report.models),
        facts={
            one.cell: report.provenances[one.provenance]
            for one in report.cells
            if one.provenance is not None
        },
        repetitions={one.cell: one.repetition for one in report.cells if one.repetition},
        problems={one.cell: one.problem for one in report.cells if one.problem},
        verifications={one.cell: one.verification for one in report.cells if one.verification},
        modes={one.cell: {each.mode: each for each in one.modes} for one in report.cells},
        controls=list(report.controls),
        notes=list(report.notes),
        interrupted=report.interrupted,
    )


def _timing(reports: Sequence[ShardReport]) -> Timing:
    # Shards run in parallel: the longest is the waiting time.
    return Timing(
        wall_s=max(report.timing.wall_s for report in reports),
        # The limits of a report: shards are untrusted, and their sums may exceed any number.
        load_s=min(MAX_NUMBER, sum(report.timing.load_s for report in reports)),
        engine_s=min(MAX_NUMBER, sum(report.timing.engine_s for report in reports)),
        generated_tokens=min(
            MAX_INTEGER, sum(report.timing.generated_tokens for report in reports)
        ),
    )
