"""The grades of drift in words: how far it is from what harmless changes do."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias, assert_never

from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.grade import (
    ALPHA,
    LARGEST_SHIFT,
    POWER,
    FailingDrift,
    Grade,
    GradeReason,
    GradeWord,
)
from repro_gate.core.tokens.verdicts import Drift
from repro_gate.reports.findings.wording import (
    ACCEPT_OR_START_WITH,
    ADVICE_WITH_REMEDY,
    NO_ACTION,
    Description,
    describe,
    format_counts,
)
from repro_gate.reports.text.escape import Escaped, Line, escape_lines, limited, one_line
from repro_gate.reports.text.format import chance, nats, percent, plural

FIND_THE_CAUSE: Final = "Do not accept it before you know the cause: repro-gate explain CELL."
_REASONS: Final = {
    GradeReason.TEMPLATE: "a chat is rendered as another text, which no rounding can do",
    GradeReason.TOKENIZER: "the same text has other prompt tokens, which no rounding can do",
    GradeReason.SAMPLER: (
        "another token is drawn from the same log-probabilities, which no rounding can do"
    ),
    GradeReason.NO_REFERENCE: "no harmless change is recorded that could be compared with",
    GradeReason.STALE: "every recorded harmless change is of other goldens",
    GradeReason.NOT_VERIFIED: "the distance from the goldens is not known",
}
_ORDER: Final = (GradeWord.BEYOND, GradeWord.UNDECIDED, GradeWord.CONSISTENT)
_VERIFY: Final = "an engine with the method verify that reports its random numbers"

Grades: TypeAlias = Mapping[tuple[str, str], Grade]
"""By suite and model."""


def grades_of(report: GateReport) -> Grades:
    """Return the grades of a report."""
    return {(grade.suite, grade.model): grade for grade in report.grades}


def grade_of(cell: CellReport, grades: Grades) -> Grade | None:
    """Return the grade of a drifted cell; None for other verdicts, or if it was not graded."""
    is_drift = isinstance(cell.verdict, Drift)
    return grades.get((cell.suite, cell.cell.model)) if is_drift else None


def outcome_of_cell(cell: CellReport, grades: Grades) -> Outcome:
    """Return the outcome of one cell, whose suite may let pass a drift of its grade."""
    grade = grade_of(cell, grades)
    if grade is None or grade.fail_on is FailingDrift.ANY:
        return outcome_of_verdict(cell.verdict)
    return {
        GradeWord.CONSISTENT: Outcome.PASSED,
        GradeWord.UNDECIDED: Outcome.INCONCLUSIVE,
        GradeWord.BEYOND: Outcome.FAILED,
    }[grade.word]


def rank_of(grade: Grade | None) -> int:
    """Return the place of a grade, the one that needs most attention first."""
    return len(_ORDER) if grade is None else _ORDER.index(grade.word)


def outcomes_of_drifts(report: GateReport) -> Mapping[Outcome, int]:
    """Return the number of drifted cells of tokens with each outcome."""
    grades = grades_of(report)
    drifted = (cell for cell in report.cells if isinstance(cell.verdict, Drift))
    return Counter(outcome_of_cell(cell, grades) for cell in drifted)


def format_verdicts(report: GateReport) -> str:
    """Return the number of cells of tokens with each verdict, drifts with their grades."""
    counts = report.counts
    grades = format_grades(report.cells, grades_of(report), of=counts.get(Drift.word, 0))
    return format_counts(counts, drifts=grades)


def format_grades(cells: Iterable[CellReport], grades: Grades, *, of: int) -> str:
    """Return the grades of the drifts among these cells in parentheses; empty without a grade.

    Args:
        cells: some cells of tokens.
        grades: see `grades_of`.
        of: the number of drifts, with those that have no grade.
    """
    found = (grade_of(cell, grades) for cell in cells)
    counts = Counter(grade.word for grade in found if grade is not None)
    if of in counts.values():
        return f" ({', '.join(counts)})"
    graded = ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word])
    return f" ({graded})" if graded else ""


def describe_graded(cell: CellReport, grades: Grades) -> Description:
    """Describe the verdict on a cell, with the grade of its drift."""
    grade = grade_of(cell, grades)
    if grade is None:
        return describe(cell)
    return replace(describe(cell), grade=_format_grade(grade), advice=_advise(grade))


def describe_grade(grade: Grade, *, record: str) -> Description:
    """Describe a grade.

    Args:
        grade: how the tokens of a model compare with harmless changes.
        record: the command that records harmless changes.
    """
    reason = None if grade.shown_by is None else one_line(f"shown by {grade.shown_by}")
    is_open = grade.word is GradeWord.UNDECIDED
    return Description(
        claim=_claim(grade),
        advice=ADVICE_WITH_REMEDY if is_open else _advise(grade),
        reason=reason,
        remedy=one_line(_remedy(grade, record)) if is_open else None,
    )


def grade_lines(grade: Grade) -> tuple[Line, ...]:
    """Return the numbers that a grade rests on, as far as they are known."""
    variants = [f"{nats(each.distance)} variant {each.name}" for each in grade.variants]
    return (
        *escape_lines(_distance(grade)),
        *limited("distance", list(map(one_line, variants))),
        *limited("left out", list(map(one_line, grade.left_out))),
        *escape_lines(_similarity(grade)),
        *escape_lines(_evidence(grade)),
    )


def _format_grade(grade: Grade) -> Escaped:
    """Return the grade of a drift, and what it means in a suite that allows rounding."""
    if grade.fail_on is FailingDrift.ANY:
        return one_line(grade.word)
    match grade.word:
        case GradeWord.CONSISTENT:
            return one_line(f"{grade.word}, which this suite lets pass")
        case GradeWord.UNDECIDED:
            return one_line(f"{grade.word}, so it is neither a pass nor a finding")
        case GradeWord.BEYOND:
            return one_line(grade.word)
        case _:
            assert_never(grade.word)


def _advise(grade: Grade) -> str:
    if grade.word is GradeWord.BEYOND:
        return FIND_THE_CAUSE
    if grade.word is GradeWord.CONSISTENT and grade.fail_on is not FailingDrift.ANY:
        return NO_ACTION
    return ACCEPT_OR_START_WITH.format("what changed")


def _claim(grade: Grade) -> str:
    if grade.reason is not None:
        return _REASONS[grade.reason]
    match grade.word:
        case GradeWord.BEYOND:
            return "the tokens are further from the goldens than after any recorded harmless change"
        case GradeWord.CONSISTENT:
            return "the tokens are as near the goldens as after a recorded harmless change"
        case GradeWord.UNDECIDED if grade.needed_cells is None:
            return "some drifted cells could not be compared with a recorded harmless change"
        case GradeWord.UNDECIDED:
            return "the cells are too few to distinguish the drift from rounding"
        case _:
            assert_never(grade.word)


def _remedy(grade: Grade, record: str) -> str:
    cells, tokens = grade.needed_cells, grade.needed_tokens
    if cells is not None and tokens is not None:
        return f"{plural(cells, 'cell')} like these in the suite, with {plural(tokens, 'token')}"
    return _VERIFY if grade.reason is GradeReason.NOT_VERIFIED else record


def _distance(grade: Grade) -> Iterator[tuple[str, str]]:
    if grade.not_compared:
        yield "not compared", plural(grade.not_compared, "drifted cell")
    if grade.distance is not None:
        basis = f"{plural(grade.cells, 'cell')} with {plural(grade.tokens, 'token')}"
        yield "distance", f"{nats(grade.distance)} here, the mean of {basis}"


def _similarity(grade: Grade) -> Iterator[tuple[str, str]]:
    if grade.explained is not None:
        yield "explained", f"{percent(grade.explained)} of the tokens are drawn here too"
    if grade.same_best is not None:
        yield "same best", f"{percent(grade.same_best)} of the positions of drifted cells"
    if grade.kl_divergence is not None:
        known = [each for each in grade.variants if each.kl_divergence is not None]
        variant = "".join(f", {nats(each.kl_divergence or 0)} {each.name}" for each in known[:1])
        yield "KL divergence", f"at least {nats(grade.kl_divergence)} nats here{variant}"


def _evidence(grade: Grade) -> Iterator[tuple[str, str]]:
    if grade.p_value is not None:
        holm = f" after Holm for {plural(grade.tests, 'grade')}" if grade.tests > 1 else ""
        yield "evidence", f"p = {chance(grade.p_value)}{holm}; alpha {ALPHA}"
    if grade.detectable_shift is not None:
        shift = f"{percent(POWER)} for a shift of {nats(grade.detectable_shift)}"
        yield "power", f"{shift}; at most {LARGEST_SHIFT} is needed to decide"
