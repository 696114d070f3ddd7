"""Goldens belong to a profile, and every golden belongs to a cell."""

import pytest

from repro_gate.core.matrix import plan
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.verdicts import Match, Orphan, Unrecorded
from repro_gate.errors import InputInvalid
from tests.fakes.checking import Scene, recorded_for, scene_of, verdicts_of
from tests.fakes.engines import DEAD, Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import (
    ENGINE_FACTS,
    PROFILE,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    suite_of,
)

A, B, C = cell_of("haiku"), cell_of("fox"), cell_of("moon")
ON_GPU = cell_of("haiku", model="large")
GPU = EngineReport(name="gpu", profile="cuda-sm90", facts=ENGINE_FACTS)


def test_the_golden_of_another_profile_is_never_matched() -> None:
    """Even if its tokens are equal."""
    goldens = MemoryGoldens([golden_of(A, profile="cpu-other"), golden_of(A, profile="cpu-tes")])
    report = scene_of(A, goldens=goldens).check()

    assert verdicts_of(report) == {A.id: Unrecorded(reason="there is no golden for this profile")}


def test_the_profile_decides_which_golden_is_compared() -> None:
    """Where two profiles disagree, each is right on its own machine."""
    other = golden_of(A, generation_of(9), profile="cpu-other")
    report = scene_of(A, goldens=MemoryGoldens([other, golden_of(A)])).check()

    assert verdicts_of(report) == {A.id: Match()}


def test_each_engine_has_its_own_profile() -> None:
    """A matrix over two machines reads each cell's golden where its engine belongs."""
    matrix = matrix_of(suite_of(A, ON_GPU), engines={"large": "gpu"})
    goldens = MemoryGoldens([golden_of(A), golden_of(ON_GPU, profile=GPU.profile)])
    starter = ScriptedStarter(reports={"gpu": GPU})
    report = scene_of(matrix=matrix, starter=starter, goldens=goldens).check()

    assert verdicts_of(report) == {A.id: Match(), ON_GPU.id: Match()}
    assert {cell.id: cell.profile for cell in report.cells} == {
        A.id: PROFILE,
        ON_GPU.id: GPU.profile,
    }


def test_a_golden_under_another_engines_profile_does_not_count() -> None:
    """Not even when that profile is part of the same check."""
    matrix = matrix_of(suite_of(A, ON_GPU), engines={"large": "gpu"})
    starter = ScriptedStarter(reports={"gpu": GPU})
    goldens = MemoryGoldens([golden_of(A), golden_of(ON_GPU)])
    report = scene_of(matrix=matrix, starter=starter, goldens=goldens).check()

    assert verdicts_of(report)[ON_GPU.id] == Unrecorded(
        reason="there is no golden for this profile"
    )


def test_a_golden_without_a_cell_is_orphaned() -> None:
    """What no cell uses is a finding; orphans are in the order of their ids."""
    report = scene_of(B, goldens=MemoryGoldens(recorded_for(C, B, A))).check()

    assert [(cell.id, cell.verdict) for cell in report.cells] == [(B.id, Match())]
    assert report.orphans == (Orphan(id=A.id, origin=PROFILE), Orphan(id=C.id, origin=PROFILE))
    assert exit_code_for(report) == ExitCode.FINDINGS


def test_the_goldens_of_other_suites_are_not_orphaned() -> None:
    """Orphans are those of the whole matrix, not of what was selected from it."""
    matrix = matrix_of(suite_of(A, B), suite_of(C, name="release"))
    scene = Scene(plan=plan(matrix, only=A.id), goldens=MemoryGoldens(recorded_for(A, B, C)))

    assert verdicts_of(scene.check()) == {A.id: Match()}


def test_the_goldens_of_other_profiles_are_not_orphaned() -> None:
    """A check on this machine does not judge them."""
    goldens = MemoryGoldens([golden_of(A), golden_of(B, profile="cpu-other")])

    assert verdicts_of(scene_of(A, goldens=goldens).check()) == {A.id: Match()}


def test_two_engines_of_one_profile_report_an_orphan_once() -> None:
    """A golden is one file, however many engines could use it."""
    other = cell_of("haiku", model="other")
    matrix = matrix_of(suite_of(A, other), engines={"other": "second"})
    report = scene_of(matrix=matrix, goldens=MemoryGoldens(recorded_for(A, other, B))).check()

    assert report.orphans == (Orphan(id=B.id, origin=PROFILE),)


def test_an_orphan_may_be_broken() -> None:
    """Orphaned goldens are not read."""
    goldens = MemoryGoldens(recorded_for(A), broken=[(PROFILE, B.id)])

    report = scene_of(A, goldens=goldens).check()
    assert verdicts_of(report) == {A.id: Match()}
    assert report.orphans == (Orphan(id=B.id, origin=PROFILE),)


def test_all_broken_goldens_are_reported_before_any_measurement() -> None:
    """One error names each, no model is loaded, and no process is left behind."""
    goldens = MemoryGoldens(recorded_for(B), broken=[(PROFILE, C.id), (PROFILE, A.id)])
    scene = scene_of(A, B, C, goldens=goldens)
    with pytest.raises(InputInvalid) as caught:
        scene.check()

    assert str(caught.value).splitlines() == [
        f"{PROFILE}/{A.id}.json: expected JSON, found a tear",
        f"{PROFILE}/{C.id}.json: expected JSON, found a tear",
    ]
    assert [asked.what for asked in scene.starter.log] == ["start", "describe"]
    assert scene.starter.are_all_closed


def test_broken_goldens_of_every_engine_are_reported() -> None:
    """The error does not stop at the first profile."""
    matrix = matrix_of(suite_of(A, ON_GPU), engines={"large": "gpu"})
    broken = [(PROFILE, A.id), (GPU.profile, ON_GPU.id)]
    starter = ScriptedStarter(reports={"gpu": GPU})
    scene = scene_of(matrix=matrix, starter=starter, goldens=MemoryGoldens(broken=broken))
    with pytest.raises(InputInvalid) as caught:
        scene.check()

    assert len(str(caught.value).splitlines()) == 2


def test_goldens_are_not_read_for_an_engine_without_a_profile() -> None:
    """Nothing is compared, and nothing is orphaned."""
    faults = [Fault(what="describe", about="scripted", error=DEAD)]
    goldens = MemoryGoldens(recorded_for(B), broken=[(PROFILE, A.id)])
    report = scene_of(A, starter=ScriptedStarter(faults=faults), goldens=goldens).check()

    assert [cell.id for cell in report.cells] == [A.id]
