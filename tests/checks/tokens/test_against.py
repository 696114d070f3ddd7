"""A suite against a profile is compared with the goldens of that profile."""

from dataclasses import replace

from repro_gate.checks.tokens.check import measure_tokens
from repro_gate.core.matrix import Matrix
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match, Orphan
from tests.fakes.checking import scene_of, verdicts_of
from tests.fakes.engines import ScriptedStarter
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import PROFILE, cell_of, generation_of, golden_of, matrix_of, suite_of

HAIKU, FOX = cell_of("haiku"), cell_of("fox")
ELSEWHERE = "cpu-elsewhere"


def _matrix(*cells: Cell) -> Matrix:
    mild = replace(suite_of(*cells), fail_on=FailingDrift.BEYOND_ROUNDING, against=ELSEWHERE)
    return matrix_of(mild)


def test_the_goldens_of_the_other_profile_count() -> None:
    """Those of this one do not."""
    goldens = MemoryGoldens(
        [
            golden_of(HAIKU, generation_of(1, 2, 3, 4)),
            golden_of(HAIKU, profile=ELSEWHERE),
            golden_of(FOX, generation_of(1, 2, 3, 4), profile=ELSEWHERE),
        ]
    )

    found = verdicts_of(scene_of(matrix=_matrix(HAIKU, FOX), goldens=goldens).check())

    assert found[HAIKU.id] == Match()
    drift = found[FOX.id]
    assert isinstance(drift, Drift)
    assert drift.golden.profile == ELSEWHERE


def test_without_a_golden_there_nothing_is_measured() -> None:
    """Which is no finding here; another definition is none either."""
    other = golden_of(replace(FOX, max_tokens=3), profile=ELSEWHERE)
    goldens = MemoryGoldens([golden_of(HAIKU), other])

    found = verdicts_of(scene_of(matrix=_matrix(HAIKU, FOX), goldens=goldens).check())

    remedy = f"repro-gate update-snapshots on {ELSEWHERE}, with a suite of tokens"
    assert found == {
        HAIKU.id: Inconclusive(
            reason=f"there is no golden for {ELSEWHERE}, which its suite is against",
            remedy=remedy,
        ),
        FOX.id: Inconclusive(
            reason="the golden is for another definition of the cell: max_tokens was 3",
            remedy=remedy,
        ),
    }


def test_goldens_of_either_profile_are_no_orphans() -> None:
    """They are counted where the machine's own goldens are checked."""
    owl = cell_of("owl")
    goldens = MemoryGoldens(
        [golden_of(HAIKU, profile=ELSEWHERE), golden_of(owl, profile=ELSEWHERE), golden_of(owl)]
    )

    there = scene_of(matrix=_matrix(HAIKU), goldens=goldens).check()
    here = scene_of(HAIKU, goldens=goldens).check()

    assert there.orphans == ()
    assert here.orphans == (Orphan(id=owl.id, origin=PROFILE),)


def test_a_drift_that_may_be_rounding_ends_no_check() -> None:
    """Nor does a missing golden there: only nondeterminism is a finding by itself."""
    starter = ScriptedStarter(script={HAIKU: [generation_of(9)], FOX: [generation_of(1)]})
    goldens = MemoryGoldens([golden_of(HAIKU, profile=ELSEWHERE)])
    scene = scene_of(matrix=_matrix(HAIKU, FOX), starter=starter, goldens=goldens)

    measured, _ = measure_tokens(scene.plan, ports=scene.ports, fail_fast=True)

    assert measured.stopped_at is None
    assert measured.repetitions.keys() == {HAIKU, FOX}


def test_runs_that_differ_end_a_check_against_a_profile_too() -> None:
    """With --fail-fast, as everywhere."""
    starter = ScriptedStarter(script={HAIKU: [generation_of(9), generation_of(8)]})
    goldens = MemoryGoldens([golden_of(HAIKU, profile=ELSEWHERE)])
    scene = scene_of(matrix=_matrix(HAIKU, FOX), starter=starter, goldens=goldens)

    measured, _ = measure_tokens(scene.plan, ports=scene.ports, fail_fast=True)

    assert measured.stopped_at == HAIKU
