"""An engine with a concurrency: which runs share it, and what a failure of several costs."""

from dataclasses import replace

import pytest

from repro_gate.checks.tokens.check import measure_tokens
from repro_gate.core.engines import ModelSpec
from repro_gate.core.matrix import plan
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.verdicts import Inconclusive, Match, Nondeterministic
from repro_gate.errors import AFTER_FAILURES, EngineFailed, MeasurementUnavailable
from repro_gate.ports import ModelFile
from tests.fakes.checking import Scene, recorded_for, scene_of, verdicts_of
from tests.fakes.engines import DEAD, REFUSED, STATE, Asked, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryModelFiles
from tests.fakes.values import (
    GREEDY,
    answer_to,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    suite_of,
    tokens_of,
)

CELLS = A, B, C, D = tuple(
    cell_of(prompt, sampler=GREEDY) for prompt in ("haiku", "fox", "moon", "train")
)
OTHER = cell_of("haiku", model="other", sampler=GREEDY)
DIED = Inconclusive(reason=DEAD.reason, remedy=DEAD.remedy)


def _scene(*faults: Fault, runs: int = 3, fresh_runs: int = 1, concurrency: int = 2) -> Scene:
    starter = ScriptedStarter(faults=faults, concurrency=concurrency)
    return scene_of(*CELLS, runs=runs, fresh_runs=fresh_runs, starter=starter)


def _dies(*about: str, time: int | None = None) -> list[Fault]:
    return [Fault(what="generate", about=name, time=time) for name in about]


def test_neighbours_are_runs_of_different_cells() -> None:
    """Two cells at a time, run by run; the last runs are alone, backwards, in another process."""
    scene = _scene()
    report = scene.check()

    # Each two are made together, and answered the newest first.
    assert scene.starter.generated(process=1) == [
        *(B.id, A.id, B.id, A.id),
        *(D.id, C.id, D.id, C.id),
    ]
    assert scene.starter.generated(process=2) == [D.id, C.id, B.id, A.id]
    assert set(verdicts_of(report).values()) == {Match()}
    assert scene.progress.begun[:2] == [A.id, B.id]


def test_without_fresh_runs_the_last_run_is_alone_in_the_same_process() -> None:
    """It comes after the others of its model, and an only run is traced."""
    scene = _scene(runs=2, fresh_runs=0)
    scene.check()
    once = _scene(runs=1, fresh_runs=0)
    once.check()

    assert scene.starter.generated() == [*(B.id, A.id, D.id, C.id), *(A.id, B.id, C.id, D.id)]
    assert [asked for asked in once.starter.log if asked.what == "generate"] == [
        Asked(process=1, what="generate", about=cell.id, is_traced=True) for cell in CELLS
    ]


@pytest.mark.parametrize("fresh_runs", [0, 1])
def test_a_dependence_on_neighbours_is_a_finding(fresh_runs: int) -> None:
    """Runs together agree with each other, and differ from the one alone."""
    scene = _scene(fresh_runs=fresh_runs)
    scene.starter.crowded = lambda cell: replace(answer_to(cell), tokens=tokens_of(9))
    verdicts = list(verdicts_of(scene.check()).values())

    for verdict in verdicts:
        assert isinstance(verdict, Nondeterministic)
        assert (verdict.run, verdict.in_fresh_process) == (3, fresh_runs == 1)
        assert (verdict.first_had_neighbours, verdict.had_neighbours) == (True, False)


def test_a_death_with_several_in_flight_costs_only_the_cell_that_fails_again() -> None:
    """Each of them is made again, one at a time; then several are in flight again."""
    scene = _scene(*_dies(B.id))
    report = scene.check()

    assert verdicts_of(report) == {A.id: Match(), B.id: DIED, C.id: Match(), D.id: Match()}
    made = [(asked.process, asked.about) for asked in scene.starter.log if asked.what == "generate"]
    # The first process died of B; A alone in the next one, then B, which ends it too.
    assert made[:4] == [(1, B.id), (3, A.id), (3, B.id), (4, C.id)]
    assert scene.starter.are_all_closed
    assert report.notes == (
        Note(
            about="tiny",
            message="the engine failed with several requests in flight; 2 were made again alone: "
            f"{DEAD.reason}",
            origin=NoteOrigin.GATE,
        ),
    )


def test_a_death_that_does_not_repeat_costs_nothing() -> None:
    """The runs that were lost are made again, so every cell has all of its runs."""
    scene = _scene(*_dies(B.id, time=1))
    report = scene.check()

    assert set(verdicts_of(report).values()) == {Match()}
    assert [cell.runs for cell in report.cells] == [3] * 4


def test_a_cell_that_fails_again_is_not_tried_for_its_other_runs() -> None:
    """Four of its runs were in flight, and the engine is not ended once more for each."""
    scene = scene_of(A, B, runs=9, starter=ScriptedStarter(faults=_dies(A.id), concurrency=8))
    report = scene.check()

    assert verdicts_of(report) == {A.id: DIED, B.id: Match()}
    made = [scene.starter.generated(process=process) for process in (1, 3, 4)]
    assert made[:2] == [[B.id, A.id], [A.id]]
    # Its last one is the control of the model, which tries a longer output of the same prompt.
    assert made[2] == [B.id] * 8 + [A.id]


def test_suites_of_different_length_share_an_engine() -> None:
    """Each cell keeps its own number of runs, and only those of the shorter one end earlier."""
    quick, deep = suite_of(A, runs=2, fresh_runs=0), suite_of(B, name="deep", runs=5, fresh_runs=2)
    planned = plan(matrix_of(quick, deep), suites=["quick", "deep"])
    scene = Scene(
        plan=planned,
        starter=ScriptedStarter(concurrency=2),
        goldens=MemoryGoldens(recorded_for(A, B)),
    )
    report = scene.check()

    assert scene.starter.generated(process=1) == [B.id, A.id, B.id, B.id, A.id]
    assert [(cell.suite, cell.runs) for cell in report.cells] == [("quick", 2), ("deep", 5)]


def test_three_cells_that_die_among_others_leave_those_measured() -> None:
    """Failures are in a row only without a cell between them that can be measured."""
    cells = [cell_of(f"p{number}", sampler=GREEDY) for number in range(8)]
    bad = [cell.id for cell in cells[1::2]]
    starter = ScriptedStarter(faults=_dies(*bad), concurrency=8)
    report = scene_of(*cells, runs=4, starter=starter).check()

    assert verdicts_of(report) == {c.id: DIED if c.id in bad else Match() for c in cells}


def test_an_engine_that_cannot_work_on_several_is_given_one_at_a_time() -> None:
    """After three failures with several in flight; the runs themselves are sound."""
    cells = [cell_of(f"p{number}", sampler=GREEDY) for number in range(10)]
    starter = ScriptedStarter(concurrency=2)

    def crowded(cell: Cell) -> Generation:
        raise EngineFailed(f"{cell.id} beside another", remedy="none")

    starter.crowded = crowded
    report = scene_of(*cells, runs=2, starter=starter).check()

    assert set(verdicts_of(report).values()) == {Match()}
    # The first, one after each failure, and the fresh one.
    assert len(starter.engines) == 5


def test_all_cells_that_kill_the_engine_end_the_trying() -> None:
    """Three deaths in a row of runs alone, as with one request at a time."""
    scene = _scene(*_dies(*(cell.id for cell in CELLS)), concurrency=4)
    report = scene.check()

    not_tried = Inconclusive(
        reason="not tried: the engine failed 3 times in a row", remedy=AFTER_FAILURES
    )
    assert list(verdicts_of(report).values()) == [DIED, DIED, DIED, not_tried]


def test_a_refusal_among_answers_costs_only_its_cell() -> None:
    """No process, and no further run of the cell is sent."""
    scene = _scene(Fault(what="generate", about=A.id, error=REFUSED), runs=10)
    report = scene.check()

    refused = Inconclusive(reason=REFUSED.reason, remedy=REFUSED.remedy)
    assert verdicts_of(report) == {A.id: refused, B.id: Match(), C.id: Match(), D.id: Match()}
    assert len(scene.starter.engines) == 2
    assert scene.starter.generated().count(A.id) == 1


def test_a_run_that_was_sent_before_its_cell_was_given_up_is_not_counted() -> None:
    """Its outcome would be the first run of a cell without one."""
    fault = Fault(what="generate", about=A.id, error=REFUSED, time=2)
    # Four runs at a time, the newest first: the second answer is for the third run.
    starter = ScriptedStarter(faults=[fault], concurrency=4)
    scene = scene_of(A, runs=9, starter=starter)
    report = scene.check()

    refused = Inconclusive(reason=REFUSED.reason, remedy=REFUSED.remedy)
    assert [(cell.verdict, cell.runs) for cell in report.cells] == [(refused, 2)]
    assert scene.starter.generated() == [A.id] * 4
    assert scene.progress.runs_accounted_for == 9


def test_fail_fast_ends_the_runs_in_flight() -> None:
    """The finding is kept, and what was not delivered before it is not measured."""
    goldens = MemoryGoldens([golden_of(A, generation_of(9)), *map(golden_of, CELLS[1:])])
    starter = ScriptedStarter(concurrency=2)
    scene = scene_of(*CELLS, starter=starter, goldens=goldens)
    measured, _ = measure_tokens(scene.plan, ports=scene.ports, fail_fast=True)

    assert measured.stopped_at == A
    assert set(measured.repetitions) == {A}
    assert starter.generated() == [B.id, A.id]
    assert starter.are_all_closed


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8])
def test_an_interruption_keeps_a_consistent_measurement(at: int) -> None:
    """Whatever was delivered counts, and no engine is left."""
    cell = CELLS[at % 4]
    scene = _scene(
        Fault(what="generate", about=cell.id, error=KeyboardInterrupt(), time=at // 4 + 1)
    )
    report = scene.check()

    assert report.interrupted
    assert all(each.runs < 3 for each in report.cells if each.cell == cell)
    assert scene.starter.are_all_closed


def test_the_fresh_process_loads_while_the_first_works_on_the_last_model() -> None:
    """If the engine has room; it gets the state of the file, and a limit of one."""
    starter = ScriptedStarter(concurrency=2, has_room_for_another=True)
    scene = scene_of(A, OTHER, starter=starter)
    report = scene.check()

    loads = [
        (asked.process, asked.what, asked.about)
        for asked in starter.log
        if asked.what in {"load", "begin_load"}
    ]
    assert loads == [
        (1, "load", "tiny"),
        (1, "load", "other"),
        (2, "begin_load", "other"),
        (2, "load", "other"),
        (2, "load", "tiny"),
    ]
    fresh = starter.engines[1]
    assert fresh.limits == [1, 1]
    assert [file.states for file in fresh.files] == [(STATE,), (STATE,)]
    assert set(verdicts_of(report).values()) == {Match()}


def test_a_fresh_process_in_place_of_a_dead_one_is_limited_too() -> None:
    """It makes one run at a time, so further contexts would only take memory."""
    scene = _scene(*_dies(D.id, time=3))
    scene.check()

    assert [engine.limits for engine in scene.starter.engines] == [[None], [1], [1]]


def test_a_load_that_fails_beside_the_first_process_is_tried_again() -> None:
    """Its memory may have been that of the first one."""
    for error in (DEAD, REFUSED):
        fault = Fault(what="load", about="tiny", error=error, time=2)
        starter = ScriptedStarter(faults=[fault], has_room_for_another=True)
        report = scene_of(A, starter=starter).check()

        assert verdicts_of(report) == {A.id: Match()}
        assert [asked.process for asked in starter.log if asked.what == "load"] == [1, 2, 3]
        assert starter.are_all_closed


def test_a_model_that_is_given_up_after_its_early_load_needs_another_process() -> None:
    """An engine is never asked for one model while it loads another."""
    fault = Fault(what="generate", about=OTHER.id, error=REFUSED)
    starter = ScriptedStarter(faults=[fault], has_room_for_another=True)
    report = scene_of(A, OTHER, starter=starter).check()

    loads = [(asked.process, asked.about) for asked in starter.log if asked.what == "load"]
    assert loads == [(1, "tiny"), (1, "other"), (3, "tiny")]
    assert verdicts_of(report)[A.id] == Match()


class _VanishingFiles(MemoryModelFiles):
    """The file is there once."""

    calls = 0

    def locate(self, model: ModelSpec) -> ModelFile:
        """Return the file, or raise."""
        self.calls += 1
        if self.calls > 1:
            raise MeasurementUnavailable("gone", remedy="none")
        return super().locate(model)


def test_a_file_that_is_gone_is_not_loaded_early() -> None:
    """It is reported when the model is needed."""
    starter = ScriptedStarter(has_room_for_another=True)
    scene = scene_of(A, starter=starter)
    scene.files = _VanishingFiles()
    report = scene.check()

    assert verdicts_of(report) == {A.id: Inconclusive(reason="gone", remedy="none")}
    assert [asked.what for asked in starter.log if asked.process == 2] == ["start"]
