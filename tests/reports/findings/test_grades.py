"""The grades of drift in words."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.outcome import Outcome
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.grade import NOT_ROUNDING, FailingDrift, Grade, GradeReason, GradeWord
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match
from repro_gate.reports.findings.grades import (
    describe_grade,
    describe_graded,
    format_verdicts,
    grade_lines,
)
from repro_gate.reports.findings.summary import explain_outcome
from repro_gate.reports.findings.tokens import explain_command, grade_findings, token_findings
from tests.fakes.values import grade_of
from tests.reports.conftest import (
    cell_of,
    cell_report_of,
    drift_of,
    gate_report_of,
    generation_of,
    graded_report_of,
)

BEYOND = grade_of(p_value=0.001)
UNDECIDED = grade_of(detectable_shift=0.11)
RECORD = "repro-gate record-reference"


def without_numbers(reason: GradeReason) -> Grade:
    """Return a grade that no statistics decide."""
    shown_by = "tiny--fox--seed1" if reason in NOT_ROUNDING else None
    return Grade(suite="quick", model="tiny", reason=reason, shown_by=shown_by)


def test_numbers_are_shown_with_those_of_the_variants() -> None:
    """The distance comes first, and the power last."""
    grade = replace(UNDECIDED, tests=2, left_out=("old-build",), not_compared=3)

    assert grade_lines(grade) == (
        ("not compared", "3 drifted cells"),
        ("distance", "0.0200 here, the mean of 10 cells with 240 tokens"),
        ("distance", "0.0100 variant no-flash-attention"),
        ("left out", "old-build"),
        ("explained", "90 % of the tokens are drawn here too"),
        ("same best", "96 % of the positions of drifted cells"),
        ("KL divergence", "at least 0.0050 nats here, 0.0040 no-flash-attention"),
        ("evidence", "p = 0.02 after Holm for 2 grades; alpha 0.01"),
        ("power", "80 % to detect a shift of 0.1100; required for 0.05"),
    )


def test_one_grade_needs_no_correction() -> None:
    """Without a divergence of a variant there is only that of now."""
    bare = tuple(replace(each, kl_divergence=None) for each in grade_of().variants)
    lines = dict(grade_lines(replace(grade_of(), variants=bare)))

    assert lines["evidence"] == "p = 0.02; alpha 0.01"
    assert lines["KL divergence"] == "at least 0.0050 nats here"


@pytest.mark.parametrize("reason", GradeReason)
def test_a_reason_needs_no_numbers(reason: GradeReason) -> None:
    """What rounding cannot do names its cell; what is not known names its remedy."""
    grade = without_numbers(reason)
    found = describe_grade(grade, record=RECORD)

    assert grade_lines(grade) == ()
    if reason in NOT_ROUNDING:
        assert (found.reason, found.remedy) == ("shown by tiny--fox--seed1", None)
        assert found.advice.endswith(": repro-gate explain CELL.")
        assert found.claim.endswith(", which no rounding can do")
    else:
        is_recordable = reason is not GradeReason.NOT_VERIFIED
        assert (found.reason, found.remedy == RECORD) == (None, is_recordable)
        assert found.advice == "Apply the remedy and check again."


@pytest.mark.parametrize(
    ("grade", "claim", "remedy"),
    [
        (BEYOND, "the tokens are significantly further from the goldens than", None),
        (grade_of(), "the tokens are not significantly further from the goldens than", None),
        (
            UNDECIDED,
            "the cells are too few to distinguish the drift from rounding",
            "38 cells like these in the suite, with 912 tokens",
        ),
        (
            replace(UNDECIDED, not_compared=1),
            "some drifted cells could not be compared with a recorded harmless change",
            RECORD,
        ),
        (
            replace(grade_of(), outlier="tiny--fox--seed1"),
            "a cell is much further from its golden than a recorded change moves any cell",
            "repro-gate explain tiny--fox--seed1",
        ),
    ],
)
def test_statistics_have_their_claim(grade: Grade, claim: str, remedy: str | None) -> None:
    """If the cells do not suffice, it is shown what would."""
    found = describe_grade(grade, record=RECORD)

    assert found.claim.startswith(claim)
    assert found.remedy == remedy


def test_an_outlier_is_named_where_it_decides() -> None:
    """Not where cells are missing, or the drift is beyond rounding."""
    far = replace(grade_of(), outlier="tiny--fox--seed1")
    others = (replace(far, not_compared=1), replace(far, detectable_shift=0.11))

    assert describe_grade(far, record=RECORD).reason == "shown by tiny--fox--seed1"
    for grade in (*others, replace(BEYOND, outlier="tiny--fox--seed1")):
        assert describe_grade(grade, record=RECORD).reason is None


@pytest.mark.parametrize(
    ("grade", "fail_on", "outcome", "words"),
    [
        (BEYOND, FailingDrift.ANY, Outcome.FAILED, ""),
        (BEYOND, FailingDrift.BEYOND_ROUNDING, Outcome.FAILED, ""),
        (grade_of(), FailingDrift.ANY, Outcome.FAILED, ""),
        (grade_of(), FailingDrift.BEYOND_ROUNDING, Outcome.PASSED, ", which this suite lets pass"),
        (UNDECIDED, FailingDrift.ANY, Outcome.FAILED, ""),
        (
            UNDECIDED,
            FailingDrift.BEYOND_ROUNDING,
            Outcome.INCONCLUSIVE,
            ", so it is neither a pass nor a finding",
        ),
    ],
)
def test_a_suite_may_let_rounding_pass(
    grade: Grade, fail_on: FailingDrift, outcome: Outcome, words: str
) -> None:
    """The drift is shown all the same, and why it passes."""
    grade = replace(grade, fail_on=fail_on, suite="embedded", model="tiny-qwen2")
    cell = drift_of(generation_of("a b"), generation_of("a c"), cell_of())
    report = gate_report_of(cell, grades=(grade,))

    assert [each.outcome for each in grade_findings(report)] == [outcome]
    (finding,) = token_findings(report)
    assert (finding.outcome, finding.description.grade) == (outcome, f"{grade.word}{words}")


@pytest.mark.parametrize(
    ("drifts", "grades", "words"),
    [
        (("m", "m"), {"m": BEYOND}, "1 match, 2 drift (beyond rounding)"),
        (("m", "n"), {"m": BEYOND}, "1 match, 2 drift (1 beyond rounding)"),
        (("m", "n"), {}, "1 match, 2 drift"),
        (("m", "n"), {"m": without_numbers(GradeReason.NO_REFERENCE)}, "1 match, 2 drift"),
        (
            ("m", "n"),
            {"m": without_numbers(GradeReason.STALE)},
            "1 match, 2 drift (1 cannot be decided)",
        ),
        (
            ("k", "m", "n"),
            {"k": grade_of(), "m": UNDECIDED, "n": BEYOND},
            "1 match, 3 drift (1 beyond rounding, 1 cannot be decided, 1 consistent with rounding)",
        ),
    ],
)
def test_drifts_are_counted_with_their_grades(
    drifts: tuple[str, ...], grades: dict[str, Grade], words: str
) -> None:
    """The count of a verdict is that of all its cells."""
    cells = [
        drift_of(generation_of("a b"), generation_of("a c"), cell_of(str(number), model=model))
        for number, model in enumerate(drifts)
    ]
    graded = [replace(each, suite="embedded", model=name) for name, each in grades.items()]

    report = gate_report_of(*cells, cell_report_of(Match()), grades=tuple(graded))

    assert format_verdicts(report) == words


def test_the_worst_grade_is_first() -> None:
    """Among the grades, among the drifts, and for the command that explains one of them."""
    report = graded_report_of(FailingDrift.BEYOND_ROUNDING)
    words = [GradeWord.BEYOND, GradeWord.UNDECIDED, GradeWord.CONSISTENT]

    assert [each.word for each in grade_findings(report)] == words
    graded = [each.description.grade or "" for each in token_findings(report)]
    assert [each.partition(",")[0] for each in graded] == words
    assert explain_command(report) == "repro-gate explain smollm2--p0--seed42"


def test_no_suite_lets_a_drift_pass_of_which_runs_are_missing() -> None:
    """Its description and the reasons for the outcome do not say so either."""
    report = graded_report_of(FailingDrift.BEYOND_ROUNDING, GradeWord.CONSISTENT)
    lost = Inconclusive(reason="the engine ended", remedy=None)
    cells = tuple(
        replace(cell, unfinished=lost) if isinstance(cell.verdict, Drift) else cell
        for cell in report.cells
    )

    found = describe_graded(cells[0], replace(report, cells=cells))

    assert (found.grade or "") == GradeWord.CONSISTENT
    assert found.advice.startswith("If the change is intended")
    assert explain_outcome(replace(report, cells=cells)) == "2 of 3 cells not measured"


def test_a_grade_without_a_drift_passes() -> None:
    """A suite against another profile states what it would have detected."""
    (found,) = grade_findings(gate_report_of(cell_report_of(Match()), grades=(grade_of(),)))

    assert (found.outcome, found.subject) == (Outcome.PASSED, "tiny in suite quick")


def test_a_match_has_no_grade() -> None:
    """Its description is that without grades."""
    cell = cell_report_of(Match())
    report = gate_report_of(cell, grades=(replace(BEYOND, suite=cell.suite, model="tiny-qwen2"),))

    assert describe_graded(cell, report).grade is None


@pytest.mark.parametrize("fail_on", FailingDrift)
def test_a_cell_without_a_reference_needs_no_grade(fail_on: FailingDrift) -> None:
    """Unless its outcome depends on it."""
    grade = replace(without_numbers(GradeReason.NO_REFERENCE), fail_on=fail_on, suite="embedded")
    cell = drift_of(generation_of("a b"), generation_of("a c"), cell_of(model=grade.model))
    (found,) = token_findings(gate_report_of(cell, grades=(grade,)))

    assert (found.description.grade is None) == (fail_on is FailingDrift.ANY)


def test_a_reference_is_recorded_for_the_suite(
    drift: Callable[..., CellReport], gate_report: Callable[..., GateReport]
) -> None:
    """With the options that select the matrix and the device, where it is not refused."""
    cell = drift(generation_of("a b"), generation_of("a c"), cell_of())
    grade = replace(
        without_numbers(GradeReason.NO_REFERENCE), suite=cell.suite, model=cell.cell.model
    )
    (found,) = grade_findings(gate_report(cell, grades=(grade,), repeat_with=("--device", "cuda")))

    assert found.description.remedy == (
        "repro-gate record-reference --device cuda --suite embedded, "
        "where the goldens pass, such as before the change"
    )


def test_a_reference_to_another_profile_is_recorded_by_name(
    drift: Callable[..., CellReport], gate_report: Callable[..., GateReport]
) -> None:
    """Without --as the machine would refuse goldens of another profile."""
    cell = replace(drift(generation_of("a b"), generation_of("a c"), cell_of()), profile="gpu")
    grade = replace(
        without_numbers(GradeReason.NO_REFERENCE), suite=cell.suite, model=cell.cell.model
    )
    (found,) = grade_findings(gate_report(cell, grades=(grade,)))

    assert found.description.remedy == (
        "repro-gate record-reference --suite embedded --as NAME, on a machine that is good"
    )
