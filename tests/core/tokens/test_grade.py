"""The grade of a drift by its numbers."""

from dataclasses import replace

import pytest

from repro_gate.core.tokens.grade import (
    LARGEST_SHIFT,
    GradeReason,
    GradeWord,
    detection_factor,
)
from tests.fakes.values import grade_of


@pytest.mark.parametrize(
    ("p_value", "detectable_shift", "word"),
    [
        (0.01, 0.3, GradeWord.BEYOND),
        (0.02, 0.05, GradeWord.CONSISTENT),
        (0.02, 0.051, GradeWord.UNDECIDED),
    ],
)
def test_numbers_give_the_grade(p_value: float, detectable_shift: float, word: GradeWord) -> None:
    """Significance first, then whether a noticeable shift would have been detected."""
    assert grade_of(p_value=p_value, detectable_shift=detectable_shift).word is word


@pytest.mark.parametrize("reason", GradeReason)
def test_a_reason_gives_the_grade(reason: GradeReason) -> None:
    """Rounding cannot change prompts or samplers; without distances nothing is known."""
    is_certain = reason in {GradeReason.TEMPLATE, GradeReason.TOKENIZER, GradeReason.SAMPLER}
    shown_by = "tiny--fox--seed1" if is_certain else None

    grade = replace(
        grade_of(),
        reason=reason,
        shown_by=shown_by,
        variants=(),
        p_value=None,
        tests=0,
        detectable_shift=None,
    )

    expected = GradeWord.BEYOND if is_certain else GradeWord.UNDECIDED
    assert (grade.word, grade.needed_cells) == (expected, None)


def test_drifted_cells_that_are_not_compared_leave_it_open() -> None:
    """More cells like the others would not decide it."""
    grade = replace(grade_of(), not_compared=1)

    assert (grade.word, grade.needed_cells) == (GradeWord.UNDECIDED, None)
    assert replace(grade_of(p_value=0.01), not_compared=1).word is GradeWord.BEYOND


def test_a_single_cell_far_away_leaves_it_open() -> None:
    """However many others are near, and more of those would not decide it."""
    grade = replace(grade_of(), outlier="tiny--fox--seed1")

    assert (grade.word, grade.needed_cells) == (GradeWord.UNDECIDED, None)
    assert replace(grade_of(p_value=0.01), outlier=grade.outlier).word is GradeWord.BEYOND
    assert replace(grade, detectable_shift=0.1).needed_cells == 32
    with pytest.raises(ValueError, match="no variant that tiny--fox--seed1 is further than"):
        replace(grade, reason=GradeReason.STALE, variants=(), p_value=None, detectable_shift=None)


def test_the_needed_cells_detect_the_largest_shift() -> None:
    """With the spread of these; one less does not."""
    grade = grade_of(detectable_shift=0.1)
    spread = 0.1 / detection_factor(10, tests=1)
    needed = grade.needed_cells or 0

    assert (needed, grade.needed_tokens) == (32, 768)
    assert spread * detection_factor(needed, tests=1) <= LARGEST_SHIFT
    assert spread * detection_factor(needed - 1, tests=1) > LARGEST_SHIFT
    assert grade_of().needed_cells is None


def test_too_few_cells_are_undecided_however_alike() -> None:
    """No p-value of a sign-flip test of 6 cells is below 1/64."""
    grade = replace(grade_of(), cells=6, detectable_shift=None)

    assert (grade.word, grade.min_cells, grade.needed_cells) == (GradeWord.UNDECIDED, 7, 7)
    assert replace(grade, tests=2).min_cells == 8
    assert replace(grade, cells=7, detectable_shift=0.0).word is GradeWord.CONSISTENT
    assert (grade.needed_tokens, grade.tokens) == (280, 240)
