"""A drift is graded by the distances of its cells and those of the harmless changes."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from repro_gate.checks.tokens.check import check_tokens
from repro_gate.core.consistency import validate_report
from repro_gate.core.matrix import Suite
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.core.shards.split import lanes_of
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.grade import FailingDrift, Grade, GradeReason, GradeWord
from repro_gate.core.tokens.reference import Reference
from repro_gate.core.tokens.verification import Share, Verification, VerifiedToken
from repro_gate.ports import VerifyRequest
from tests.fakes.checking import STARTED_AT, Scene, scene_of
from tests.fakes.engines import Fault, ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryReferences
from tests.fakes.values import (
    GREEDY,
    cell_of,
    generation_of,
    golden_of,
    matrix_of,
    reference_of,
    suite_of,
    trace_of,
)

CELLS = tuple(cell_of("haiku", seed=seed) for seed in range(1, 11))


def recorded(cell: Cell) -> Generation:
    """Return the output of a cell as it was recorded."""
    return generation_of(cell.seed, 50, 51, 52, is_traced=True)


def drifting(cell: Cell) -> Generation:
    """Return another output of a cell."""
    return generation_of(cell.seed, 60, 61, 62, is_traced=True)


GOLDENS = {cell: golden_of(cell, recorded(cell)) for cell in CELLS}


def verifier(distances: Mapping[int, float | None]) -> Callable[[VerifyRequest], Verification]:
    """Return what draws each claimed token, of each seed, at a distance; None is unknown."""

    def verify(asked: VerifyRequest) -> Verification:
        distance = distances[asked.cell.seed]
        uniform = None if distance is None else 0.4 - distance
        share = Share(low=0.4, high=0.6)
        return tuple(
            VerifiedToken(
                id=token,
                logprob=-1.5,
                best=((token, -1.5), (99, -1.5)),
                drawn=99,
                uniform=uniform,
                share=share,
                drawn_share=None,
            )
            for token in asked.tokens
        )

    return verify


def scene(
    distances: Mapping[int, float | None],
    *references: Reference,
    suite: Suite | None = None,
    faults: tuple[Fault, ...] = (),
) -> Scene:
    """Return a check in which the cells of some seeds drift by a distance each."""
    starter = ScriptedStarter(
        script={
            cell: [drifting(cell) if cell.seed in distances else recorded(cell)] for cell in CELLS
        },
        verifier=verifier(distances),
        faults=faults,
    )
    return scene_of(
        matrix=matrix_of(suite or suite_of(*CELLS)),
        starter=starter,
        goldens=MemoryGoldens(GOLDENS.values()),
        references=MemoryReferences(*references),
    )


def reference(
    distance: float = 0.01, *, variant: str = "x", without: tuple[int, ...] = ()
) -> Reference:
    """Return a reference of the goldens, but for those of some seeds."""
    known = (golden for cell, golden in GOLDENS.items() if cell.seed not in without)
    return reference_of(*known, variant=variant, distance=distance)


def graded(report: GateReport) -> Grade:
    """Return the one grade of a report, which fits its cells."""
    assert validate_report(report) is None
    (grade,) = report.grades
    return grade


EVERY = {cell.seed: 0.1 + cell.seed / 100 for cell in CELLS}
"""Each cell far from its golden."""
NEAR = {cell.seed: 0.01 + (-1) ** cell.seed / 500 for cell in CELLS}
"""Each as near as a harmless change moves it."""


def test_a_check_without_drift_has_no_grade() -> None:
    """Whether or not there are references."""
    assert scene({}, reference()).check().grades == ()


def test_cells_far_from_their_goldens_are_beyond_rounding() -> None:
    """Further than under each harmless change."""
    near, far = reference(variant="near"), reference(0.09, variant="far")

    grade = graded(scene(EVERY, near, far).check())

    assert (grade.word, grade.reason) == (GradeWord.BEYOND, None)
    assert (grade.cells, grade.tokens, grade.not_compared, grade.tests) == (10, 40, 0, 1)
    assert [each.name for each in grade.variants] == ["far", "near"]
    assert [each.distance for each in grade.variants] == pytest.approx([0.09, 0.01])
    assert [grade.p_value, grade.distance, grade.explained] == pytest.approx([1 / 1024, 0.155, 0])
    assert grade.variants[0].kl_divergence == pytest.approx(0.004)
    assert (grade.kl_divergence is not None, grade.same_best) == (True, 0.75)


def test_cells_as_near_as_a_harmless_change_are_consistent_with_rounding() -> None:
    """It is a drift all the same, and a finding."""
    report = scene(NEAR, reference()).check()

    assert graded(report).word is GradeWord.CONSISTENT
    assert exit_code_for(report) is ExitCode.FINDINGS


def test_cells_that_match_count_with_a_distance_of_0() -> None:
    """A few far ones among many are no shift of the whole that could be excluded."""
    grade = graded(scene({1: 0.4, 2: 0.4}, reference(0.0)).check())

    assert (grade.word, grade.cells, grade.p_value) == (GradeWord.UNDECIDED, 10, 0.25)
    assert [grade.distance, grade.explained] == pytest.approx([0.08, 0.8])
    assert (grade.needed_cells or 0) > 10


@pytest.mark.parametrize(("distance", "is_outlier"), [(0.055, False), (0.07, True)])
def test_a_single_cell_far_away_is_named(distance: float, *, is_outlier: bool) -> None:
    """It is further by 0.05 than any cell under a harmless change: no longer consistent."""
    none = reference(0.0, variant="none")
    grade = graded(scene({**NEAR, 4: distance}, reference(), none).check())

    expected = GradeWord.UNDECIDED if is_outlier else GradeWord.CONSISTENT
    assert (grade.word, grade.needed_cells) == (expected, None)
    assert grade.outlier == (CELLS[3].id if is_outlier else None)


@pytest.mark.parametrize(
    ("distances", "code"),
    [
        (NEAR, ExitCode.PASSED),
        ({1: 0.4, 2: 0.4}, ExitCode.INCONCLUSIVE),
        (EVERY, ExitCode.FINDINGS),
    ],
)
def test_a_suite_can_fail_beyond_rounding_only(
    distances: Mapping[int, float], code: ExitCode
) -> None:
    """What cannot be decided is no pass."""
    suite = replace(suite_of(*CELLS), fail_on=FailingDrift.BEYOND_ROUNDING)

    report = scene(distances, reference(), suite=suite).check()

    assert graded(report).fail_on is FailingDrift.BEYOND_ROUNDING
    assert exit_code_for(report) is code


def test_without_references_it_cannot_be_decided() -> None:
    """The distances are known all the same."""
    grade = graded(scene(EVERY).check())

    assert (grade.word, grade.reason) == (GradeWord.UNDECIDED, GradeReason.NO_REFERENCE)
    assert (grade.cells, grade.variants) == (10, ())
    assert grade.distance == pytest.approx(0.155)


def test_a_reference_of_other_cells_is_none() -> None:
    """It has no entry for those that drifted."""
    grade = graded(scene({1: 0.1}, reference(without=(1,))).check())

    assert grade.reason is GradeReason.NO_REFERENCE


def test_references_of_other_goldens_are_stale() -> None:
    """The goldens were recorded again since."""
    others = [golden_of(cell, drifting(cell)) for cell in CELLS]

    grade = graded(scene(EVERY, reference_of(*others)).check())

    assert (grade.reason, grade.word) == (GradeReason.STALE, GradeWord.UNDECIDED)


def test_variants_that_know_different_cells_are_stale() -> None:
    """No cell can be compared with both."""
    first, second = reference(variant="a", without=(1,)), reference(variant="b", without=(2,))

    grade = graded(scene({1: 0.1, 2: 0.1}, first, second).check())

    assert (grade.reason, grade.not_compared) == (None, 2)
    only = [reference_of(GOLDENS[cell], variant=f"v{cell.seed}") for cell in CELLS[:2]]
    assert graded(scene({1: 0.1, 2: 0.1}, *only).check()).reason is GradeReason.STALE


def test_a_variant_without_cells_that_others_have_is_left_out() -> None:
    """By name; a drift beyond the others may not be beyond it."""
    partial = reference(0.5, variant="partial", without=(3,))

    grade = graded(scene(EVERY, reference(), partial).check())

    assert (grade.word, grade.left_out) == (GradeWord.BEYOND, ("partial",))
    assert [each.name for each in grade.variants] == ["x"]


def test_a_drifted_cell_without_reference_is_not_excused_by_the_others() -> None:
    """They are consistent with rounding, and it may not be."""
    grade = graded(scene(NEAR, reference(without=(3,))).check())

    assert (grade.word, grade.cells, grade.not_compared) == (GradeWord.UNDECIDED, 9, 1)


def test_an_engine_that_cannot_verify_leaves_it_open() -> None:
    """Neither can one that does not know its random numbers, of all cells or of one."""
    lost = tuple(Fault(what="verify", about=cell.id) for cell in CELLS)
    for check in (
        scene(EVERY, reference(), faults=lost),
        scene(dict.fromkeys(EVERY), reference()),
    ):
        grade = graded(check.check())
        assert (grade.reason, grade.not_compared) == (GradeReason.NOT_VERIFIED, 10)
        assert (grade.cells, grade.distance, grade.explained) == (0, None, None)
    assert graded(scene({**NEAR, 4: None}, reference()).check()).not_compared == 1


def test_an_engine_that_generates_by_another_seed_than_it_verifies_leaves_it_open() -> None:
    """All tokens of the goldens are drawn as it verifies, and others as it generates."""
    share = Share(low=0.1, high=0.9)

    def verify(asked: VerifyRequest) -> Verification:
        return tuple(
            VerifiedToken(
                id=token,
                logprob=-1.5,
                best=((token, -1.5),),
                drawn=token,
                uniform=0.4,
                share=share,
                drawn_share=share,
            )
            for token in asked.tokens
        )

    check = scene(EVERY, reference())
    starter = replace(check.starter, verifier=verify)
    grade = graded(replace(check, starter=starter).check())

    assert (grade.word, grade.reason) == (GradeWord.UNDECIDED, GradeReason.NOT_VERIFIED)


def test_a_suite_against_another_profile_is_graded_without_drift_too() -> None:
    """That is what it is for."""
    suite = replace(suite_of(*CELLS), against="cpu-test", fail_on=FailingDrift.BEYOND_ROUNDING)

    grade = graded(scene({}, reference(), suite=suite).check())

    assert (grade.word, grade.cells, grade.distance) == (GradeWord.CONSISTENT, 10, 0.0)
    assert graded(scene({}, suite=suite).check()).reason is GradeReason.NO_REFERENCE


def test_models_are_graded_apart_and_corrected_together() -> None:
    """Two grades by statistics, each with twice its p-value."""
    other = [replace(cell, model="other") for cell in CELLS]
    goldens = {**GOLDENS, **{cell: golden_of(cell, recorded(cell)) for cell in other}}
    check = replace(
        scene_of(
            *CELLS,
            *other,
            starter=ScriptedStarter(
                voice=drifting,
                verifier=verifier(EVERY),
            ),
        ),
        goldens=MemoryGoldens(goldens.values()),
        references=MemoryReferences(reference_of(*goldens.values())),
    )

    report = check.check()

    assert [(each.model, each.p_value, each.tests) for each in report.grades] == [
        ("tiny", 2 / 1024, 2),
        ("other", 2 / 1024, 2),
    ]


def test_devices_in_parallel_are_graded_together() -> None:
    """As one device is."""
    alone, check = scene(EVERY, reference()).check(), scene(EVERY, reference())

    report = check_tokens(
        check.plan,
        ports=check.ports,
        started=check.clock.now,
        started_at=STARTED_AT,
        device_plans=lanes_of(check.plan, ["cpu", "cuda"]),
    )

    assert graded(report) == graded(alone)


def test_another_choice_from_the_same_log_probabilities_is_beyond_rounding() -> None:
    """One cell shows it, without references or statistics."""
    cell = cell_of(sampler=GREEDY)
    claimed = recorded(cell).tokens
    choices = trace_of(claimed)

    def verify(asked: VerifyRequest) -> Verification:
        return tuple(
            VerifiedToken(
                id=token,
                logprob=choice.logprob,
                best=choice.best,
                drawn=token + 1,
                uniform=0.3,
                share=Share(low=0.4, high=0.6),
                drawn_share=None,
            )
            for token, choice in zip(asked.tokens, choices, strict=True)
        )

    starter = ScriptedStarter(script={cell: [drifting(cell)]}, verifier=verify)
    golden = golden_of(cell, recorded(cell))

    grade = graded(scene_of(cell, starter=starter, goldens=MemoryGoldens([golden])).check())

    assert (grade.word, grade.reason) == (GradeWord.BEYOND, GradeReason.SAMPLER)
    assert (grade.shown_by, grade.p_value, grade.cells) == (cell.id, None, 1)
