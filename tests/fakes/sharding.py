"""Shards measured with fakes, and their merge."""

from collections.abc import Sequence
from dataclasses import replace

from repro_gate.checks.shards.merge import merge_shards
from repro_gate.checks.shards.verify import FoundShard, require_same_check
from repro_gate.checks.tokens.check import judge_tokens, measure_tokens
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence
from repro_gate.core.matrix import plan
from repro_gate.core.report import GateReport
from repro_gate.core.shards.report import PlanIdentity, Shard, ShardReport, measured_cells
from repro_gate.core.shards.split import WholePlan
from repro_gate.ports import ReferenceReader
from tests.fakes.checking import STARTED_AT, recorded_for
from tests.fakes.engines import ScriptedStarter
from tests.fakes.logprob_reports import logprob_cell_report_of, logprob_report_of, policy_noise_of
from tests.fakes.stores import MemoryGoldens, MemoryModelFiles
from tests.fakes.values import cell_of, matrix_of, suite_of
from tests.fakes.watching import FakeClock, RecordingProgress

CELLS = tuple(cell_of(prompt, seed=seed) for prompt in ("haiku", "fox") for seed in (42, 123))
TOKENS = plan(matrix_of(suite_of(*CELLS, runs=3)))
WHOLE = WholePlan(tokens=TOKENS)
COMMIT = "c0ffee" * 6 + "abcd"
"""What is checked out."""


def ports_with(starter: ScriptedStarter, goldens: MemoryGoldens) -> CheckPorts:
    """Return the neighbours of a check, all of them fakes."""
    return CheckPorts(
        starter=starter,
        files=MemoryModelFiles(),
        goldens=goldens,
        progress=RecordingProgress(),
        clock=FakeClock(),
    )


def measured_shard(
    shard: Shard,
    *,
    whole: WholePlan = WHOLE,
    starter: ScriptedStarter | None = None,
    goldens: MemoryGoldens | None = None,
) -> FoundShard:
    """Return what one machine measured of a plan, among fakes."""
    part = whole.part(shard)
    ports = ports_with(starter or ScriptedStarter(), goldens or MemoryGoldens(recorded_for(*CELLS)))
    seen, known = measure_tokens(part.tokens, ports=ports)
    report = judge_tokens(
        part.tokens,
        seen,
        known,
        timing=seen.timing(wall_s=2.0 * shard.index),
        started_at=STARTED_AT,
    )
    identity = PlanIdentity(
        digest=whole.digest,
        commit=COMMIT,
        suites=(),
        only=None,
        runs=None,
        options=("--device", "cuda"),
    )
    return FoundShard(
        place=f"shard-{shard.index}/shard.json",
        report=ShardReport(
            tool_version=report.tool_version,
            started_at=report.started_at,
            shard=shard,
            identity=identity,
            cells=measured_cells(part.tokens.cells, seen),
            provenances=seen.provenances(part.tokens.cells),
            engines=tuple(seen.engines),
            models=seen.models,
            controls=tuple(seen.controls),
            logprobs=tuple(map(_agreeing, part.logprobs)),
            timing=report.timing,
            interrupted=report.interrupted,
            notes=report.notes,
        ),
    )


def two_shards(starter: ScriptedStarter | None = None) -> list[FoundShard]:
    """Return both halves of the plan, as two machines of one kind measured them."""
    return [measured_shard(Shard(index, 2), starter=starter) for index in (1, 2)]


def merged_of(
    shards: Sequence[FoundShard],
    *,
    whole: WholePlan = WHOLE,
    goldens: MemoryGoldens | None = None,
    references: ReferenceReader | None = None,
) -> GateReport:
    """Return the merged report of the shards."""
    require_same_check(shards, commit=COMMIT)
    known = goldens or MemoryGoldens(recorded_for(*CELLS))
    return merge_shards(whole, shards, goldens=known, references=references)


def alone_of(starter: ScriptedStarter | None = None) -> GateReport:
    """Return the report of one machine on the whole plan."""
    ports = ports_with(starter or ScriptedStarter(), MemoryGoldens(recorded_for(*CELLS)))
    seen, known = measure_tokens(TOKENS, ports=ports)
    return judge_tokens(TOKENS, seen, known, timing=seen.timing(wall_s=1.0), started_at=STARTED_AT)


def _agreeing(suite: LogprobPlan) -> LogprobReport:
    verdict = Agrees(equivalence=Equivalence.EQUIVALENT)
    cells = (logprob_cell_report_of(verdict, cell) for cell in suite.cells)
    policies = tuple(policy_noise_of(policy.name) for policy in suite.policies)
    return replace(
        logprob_report_of(*cells, policies=policies),
        suite=suite.suite.name,
        tolerance=suite.suite.tolerance,
    )
