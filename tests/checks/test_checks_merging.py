"""Shards are judged only when they are all there, and then as if one machine had measured all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.checks.merging import FoundShard, merge_shards, require_one_check
from repro_gate.checks.tokens import CheckPorts, judge_tokens, measure_tokens
from repro_gate.core.cells import Cell
from repro_gate.core.matrix import Plan, plan
from repro_gate.core.report import GateReport
from repro_gate.core.sharding import WholePlan
from repro_gate.core.shards import MeasuredCell, PlanIdentity, Shard, ShardReport
from repro_gate.core.verdicts import Drift, Inconclusive, Match, Orphaned, Vacuous
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.fakes.checking import STARTED_AT, recorded_for, report_on, verdicts_of
from tests.fakes.engines import DEAD, Fault, ScriptedStarter
from tests.fakes.logprob_reports import logprob_report_of
from tests.fakes.scoring import plan_of, suite_of_logprobs
from tests.fakes.stores import MemoryGoldens, MemoryModelFiles
from tests.fakes.values import (
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    suite_of,
)
from tests.fakes.watching import FakeClock, RecordingProgress

CELLS = tuple(cell_of(prompt, seed=seed) for prompt in ("haiku", "fox") for seed in (42, 123))
TOKENS = plan(matrix_of(suite_of(*CELLS, runs=3)))
WHOLE = WholePlan(tokens=TOKENS)
COMMIT = "c0ffee" * 6 + "abcd"


def _ports(starter: ScriptedStarter, goldens: MemoryGoldens) -> CheckPorts:
    return CheckPorts(
        starter=starter,
        files=MemoryModelFiles(),
        goldens=goldens,
        progress=RecordingProgress(),
        clock=FakeClock(),
    )


def _measured(
    shard: Shard,
    *,
    whole: WholePlan = WHOLE,
    starter: ScriptedStarter | None = None,
    goldens: MemoryGoldens | None = None,
) -> FoundShard:
    part = whole.part(shard)
    ports = _ports(starter or ScriptedStarter(), goldens or MemoryGoldens(recorded_for(*CELLS)))
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
    cells = tuple(
        MeasuredCell(
            cell=cell, repetition=seen.repetitions.get(cell), problem=seen.problems.get(cell)
        )
        for cell in part.tokens.cells
    )
    return FoundShard(
        place=f"shard-{shard.index}/shard.json",
        report=ShardReport(
            tool_version=report.tool_version,
            started_at=report.started_at,
            shard=shard,
            identity=identity,
            cells=cells,
            engines=tuple(seen.engines.values()),
            models=seen.models,
            controls=tuple(seen.controls),
            logprobs=tuple(
                replace(logprob_report_of(), suite=suite.suite.name) for suite in part.logprobs
            ),
            timing=report.timing,
            interrupted=report.interrupted,
        ),
    )


def _two(starter: ScriptedStarter | None = None) -> list[FoundShard]:
    return [_measured(Shard(index, 2), starter=starter) for index in (1, 2)]


def _merged(
    shards: Sequence[FoundShard],
    *,
    whole: WholePlan = WHOLE,
    goldens: MemoryGoldens | None = None,
) -> GateReport:
    require_one_check(shards, commit=COMMIT)
    known = goldens or MemoryGoldens(recorded_for(*CELLS))
    return merge_shards(whole, shards, goldens=known)


def _alone(starter: ScriptedStarter | None = None) -> GateReport:
    ports = _ports(starter or ScriptedStarter(), MemoryGoldens(recorded_for(*CELLS)))
    seen, known = measure_tokens(TOKENS, ports=ports)
    return judge_tokens(TOKENS, seen, known, timing=seen.timing(wall_s=1.0), started_at=STARTED_AT)


def test_shards_give_the_report_of_one_machine() -> None:
    """Cells, verdicts, engines and models are the same, whatever the order of the shards."""
    alone, merged = _alone(), _merged(list(reversed(_two())))

    assert merged.cells == alone.cells
    assert (merged.suites, merged.engines) == (alone.suites, alone.engines)
    assert (merged.models, merged.interrupted) == (alone.models, False)
    assert merged.repeat_with == ("--device", "cuda")


def test_the_times_of_shards_are_those_of_work_side_by_side() -> None:
    """One waited for the slowest; the engines worked for the sum."""
    shards = _two()
    merged = _merged(shards)

    assert merged.timing.wall_s == 4.0
    assert merged.timing.engine_s == sum(found.report.timing.engine_s for found in shards)


def test_a_drift_in_a_shard_is_a_drift_of_the_whole() -> None:
    """What one machine saw is judged with the goldens of the checkout that merges."""
    starter = ScriptedStarter(script={CELLS[3]: [generation_of(9)]})

    assert isinstance(verdicts_of(_merged(_two(starter)))[CELLS[3].id], Drift)


def test_each_shard_shows_that_its_machine_can_fail() -> None:
    """The control of every machine is in the report."""
    assert [control.failed for control in _merged(_two()).controls] == [False, False]


def _same_for_every_seed(cell: Cell) -> object:
    return generation_of(7, 8, 9) if cell.prompt == "haiku" else generation_of(1, cell.seed % 100)


def test_what_only_the_whole_can_show_is_judged_when_it_is_whole() -> None:
    """Seeds in different shards that say the same are vacuous, which no single shard can see."""
    starter = ScriptedStarter(voice=_same_for_every_seed)  # type: ignore[arg-type]
    goldens = MemoryGoldens([golden_of(c, _same_for_every_seed(c)) for c in CELLS])  # type: ignore[arg-type]
    shards = [_measured(Shard(n, 4), starter=starter, goldens=goldens) for n in range(1, 5)]
    verdicts = verdicts_of(_merged(shards, goldens=goldens))

    reason = "all 2 seeds of this prompt give the same tokens"
    assert verdicts[CELLS[0].id] == verdicts[CELLS[1].id] == Vacuous(reason=reason)
    assert verdicts[CELLS[2].id] == Match()


def test_an_orphan_is_told_once() -> None:
    """A golden that no cell claims is no matter of a shard."""
    orphan = golden_of(cell_of("gone"))
    goldens = MemoryGoldens([*recorded_for(*CELLS), orphan])
    shards = [_measured(Shard(n, 2), goldens=goldens) for n in (1, 2)]

    assert verdicts_of(_merged(shards, goldens=goldens))[orphan.cell.id] == Orphaned()


def test_a_problem_in_a_shard_is_inconclusive_in_the_whole() -> None:
    """A cell whose engine died in its shard was not measured."""
    starter = ScriptedStarter(faults=[Fault(what="generate", about=CELLS[0].id, error=DEAD)])
    merged = _merged(_two(starter))

    assert isinstance(report_on(merged, CELLS[0]).verdict, Inconclusive)


def test_an_interrupted_shard_makes_the_whole_partial() -> None:
    """What it did not reach is inconclusive."""
    fault = Fault(what="generate", about=CELLS[3].id, error=KeyboardInterrupt())
    merged = _merged(_two(ScriptedStarter(faults=[fault])))

    assert merged.interrupted
    assert isinstance(report_on(merged, CELLS[3]).verdict, Inconclusive)


def test_a_missing_shard_is_named() -> None:
    """A lost shard never merges to green."""
    shards = [_measured(Shard(index, 4)) for index in (1, 3)]

    with pytest.raises(MeasurementUnavailable, match=r"^shard 2/4, 4/4 is missing"):
        require_one_check(shards, commit=COMMIT)


def test_a_shard_that_comes_twice_is_named() -> None:
    """Which of the two speaks for the cells, nobody could tell."""
    shards = [*_two(), replace(_measured(Shard(2, 2)), place="again/shard.json")]

    with pytest.raises(
        InputInvalid,
        match=r"^again/shard.json: shard: expected shard 2/2 once, "
        r"found it in shard-2/shard.json, again/shard.json$",
    ):
        require_one_check(shards, commit=COMMIT)


def _with_identity(**changes: Any) -> Callable[[ShardReport], ShardReport]:
    return lambda report: replace(report, identity=replace(report.identity, **changes))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_with_identity(digest="other"), "plan"),
        (_with_identity(commit="f" * 40), "commit"),
        (_with_identity(commit=None), "commit"),
        (lambda report: replace(report, shard=Shard(2, 3)), "number of shards"),
        (lambda report: replace(report, tool_version="0.0.1"), "version of repro-gate"),
    ],
)
def test_a_shard_of_another_check_is_named(
    change: Callable[[ShardReport], ShardReport], what: str
) -> None:
    """Shards of different commits, plans or versions are not one check."""
    first, second = _two()
    foreign = replace(second, report=change(second.report))

    with pytest.raises(InputInvalid, match=rf"^shard-2/shard.json: the {what} of shard 2/"):
        require_one_check([first, foreign], commit=COMMIT)


@pytest.mark.parametrize("here", ["f" * 40, None])
def test_shards_of_another_commit_than_here_are_refused(here: str | None) -> None:
    """The goldens of this checkout need not be those of the commit that was measured."""
    with pytest.raises(
        InputInvalid,
        match=rf"^shard-1/shard.json: the commit of shard 1/2: expected {here}, "
        rf"which is checked out here, found {COMMIT}$",
    ):
        require_one_check(_two(), commit=here)


def test_shards_of_another_matrix_than_here_are_refused() -> None:
    """The goldens of this checkout say nothing of another matrix."""
    other = WholePlan(tokens=plan(matrix_of(suite_of(*CELLS, runs=4))))

    with pytest.raises(InputInvalid, match="which is that of the matrix file here"):
        _merged(_two(), whole=other)


def test_two_classes_of_machine_are_refused() -> None:
    """The shard that was measured elsewhere is named, with both profiles."""
    first, second = _two()
    engines = tuple(replace(engine, profile="cuda-sm90") for engine in second.report.engines)
    moved = replace(second, report=replace(second.report, engines=engines))

    with pytest.raises(
        InputInvalid,
        match=r"the profile of engine scripted in shard 2/2: expected cpu-test, as in shard 1/2, "
        "found cuda-sm90",
    ):
        _merged([first, moved])


def _with_cells(found: FoundShard, cells: Sequence[MeasuredCell]) -> FoundShard:
    return replace(found, report=replace(found.report, cells=tuple(cells)))


def test_a_cell_in_two_shards_is_refused() -> None:
    """Every cell is measured exactly once."""
    first, second = _two()
    both = _with_cells(second, [*second.report.cells, first.report.cells[0]])

    with pytest.raises(
        InputInvalid, match=f"expected {CELLS[0].id} once in all shards, found it, as"
    ):
        _merged([first, both])


def test_a_cell_in_no_shard_is_refused() -> None:
    """Nothing that was planned may be lost on the way."""
    first, second = _two()

    with pytest.raises(
        InputInvalid, match=rf"{CELLS[3].id} in one of the shards, found it in none"
    ):
        _merged([first, _with_cells(second, second.report.cells[:-1])])


def test_a_foreign_cell_is_refused() -> None:
    """Nothing that was not planned may come in."""
    first, second = _two()
    foreign = MeasuredCell(cell=cell_of("foreign"), repetition=None, problem=None)

    with pytest.raises(InputInvalid, match="though the matrix does not plan it"):
        _merged([first, _with_cells(second, [*second.report.cells, foreign])])


def test_a_cell_with_another_definition_is_refused() -> None:
    """The same name is not the same cell."""
    first, second = _two()
    other = replace(second.report.cells[0], cell=replace(CELLS[2], text="something else"))

    with pytest.raises(InputInvalid, match="another definition of it"):
        _merged([first, _with_cells(second, [other, *second.report.cells[1:]])])


def test_suites_of_log_probabilities_keep_their_verdicts() -> None:
    """One shard measured and judged all of a suite; it is in the report as it was there."""
    whole = WholePlan(tokens=TOKENS, logprobs=(plan_of(suite_of_logprobs()),))
    shards = [_measured(Shard(index, 2), whole=whole) for index in (1, 2)]
    merged = _merged(shards, whole=whole)

    assert merged.logprobs == tuple(part for found in shards for part in found.report.logprobs)
    assert merged.suites == ("quick", "hosted")


def test_a_plan_without_tokens_can_be_merged() -> None:
    """A check of log-probabilities alone has no cell of tokens in any shard."""
    none: Plan = plan(matrix_of(suite_of(*CELLS)), only="nothing")
    whole = WholePlan(tokens=none, logprobs=(plan_of(suite_of_logprobs()),))
    merged = _merged([_measured(Shard(1, 1), whole=whole)], whole=whole)

    assert (len(merged.logprobs), merged.engines) == (1, ())
