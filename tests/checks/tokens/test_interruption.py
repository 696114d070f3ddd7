"""Ctrl-C ends the measurement, and measured cells stay."""

from collections.abc import Iterator

import pytest

from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.verdicts import Inconclusive, Match, Nondeterministic
from tests.fakes.checking import Scene, recorded_for, report_on, scene_of, verdicts_of
from tests.fakes.engines import DEAD, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryModelFiles
from tests.fakes.values import cell_of, generation_of, matrix_of, suite_of
from tests.fakes.watching import RecordingProgress, Tripwire

A, B = cell_of("haiku"), cell_of("fox")
OTHER = cell_of("haiku", model="other")
CELLS = (A, B, OTHER)
INTERRUPTED = Inconclusive(
    reason="the check was interrupted", remedy="let the check run to its end"
)
RUNS = 3


def _interrupted_at(step: int | None) -> tuple[Scene, Tripwire]:
    wire = Tripwire(at=step)
    scene = scene_of(
        matrix=matrix_of(suite_of(*CELLS, runs=RUNS), engines={"other": "second"}),
        starter=ScriptedStarter(step=wire),
        goldens=MemoryGoldens(recorded_for(*CELLS), step=wire),
    )
    scene.files = MemoryModelFiles(step=wire)
    scene.progress = RecordingProgress(step=wire)
    return scene, wire


def _interruptions() -> Iterator[tuple[Scene, GateReport]]:
    """Yield the same check once for every moment at which it can be interrupted."""
    whole, wire = _interrupted_at(None)
    assert not whole.check().interrupted
    for step in range(1, wire.steps + 1):
        scene, _ = _interrupted_at(step)
        yield scene, scene.check()


def test_an_interruption_at_any_point_leaves_a_report() -> None:
    """Every cell is in it, and the exit code shows the interruption."""
    reports = [report for _, report in _interruptions()]

    assert len(reports) > 30
    for report in reports:
        assert [cell.id for cell in report.cells] == [cell.id for cell in CELLS]
        assert report.interrupted
        assert exit_code_for(report) == ExitCode.INTERRUPTED


def test_measured_cells_keep_their_verdict() -> None:
    """A cell has a verdict exactly when all its runs were made."""
    for _, report in _interruptions():
        for cell in report.cells:
            assert cell.verdict == (Match() if cell.runs == RUNS else INTERRUPTED)


def test_the_later_it_comes_the_more_is_kept() -> None:
    """Nothing that was measured is lost by measuring more."""
    runs = [sum(cell.runs for cell in report.cells) for _, report in _interruptions()]

    assert runs == sorted(runs)
    assert set(runs) == set(range(RUNS * len(CELLS) + 1))


def test_an_interruption_leaves_no_process_behind() -> None:
    """Whenever it comes, also while engines are being started, each of them is closed."""
    for scene, _ in _interruptions():
        assert scene.starter.are_all_closed


def test_an_interruption_does_not_hide_a_difference() -> None:
    """Differing runs are a finding, and the exit code still shows the interruption."""
    script = {A: [generation_of(5), generation_of(6)]}
    starter = ScriptedStarter(
        script=script,
        faults=[Fault(what="generate", about=B.id, error=KeyboardInterrupt(), time=1)],
    )
    report = scene_of(A, B, runs=10, starter=starter).check()

    assert isinstance(report_on(report, A).verdict, Nondeterministic)
    assert verdicts_of(report)[B.id] == INTERRUPTED
    assert exit_code_for(report) == ExitCode.INTERRUPTED


def test_a_reason_from_before_the_interruption_is_kept() -> None:
    """A cell that had failed before shows why."""
    starter = ScriptedStarter(
        faults=[
            Fault(what="generate", about=A.id),
            Fault(what="generate", about=B.id, error=KeyboardInterrupt()),
        ]
    )
    report = scene_of(A, B, starter=starter).check()

    assert verdicts_of(report) == {
        A.id: Inconclusive(reason=DEAD.reason, remedy=DEAD.remedy),
        B.id: INTERRUPTED,
    }


@pytest.mark.parametrize("what", ["start", "describe"])
def test_an_interruption_before_the_first_run_measures_nothing(what: str) -> None:
    """There is a report, which shows that nothing was measured."""
    faults = [Fault(what=what, about="second", error=KeyboardInterrupt())]
    matrix = matrix_of(suite_of(A, OTHER), engines={"other": "second"})
    scene = scene_of(matrix=matrix, starter=ScriptedStarter(faults=faults))
    report = scene.check()

    assert verdicts_of(report) == {A.id: INTERRUPTED, OTHER.id: INTERRUPTED}
    assert not report.measured
    assert scene.starter.are_all_closed
