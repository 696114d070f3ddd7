"""The grades of drift in words: how far it is from what harmless changes do."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, assert_never

from repro_gate.core.outcome import Outcome, outcome_of_cell
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
from repro_gate.core.tokens.verdicts import Depends, Drift
from repro_gate.reports.findings.modes import remedy_of
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
_FURTHER: Final = "significantly further from the goldens than after"
_ORDER: Final = (GradeWord.BEYOND, GradeWord.UNDECIDED, GradeWord.CONSISTENT)
_VERIFY: Final = "an engine with the method verify that reports its random numbers"


def rank_of(grade: Grade | None) -> int:
    """Return the place of a grade, the one that needs most attention first."""
    return len(_ORDER) if grade is None else _ORDER.index(grade.word)


def outcomes_of_drifts(report: GateReport) -> Mapping[Outcome, int]:
    """Return the number of drifted cells of tokens with each outcome, of those with all runs."""
    drifted = (cell for cell in report.cells if isinstance(cell.verdict, Drift))
    return Counter(outcome_of_cell(cell, report) for cell in drifted if cell.unfinished is None)


def format_verdicts(report: GateReport) -> str:
    """Return the number of cells of tokens with each verdict, drifts with their grades."""
    counts = report.counts
    grades = format_grades(report.cells, report, of=counts.get(Drift.word, 0))
    return format_counts(counts, drifts=grades)


def format_grades(cells: Iterable[CellReport], report: GateReport, *, of: int) -> str:
    """Return the grades of the drifts among these cells in parentheses.

    Empty without a grade, and where nothing is recorded that the suite could compare with.

    Args:
        cells: some of the report.
        report: has the grades.
        of: the number of drifts, with those that have no grade.
    """
    found = map(report.grade_of, cells)
    counts = Counter(grade.word for grade in found if grade is not None and _is_of_use(grade))
    if of in counts.values():
        return f" ({', '.join(counts)})"
    graded = ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word])
    return f" ({graded})" if graded else ""


def describe_graded(cell: CellReport, report: GateReport) -> Description:
    """Describe the verdict on a cell, with the grade of its drift and what helps its server."""
    if isinstance(cell.verdict, Depends):
        described, known = describe(cell), remedy_of(cell, report)
        return described if known is None else replace(described, remedy=one_line(known))
    grade = report.grade_of(cell)
    if grade is None or not _is_of_use(grade):
        return describe(cell)
    if grade.word is GradeWord.CONSISTENT and cell.unfinished is not None:
        # No suite lets it pass.
        return replace(describe(cell), grade=one_line(grade.word))
    return replace(describe(cell), grade=_format_grade(grade), advice=_advise(grade))


def describe_grade(grade: Grade, *, record: str) -> Description:
    """Describe a grade.

    Args:
        grade: how the tokens of a model compare with harmless changes.
        record: the command that records harmless changes.
    """
    shown_by = grade.shown_by or _deciding_outlier(grade)
    is_open = grade.word is GradeWord.UNDECIDED
    return Description(
        claim=_claim(grade),
        advice=ADVICE_WITH_REMEDY if is_open else _advise(grade),
        reason=None if shown_by is None else one_line(f"shown by {shown_by}"),
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


def _is_of_use(grade: Grade) -> bool:
    """Return whether harmless changes were recorded, or the outcome depends on the grade."""
    return grade.reason is not GradeReason.NO_REFERENCE or grade.fail_on is not FailingDrift.ANY


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
            return f"the tokens are {_FURTHER} any recorded harmless change"
        case GradeWord.CONSISTENT:
            return f"the tokens are not {_FURTHER} a recorded harmless change"
        case GradeWord.UNDECIDED if _deciding_outlier(grade) is not None:
            return "a cell is much further from its golden than a recorded change moves any cell"
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
    outlier = _deciding_outlier(grade)
    if outlier is not None:
        return f"repro-gate explain {outlier}"
    return _VERIFY if grade.reason is GradeReason.NOT_VERIFIED else record


def _deciding_outlier(grade: Grade) -> str | None:
    """Return the outlier without which a grade would be consistent with rounding."""
    is_open = grade.word is GradeWord.UNDECIDED and not grade.not_compared
    return grade.outlier if is_open and grade.needed_cells is None else None


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
        shift = f"{percent(POWER)} to detect a shift of {nats(grade.detectable_shift)}"
        yield "power", f"{shift}; required for {LARGEST_SHIFT}"
