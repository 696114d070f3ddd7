"""Complete shards are judged as if one machine had measured all of them."""

from dataclasses import replace

from repro_gate.checks.tokens.record import observed_goldens
from repro_gate.core.matrix import Plan, plan
from repro_gate.core.report import EngineReport, Note, NoteOrigin, Timing
from repro_gate.core.shards.report import Shard
from repro_gate.core.shards.split import WholePlan
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match, Orphan
from repro_gate.strict_json import MAX_INTEGER, MAX_NUMBER
from tests.fakes.checking import recorded_for, report_on, verdicts_of
from tests.fakes.engines import DEAD, Fault, ScriptedStarter
from tests.fakes.scoring import plan_of, suite_of_logprobs
from tests.fakes.sharding import (
    CELLS,
    COMMIT,
    TOKENS,
    alone_of,
    measured_shard,
    merged_of,
    two_shards,
)
from tests.fakes.stores import MemoryGoldens, MemoryReferences
from tests.fakes.values import (
    ENGINE_FACTS,
    PROFILE,
    answer_to,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    provenance_of,
    reference_of,
    suite_of,
    tokens_of,
    verification_of,
)


def test_shards_give_the_report_of_one_machine() -> None:
    """Cells, verdicts, engines and models are equal, in any order of the shards."""
    alone, merged = alone_of(), merged_of(list(reversed(two_shards())))

    assert merged.cells == alone.cells
    assert (merged.suites, merged.engines) == (alone.suites, alone.engines)
    assert (merged.models, merged.interrupted) == (alone.models, False)
    assert merged.repeat_with == ("--device", "cuda")


def test_the_commit_is_that_of_all_shards_or_none() -> None:
    """One machine with a changed file is enough to leave it unknown."""
    first, second = two_shards()
    clean = [
        replace(shard, report=replace(shard.report, commit=COMMIT)) for shard in (first, second)
    ]

    assert merged_of(clean).commit == COMMIT
    assert merged_of([clean[0], second]).commit is None


def test_a_note_of_two_shards_is_reported_once() -> None:
    """Both machines loaded the model, and both noted the same about it."""
    starter = ScriptedStarter(notes={"tiny": ("no pre-tokenizer",)})
    note = Note(about="tiny", message="no pre-tokenizer", origin=NoteOrigin.ENGINE)
    shards = two_shards(starter)

    assert [found.report.notes for found in shards] == [(note,), (note,)]
    assert merged_of(shards).notes == (note,)


def test_the_times_of_shards_are_those_of_work_side_by_side() -> None:
    """One waited for the slowest; the engines worked for the sum."""
    shards = two_shards()
    merged = merged_of(shards)

    assert merged.timing.wall_s == 4.0
    assert merged.timing.engine_s == sum(found.report.timing.engine_s for found in shards)


def test_the_times_of_shards_may_be_extreme() -> None:
    """The sum of two possible values is one that a report can hold, and be read with."""
    extreme = Timing(
        wall_s=MAX_NUMBER, load_s=MAX_NUMBER, engine_s=MAX_NUMBER, generated_tokens=MAX_INTEGER
    )
    shards = [
        replace(found, report=replace(found.report, timing=extreme)) for found in two_shards()
    ]

    assert merged_of(shards).timing == extreme


def test_a_drift_in_a_shard_is_a_drift_of_the_whole() -> None:
    """What one machine saw is judged with the goldens of the checkout that merges."""
    starter = ScriptedStarter(script={CELLS[3]: [generation_of(9)]})

    assert isinstance(verdicts_of(merged_of(two_shards(starter)))[CELLS[3].id], Drift)


def test_a_drift_is_graded_over_all_shards() -> None:
    """With the references of the checkout that merges; a shard grades what it has."""
    starter = ScriptedStarter(
        script={cell: [replace(answer_to(cell), tokens=tokens_of(9, 9, 9))] for cell in CELLS},
        verifier=lambda asked: verification_of(generation_of(*asked.tokens)),
    )
    shards = two_shards(starter)
    references = MemoryReferences(reference_of(*recorded_for(*CELLS), distance=0.02))

    (grade,) = merged_of(shards, references=references).grades

    assert (grade.cells, grade.p_value, grade.needed_cells) == (4, 1.0, 7)
    assert grade.reason is None


def test_each_cell_has_the_provenance_of_its_shard() -> None:
    """Changed facts are those of the machine that drifted."""
    facts = {**ENGINE_FACTS, "device.driver": "999"}
    updated = EngineReport(name="scripted", profile=PROFILE, facts=facts)
    starter = ScriptedStarter(script={CELLS[3]: [generation_of(9)]}, reports={"scripted": updated})
    shards = [measured_shard(Shard(1, 2)), measured_shard(Shard(2, 2), starter=starter)]

    merged = merged_of(shards)

    drift = verdicts_of(merged)[CELLS[3].id]
    assert isinstance(drift, Drift)
    assert drift.provenance == (FactChange(name="device.driver", before=None, after="999"),)
    observed = {golden.cell: golden.provenance for golden in observed_goldens(merged)}
    ordinary = provenance_of("tiny")
    assert observed == dict.fromkeys(CELLS[:2], ordinary) | {
        key: {**ordinary, "device.driver": "999"} for key in CELLS[2:]
    }
    assert [engine.facts for engine in merged.engines] == [ENGINE_FACTS, facts]


def test_each_shard_shows_that_its_machine_can_fail() -> None:
    """What every machine shows is in the report once."""
    shards = two_shards()

    assert [len(found.report.controls) for found in shards] == [2, 2]
    assert merged_of(shards).controls == alone_of().controls


def _seedless(cell: Cell) -> Generation:
    return answer_to(replace(cell, seed=1))


def test_a_machine_whose_engine_ignores_its_seed_is_found() -> None:
    """That another machine uses its seed does not help it."""
    seedless = ScriptedStarter(voice=_seedless)
    shards = [measured_shard(Shard(1, 2)), measured_shard(Shard(2, 2), starter=seedless)]
    merged = merged_of(shards, goldens=MemoryGoldens([golden_of(cell_of("gone"))]))

    assert [(c.contrast.factor, c.failed) for c in merged.controls] == [
        (Factor.SEED, True),
        (Factor.PROMPT, False),
    ]


def _sharp(cell: Cell) -> Generation:
    return _seedless(cell) if cell.prompt == "haiku" else answer_to(cell)


def test_shards_of_a_sharp_prompt_use_the_prompts_of_the_others() -> None:
    """Seeds that agree in one shard do not fail it: the plan has a prompt whose seeds differ."""
    goldens = MemoryGoldens([golden_of(cell, _sharp(cell)) for cell in CELLS])
    shards = [
        measured_shard(Shard(n, 4), starter=ScriptedStarter(voice=_sharp), goldens=goldens)
        for n in range(1, 5)
    ]

    assert set(verdicts_of(merged_of(shards, goldens=goldens)).values()) == {Match()}


def test_an_orphan_is_reported_once() -> None:
    """Orphans do not belong to a shard."""
    orphan = golden_of(cell_of("gone"))
    goldens = MemoryGoldens([*recorded_for(*CELLS), orphan])
    shards = [measured_shard(Shard(n, 2), goldens=goldens) for n in (1, 2)]

    report = merged_of(shards, goldens=goldens)
    assert report.orphans == (Orphan(id=orphan.cell.id, origin=PROFILE),)


def test_a_problem_in_a_shard_is_inconclusive_in_the_whole() -> None:
    """A cell whose engine died in its shard was not measured."""
    starter = ScriptedStarter(faults=[Fault(what="generate", about=CELLS[0].id, error=DEAD)])
    merged = merged_of(two_shards(starter))

    assert isinstance(report_on(merged, CELLS[0]).verdict, Inconclusive)


def test_an_interrupted_shard_makes_the_whole_partial() -> None:
    """What it did not reach is inconclusive."""
    fault = Fault(what="generate", about=CELLS[3].id, error=KeyboardInterrupt())
    merged = merged_of(two_shards(ScriptedStarter(faults=[fault])))

    assert merged.interrupted
    assert isinstance(report_on(merged, CELLS[3]).verdict, Inconclusive)


def test_suites_of_log_probabilities_keep_their_verdicts() -> None:
    """One shard measured and judged all of a suite; it is in the report as it was there."""
    whole = WholePlan(tokens=TOKENS, logprobs=(plan_of(suite_of_logprobs()),))
    shards = [measured_shard(Shard(index, 2), whole=whole) for index in (1, 2)]
    merged = merged_of(shards, whole=whole)

    assert merged.logprobs == tuple(part for found in shards for part in found.report.logprobs)
    assert merged.suites == ("quick", "hosted")


def test_a_plan_without_tokens_can_be_merged() -> None:
    """A check of log-probabilities alone has no cell of tokens in any shard."""
    none: Plan = plan(matrix_of(suite_of(*CELLS)), only="nothing")
    whole = WholePlan(tokens=none, logprobs=(plan_of(suite_of_logprobs()),))
    merged = merged_of([measured_shard(Shard(1, 1), whole=whole)], whole=whole)

    assert (len(merged.logprobs), merged.engines) == (1, ())
