"""One generation per model is expected to differ, or the check could not fail."""

from dataclasses import replace

from repro_gate.core.cells import MAX_SEED, Cell
from repro_gate.core.divergence import first_divergence
from repro_gate.core.outcome import ExitCode, Outcome, decide, exit_code_for
from repro_gate.core.report import ControlReport
from repro_gate.core.tokens import Generation
from repro_gate.core.verdicts import Inconclusive, Match
from tests.fakes.checking import recorded_for, scene_of, verdicts_of
from tests.fakes.engines import DEAD, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import GREEDY, answer_to, cell_of, generation_of, golden_of

A, B = cell_of("haiku"), cell_of("fox")
GREEDY_CELL = cell_of("moon", sampler=GREEDY)
CONTROL = replace(A, seed=A.seed + 1)
SAID = generation_of(5, 6, 7)


def _ignores_seeds(cell: Cell) -> Generation:
    return answer_to(replace(cell, seed=1))


def test_a_control_that_differs_supports_the_check() -> None:
    """The first sampled cell of each model is asked once more, with the next seed."""
    other = cell_of("haiku", model="other")
    report = scene_of(A, B, other).check()

    assert report.controls == tuple(
        ControlReport(
            model=cell.model,
            cell=cell.id,
            seed=43,
            divergence=first_divergence(answer_to(cell), answer_to(replace(cell, seed=43))),
        )
        for cell in (A, other)
    )
    assert exit_code_for(report) == ExitCode.PASSED


def test_a_control_that_does_not_differ_fails_the_check() -> None:
    """Every cell matches, and still nothing was shown."""
    starter = ScriptedStarter(voice=_ignores_seeds)
    goldens = MemoryGoldens([golden_of(cell, _ignores_seeds(cell)) for cell in (A, B)])
    report = scene_of(A, B, starter=starter, goldens=goldens).check()

    assert set(verdicts_of(report).values()) == {Match()}
    assert report.controls == (ControlReport(model="tiny", cell=A.id, seed=43, divergence=None),)
    assert exit_code_for(report) == ExitCode.FINDINGS


def test_a_greedy_model_has_no_control() -> None:
    """At temperature 0 another seed must not change anything, so it shows nothing."""
    scene = scene_of(GREEDY_CELL)
    report = scene.check()

    assert report.controls == ()
    assert scene.starter.generated() == [GREEDY_CELL.id] * 3
    assert exit_code_for(report) == ExitCode.PASSED


def test_a_greedy_cell_is_passed_over() -> None:
    """The control is the first cell of the model whose seed matters."""
    report = scene_of(GREEDY_CELL, B, A).check()

    assert [control.cell for control in report.controls] == [B.id]


def test_the_control_runs_once_and_in_the_first_process() -> None:
    """It comes when every cell had its first runs, and is no run of its cell."""
    scene = scene_of(A, B, runs=3)
    report = scene.check()

    assert scene.starter.generated(process=1) == [A.id, A.id, B.id, B.id, CONTROL.id]
    assert [cell.runs for cell in report.cells] == [3, 3]


def test_the_seed_of_a_control_stays_in_range() -> None:
    """After the last seed comes the first one."""
    report = scene_of(cell_of(seed=MAX_SEED)).check()

    assert [control.seed for control in report.controls] == [1]


def test_a_control_without_a_golden_is_compared_with_the_first_run() -> None:
    """Before anything is recorded it is known whether the check could fail."""
    starter = ScriptedStarter(voice=_ignores_seeds)
    report = scene_of(A, starter=starter, goldens=MemoryGoldens()).check()

    assert [control.failed for control in report.controls] == [True]


def test_a_control_is_compared_with_the_golden() -> None:
    """It must differ from what the cells are compared with."""
    starter = ScriptedStarter(script={A: [SAID], CONTROL: [generation_of(8, 6, 7)]})
    golden = golden_of(A, generation_of(8, 6, 7))
    report = scene_of(A, starter=starter, goldens=MemoryGoldens([golden])).check()

    assert [control.failed for control in report.controls] == [True]


def test_a_control_that_cannot_run_leaves_its_cell_inconclusive() -> None:
    """Its agreement proves nothing, and for the others the next sampled cell stands in."""
    faults = [Fault(what="generate", about=CONTROL.id, error=DEAD)]
    scene = scene_of(A, B, starter=ScriptedStarter(faults=faults))
    report = scene.check()

    assert verdicts_of(report) == {
        A.id: Inconclusive(reason=DEAD.reason, remedy=None),
        B.id: Match(),
    }
    assert [control.cell for control in report.controls] == [B.id]
    assert decide(report) == Outcome.INCONCLUSIVE


def test_after_three_deaths_no_control_is_tried() -> None:
    """The model is the cause, then; what was not shown is inconclusive."""
    cells = [cell_of(prompt) for prompt in ("haiku", "fox", "moon", "sea")]
    faults = [Fault(what="generate", about=replace(c, seed=43).id, error=DEAD) for c in cells]
    scene = scene_of(*cells, starter=ScriptedStarter(faults=faults))
    report = scene.check()

    words = [cell.verdict.word for cell in report.cells]
    assert (words, report.controls) == (["inconclusive"] * 3 + ["match"], ())


def test_a_cell_that_could_not_run_is_not_the_control() -> None:
    """The next sampled cell stands in for it."""
    faults = [Fault(what="generate", about=A.id, error=DEAD)]
    scene = scene_of(A, B, starter=ScriptedStarter(faults=faults))

    assert [control.cell for control in scene.check().controls] == [B.id]


def test_a_cell_whose_runs_differ_may_be_the_control() -> None:
    """A finding in the cell does not excuse the control."""
    starter = ScriptedStarter(script={A: [SAID, generation_of(9)]})
    scene = scene_of(A, starter=starter, goldens=MemoryGoldens(recorded_for(A)))

    assert [control.cell for control in scene.check().controls] == [A.id]
