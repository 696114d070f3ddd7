"""Each model must be seen to use its seed and its prompt, or the check could not fail."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.checks.tokens.record import observed_goldens
from repro_gate.core.outcome import ExitCode, Outcome, decide, exit_code_for
from repro_gate.core.report import GateReport, NoteOrigin
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import HOT, ControlReport
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match, Unrecorded, Vacuous
from repro_gate.errors import MeasurementUnavailable
from repro_gate.samplers import Sampling
from tests.fakes.checking import Scene, scene_of, verdicts_of
from tests.fakes.engines import DEAD, REFUSED, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import GREEDY, SAMPLED, answer_to, cell_of, generation_of, golden_of

FACT = cell_of("capital", sampler=replace(SAMPLED, temperature=0.7), max_tokens=2)
STORY = cell_of("story", sampler=replace(SAMPLED, temperature=0.8), max_tokens=8)
MOON = cell_of("moon", sampler=GREEDY)
YES_OR_NO = cell_of(
    "sure",
    sampler=replace(
        SAMPLED, temperature=0, sampling=Sampling.parse({"grammar": 'root ::= "yes" | "no"'})
    ),
    max_tokens=1,
)
SEED, PROMPT = Factor.SEED, Factor.PROMPT
ADD_CELLS = "add cells that differ only in the seed and have different outputs"
NOT_RUN = "its control could not be run, so agreement proves nothing yet"


def _with_seeds(*cells: Cell, count: int = 3) -> tuple[Cell, ...]:
    return tuple(replace(cell, seed=seed) for cell in cells for seed in range(1, count + 1))


def _sure(cell: Cell) -> Generation:
    """Answer as a real model does: facts and cold samplers leave nothing to the seed."""
    is_sure = cell.prompt == "capital" or cell.sampler.temperature <= 0.2
    return answer_to(replace(cell, seed=1) if is_sure and cell.sampler != HOT else cell)


def _seedless(cell: Cell) -> Generation:
    return answer_to(replace(cell, seed=1))


def _promptless(cell: Cell) -> Generation:
    seed = 0 if cell.sampler.is_greedy else cell.seed
    return generation_of(seed % 250, round(10 * cell.sampler.temperature), 7)


def _agreeing(cell: Cell) -> Generation:
    """Answer yes to every prompt where there is a choice of answers."""
    return generation_of(1) if cell.sampler == YES_OR_NO.sampler else answer_to(cell)


def _one_token(cell: Cell) -> Generation:
    return generation_of(*[9] * cell.max_tokens)


def _scene(
    *cells: Cell, voice: Callable[[Cell], Generation], faults: tuple[Fault, ...] = ()
) -> Scene:
    starter = ScriptedStarter(voice=voice, faults=faults)
    goldens = MemoryGoldens([golden_of(cell, voice(cell)) for cell in cells])
    return scene_of(*cells, starter=starter, goldens=goldens, runs=2)


def _shown(report: GateReport) -> list[tuple[str, Factor, bool]]:
    return [(c.model, c.contrast.factor, c.divergence is not None) for c in report.controls]


@pytest.mark.parametrize("cells", [(FACT, STORY), (STORY, FACT)], ids=["fact first", "story first"])
def test_a_fact_does_not_stop_a_sound_model(cells: tuple[Cell, ...]) -> None:
    """Seeds of a sharp prompt agree, those of another differ, and their order does not matter."""
    report = _scene(*_with_seeds(*cells), voice=_sure).check()

    assert set(verdicts_of(report).values()) == {Match()}
    assert _shown(report) == [("tiny", SEED, True), ("tiny", PROMPT, True)]
    assert exit_code_for(report) == ExitCode.PASSED


def test_cells_that_differ_cost_nothing() -> None:
    """Where the plan itself is the evidence, nothing more is generated."""
    cells = _with_seeds(STORY, replace(STORY, prompt="fox", text="Say fox"))
    scene = _scene(*cells, voice=answer_to)
    scene.check()

    assert len(scene.starter.generated()) == 2 * len(cells)


@pytest.mark.parametrize("count", [1, 3])
def test_facts_alone_pass_because_a_hot_run_differs(count: int) -> None:
    """A model that is sure of all that it is asked still uses its seed."""
    scene = _scene(*_with_seeds(FACT, count=count), voice=_sure)
    report = scene.check()

    (seeds, _) = report.controls
    assert seeds.contrast.cell.sampler == HOT
    assert exit_code_for(report) == ExitCode.PASSED
    assert len(scene.starter.generated()) - 2 * count <= 4


def test_a_choice_of_answers_may_be_the_same_for_every_prompt() -> None:
    """The model is asked without the grammar, too, and its answers differ there."""
    scene = _scene(YES_OR_NO, voice=_agreeing)
    report = scene.check()

    assert set(verdicts_of(report).values()) == {Match()}
    assert len(scene.starter.generated()) == 2 + 3
    promptless = _scene(YES_OR_NO, voice=_promptless).check()
    assert set(verdicts_of(promptless).values()) == {Vacuous(factor=PROMPT)}


@pytest.mark.parametrize("cells", [(FACT,), _with_seeds(FACT, STORY), (*_with_seeds(STORY), MOON)])
def test_an_engine_that_ignores_its_seed_never_passes(cells: tuple[Cell, ...]) -> None:
    """Its sampled cells are vacuous; greedy ones do not depend on the seed."""
    report = _scene(*cells, voice=_seedless).check()

    assert verdicts_of(report) == {
        cell.id: Match() if cell.sampler.is_greedy else Vacuous(factor=SEED) for cell in cells
    }
    assert exit_code_for(report) == ExitCode.FINDINGS


@pytest.mark.parametrize(
    "cells",
    [(STORY,), _with_seeds(FACT, STORY), (MOON,), (MOON, replace(MOON, prompt="b", text="b"))],
)
@pytest.mark.parametrize("voice", [_promptless, _one_token], ids=["promptless", "one token"])
def test_an_engine_that_ignores_its_prompt_never_passes(
    cells: tuple[Cell, ...], voice: Callable[[Cell], Generation]
) -> None:
    """With any seeds and samplers, and with a single prompt too."""
    report = _scene(*cells, voice=voice).check()

    assert {type(verdict) for verdict in verdicts_of(report).values()} == {Vacuous}
    assert exit_code_for(report) == ExitCode.FINDINGS


def test_the_doubt_costs_a_few_generations() -> None:
    """However many cells a model has, and even where both factors change nothing."""
    cells = _with_seeds(*(replace(FACT, prompt=f"p{n}", text=f"p{n}") for n in range(20)))
    scene = _scene(*cells, voice=_one_token)
    scene.check()

    assert len(scene.starter.generated()) - 2 * len(cells) <= 11


def test_prompts_whose_seeds_agree_are_noted() -> None:
    """The author of the matrix learns that more seeds are useless there."""
    report = _scene(*_with_seeds(FACT, STORY), voice=_sure).check()

    (note,) = report.notes
    assert (note.about, note.origin) == ("tiny", NoteOrigin.GATE)
    assert note.message.startswith("every seed gives the same output for capital:")


def test_a_cell_may_repeat_one_token() -> None:
    """Models loop; that another cell does not is evidence enough."""
    cells = (replace(MOON, prompt="loop", text="loop"), MOON)

    def looping(cell: Cell) -> Generation:
        return _one_token(cell) if cell.prompt == "loop" else answer_to(cell)

    assert set(verdicts_of(_scene(*cells, voice=looping).check()).values()) == {Match()}


def test_the_remedy_for_a_seedless_engine_works() -> None:
    """The same cells at temperature 0 pass."""
    cells = [replace(cell, sampler=GREEDY) for cell in _with_seeds(FACT, STORY)]
    report = _scene(*cells, voice=_seedless).check()

    assert exit_code_for(report) == ExitCode.PASSED
    assert _shown(report) == [("tiny", PROMPT, True)]


def test_each_model_needs_its_own_evidence() -> None:
    """That one model uses its seed shows nothing of another."""
    other = replace(STORY, model="other")
    report = _scene(
        STORY,
        other,
        voice=lambda cell: _seedless(cell) if cell.model == "other" else answer_to(cell),
    ).check()

    assert verdicts_of(report) == {STORY.id: Match(), other.id: Vacuous(factor=SEED)}


def test_controls_come_after_the_first_runs_and_in_the_first_process() -> None:
    """They are not runs of their cells."""
    scene = _scene(STORY, voice=answer_to)
    report = scene.check()

    first = [STORY.id, "tiny--story--seed43", "tiny--control-1--seed42"]
    assert scene.starter.generated(process=1) == first
    assert [cell.runs for cell in report.cells] == [2]


def test_nothing_was_recorded_and_nothing_could_differ() -> None:
    """Before anything is recorded it is known whether the check could fail."""
    starter = ScriptedStarter(voice=_seedless)
    report = scene_of(STORY, starter=starter, goldens=MemoryGoldens()).check()

    assert verdicts_of(report) == {STORY.id: Vacuous(factor=SEED)}


def test_drift_is_reported_though_nothing_else_could_differ() -> None:
    """A difference that was seen beats the suspicion that none could be."""
    starter = ScriptedStarter(voice=_seedless)
    goldens = MemoryGoldens([golden_of(STORY, generation_of(1))])
    (verdict,) = verdicts_of(scene_of(STORY, starter=starter, goldens=goldens).check()).values()

    assert isinstance(verdict, Drift)


def _hot_fails(error: Exception) -> tuple[Fault, ...]:
    # Seeds 43 and 42 of the same id: the further seed, and both of the hot runs.
    return (Fault(what="generate", about="tiny--capital--seed43", error=error),)


@pytest.mark.parametrize("error", [DEAD, REFUSED])
def test_a_control_that_cannot_run_is_inconclusive(
    error: type[Exception] | Exception,
) -> None:
    """Agreement proves nothing yet, and the engine gave the reason."""
    assert isinstance(error, type(DEAD) | type(REFUSED))
    report = _scene(FACT, voice=_sure, faults=_hot_fails(error)).check()

    remedy = error.remedy if error is DEAD else f"{error.remedy}; or {ADD_CELLS}"
    expected = Inconclusive(reason=f"{NOT_RUN}: {error.reason}", remedy=remedy)
    assert verdicts_of(report) == {FACT.id: expected}
    assert decide(report) == Outcome.INCONCLUSIVE


def _cool(limit: float) -> Callable[[Cell], Generation]:
    """Return the voice of an engine that is sure below temperature 1, and refuses great heat."""

    def voice(cell: Cell) -> Generation:
        if cell.sampler.temperature > limit:
            raise MeasurementUnavailable(f"bad_request: at most {limit}", remedy="lower it")
        return answer_to(replace(cell, seed=1) if cell.sampler.temperature < 1 else cell)

    return voice


FACTS = tuple(replace(FACT, prompt=f"p{n}", text=f"p{n}") for n in range(6))


@pytest.mark.parametrize("cells", [FACTS[:1], FACTS], ids=["one", "six"])
@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_an_engine_may_refuse_to_sample_as_hot_as_we_would_like(
    cells: tuple[Cell, ...], limit: float
) -> None:
    """It is asked for the heat of ordinary limits then, which shows as much."""
    report = _scene(*cells, voice=_cool(limit)).check()

    assert set(verdicts_of(report).values()) == {Match()}


def test_certain_cells_of_an_engine_that_refuses_all_heat_are_not_vacuous() -> None:
    """However many of them agree: no hot run has shown that the seed changes nothing."""
    report = _scene(*FACTS, voice=_cool(0.9)).check()

    remedy = f"lower it; or {ADD_CELLS}"
    expected = Inconclusive(reason=f"{NOT_RUN}: bad_request: at most 0.9", remedy=remedy)
    assert set(verdicts_of(report).values()) == {expected}


def test_the_remedy_where_no_heat_is_allowed_works() -> None:
    """Cells that differ only in the seed, with different outputs, are enough evidence."""
    warm = replace(STORY, sampler=replace(SAMPLED, temperature=1.0))
    report = _scene(*FACTS, *_with_seeds(warm, count=2), voice=_cool(1.0)).check()

    assert exit_code_for(report) == ExitCode.PASSED


def test_answers_with_a_common_start_are_no_problem() -> None:
    """A model may start every answer alike; a longer answer depends on the prompt."""

    def voice(cell: Cell) -> Generation:
        ids = [token.id for token in answer_to(cell).tokens]
        return generation_of(*[7, 7, *ids][: cell.max_tokens])

    report = _scene(replace(FACT, sampler=GREEDY), voice=voice).check()

    assert set(verdicts_of(report).values()) == {Match()}


def test_a_model_that_is_not_seen_to_use_its_seed_is_not_called_certain() -> None:
    """Its seeds agree for another reason."""
    report = _scene(*_with_seeds(FACT, STORY), voice=_seedless).check()

    assert report.notes == ()


def test_engine_notes_about_a_control_are_dropped() -> None:
    """Users do not know its prompt."""
    notes = {"tiny--story--seed43": ("a",), "tiny--control-1--seed42": ("b",), STORY.id: ("c",)}
    starter = ScriptedStarter(notes=notes)
    report = scene_of(STORY, starter=starter).check()

    assert [note.message for note in report.notes] == ["c"]


@pytest.mark.parametrize("about", ["tiny--story--seed43", "tiny--control-1--seed42"])
def test_an_interruption_before_the_controls_leaves_agreement_unproven(about: str) -> None:
    """Such a cell may not be accepted from what the check observed."""
    fault = Fault(what="generate", about=about, error=KeyboardInterrupt())
    starter = ScriptedStarter(faults=(fault,))
    report = scene_of(STORY, starter=starter, runs=1, fresh_runs=0).check()

    assert report.interrupted
    assert [cell.runs for cell in report.cells] == [1]
    assert observed_goldens(report) == []


def test_an_interruption_after_the_controls_leaves_finished_cells_as_they_are() -> None:
    """The last runs go backwards, and only the cell that was being run is unfinished."""
    fault = Fault(what="generate", about=STORY.id, error=KeyboardInterrupt(), time=2)
    report = _scene(STORY, MOON, voice=answer_to, faults=(fault,)).check()

    words = [verdict.word for verdict in verdicts_of(report).values()]
    assert words == ["inconclusive", "match"]


def test_a_control_that_cannot_run_is_harmless_where_another_differs() -> None:
    """One difference is enough."""
    fox = cell_of("fox", sampler=STORY.sampler)
    fault = Fault(what="generate", about=replace(STORY, seed=43).id, error=REFUSED)
    report = _scene(STORY, fox, voice=answer_to, faults=(fault,)).check()

    assert set(verdicts_of(report).values()) == {Match()}


def test_a_text_that_kills_the_engine_leaves_the_controls_to_another() -> None:
    """Two deaths over one text are the text's doing."""
    first, second = FACTS[:2]
    fault = Fault(what="generate", about=replace(first, seed=43).id, error=DEAD)

    def voice(cell: Cell) -> Generation:
        return _sure(replace(cell, prompt="capital"))

    report = _scene(first, second, voice=voice, faults=(fault,)).check()

    assert report.controls[0].contrast.cell.text == second.text
    assert set(verdicts_of(report).values()) == {Match()}


def test_after_three_deaths_no_control_is_tried() -> None:
    """The model is the cause, then."""
    cells = [replace(FACT, prompt=f"p{n}", text=f"capital {n}") for n in range(4)]
    faults = tuple(
        Fault(what="generate", about=replace(cell, seed=43).id, error=DEAD) for cell in cells
    )
    scene = _scene(*cells, voice=lambda cell: _sure(replace(cell, prompt="capital")), faults=faults)
    report = scene.check()

    deaths = [asked for asked in scene.starter.log if asked.about.endswith("seed43")]
    assert len(deaths) == 3
    assert {verdict.word for verdict in verdicts_of(report).values()} == {"inconclusive"}


def test_a_model_of_which_no_cell_can_be_run_has_no_control() -> None:
    """Nothing is claimed of it either way."""
    faults = (Fault(what="generate", about=STORY.id, error=REFUSED),)
    report = _scene(STORY, voice=answer_to, faults=faults).check()

    assert report.controls == ()
    assert decide(report) == Outcome.INCONCLUSIVE


def test_a_cell_that_could_not_be_run_is_no_evidence() -> None:
    """The other cells of the model are."""
    cells = _with_seeds(FACT, STORY)
    faults = (Fault(what="generate", about=cells[3].id, error=REFUSED),)
    report = _scene(*cells, voice=_sure, faults=faults).check()

    assert report.controls[0].contrast.cell == cells[4]


def test_an_unrecorded_cell_without_its_control_is_not_measured() -> None:
    """Its tokens must not become a golden yet."""
    starter = ScriptedStarter(voice=_sure, faults=_hot_fails(REFUSED))
    report = scene_of(FACT, starter=starter, goldens=MemoryGoldens()).check()

    (verdict,) = verdicts_of(report).values()
    assert not isinstance(verdict, Unrecorded)


def test_a_control_shows_what_it_compared() -> None:
    """The report has both definitions."""
    report = _scene(*_with_seeds(STORY, count=2), voice=answer_to).check()

    seeds: ControlReport = report.controls[0]
    assert (seeds.contrast.cell.seed, seeds.contrast.varied.seed) == (1, 2)
