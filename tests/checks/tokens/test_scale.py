"""Costs grow no more than necessary with runs and cells."""

import gc
from itertools import count

from repro_gate.checks.tokens.record import propose
from repro_gate.core.matrix import plan
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, Token
from repro_gate.core.tokens.verdicts import Match
from tests.fakes.checking import Scene, recorded_for, scene_of, verdicts_of
from tests.fakes.counting import calls_in
from tests.fakes.engines import ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    GREEDY,
    answer_to,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    suite_of,
)
from tests.fakes.watching import RecordingProgress


def _cells(count: int) -> list[Cell]:
    return [cell_of(seed=seed, sampler=GREEDY) for seed in range(1, count + 1)]


def _generations_alive() -> int:
    gc.collect()
    return sum(type(thing) in {Generation, Token} for thing in gc.get_objects())


def test_ten_thousand_runs_keep_no_generation_but_the_first() -> None:
    """However often a cell is run, what is alive meanwhile does not grow."""
    alive: list[int] = []
    runs = count(1)

    def voice(cell: Cell) -> Generation:
        if next(runs) % 2_500 == 0:
            alive.append(_generations_alive())
        return answer_to(cell)

    scene = scene_of(cell_of(sampler=GREEDY), runs=10_000)
    scene.starter = ScriptedStarter(voice=voice, keeps_log=False)
    scene.progress = RecordingProgress(keeps_log=False)
    report = scene.check()

    assert [cell.runs for cell in report.cells] == [10_000]
    assert set(verdicts_of(report).values()) == {Match()}
    assert max(alive) == alive[0]


def test_checking_takes_as_many_steps_as_there_are_cells() -> None:
    """Ten times the cells are ten times the work, not a hundred times."""

    def calls_for(cells: int) -> int:
        planned = plan(matrix_of(suite_of(*_cells(cells), runs=2)))
        scene = Scene(plan=planned, goldens=MemoryGoldens(recorded_for(*_cells(cells))))
        return calls_in(scene.check)

    assert calls_for(2_000) <= 10.5 * calls_for(200)


def test_proposing_takes_as_many_steps_as_there_are_goldens() -> None:
    """The old goldens are listed once, not once for each new one."""

    def calls_for(cells: int) -> int:
        goldens = MemoryGoldens(recorded_for(*_cells(cells)))
        observed = [golden_of(cell, generation_of(9)) for cell in _cells(cells)]
        return calls_in(lambda: propose(observed, goldens=goldens, digests={}))

    assert calls_for(2_000) <= 10.5 * calls_for(200)
