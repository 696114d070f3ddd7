"""The changes of a report, grouped by their cause, and the fact to suspect first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, assert_never

from repro_gate.core.cause import Cause, diagnose
from repro_gate.core.guards import require_at_least, require_text
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.text import digest_of
from repro_gate.core.tokens.golden import FactChange, is_always_recorded
from repro_gate.core.tokens.grade import Grade, GradeWord
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)

MAX_FACTS: Final = 20
"""Changed facts of a group that are kept; its id covers all of them."""
MAX_TEXT: Final = 200
"""Characters of a kept name, value or kind; a longer one ends in its digest."""
_ID_LENGTH: Final = 8
_DIGEST_LENGTH: Final = 12
_CONSEQUENCES: Final = ("graph.", "memory.")
"""Beginnings of facts that follow from others and differ between models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeGroup:
    """Cells with the same verdict, kind of change and changed facts."""

    id: str
    """Hexadecimal digits that depend on kind and facts alone."""
    kind: str
    """The verdict and the kind of change; untrusted text."""
    facts: tuple[FactChange, ...]
    """What changed since the goldens were recorded, the most likely causes first; untrusted."""
    other_facts: int = 0
    """The number of further changed facts."""
    cells: tuple[CellReport, ...]
    """In the order of the report."""

    def __post_init__(self) -> None:
        require_text(id=self.id, kind=self.kind)
        require_at_least(0, other_facts=self.other_facts)
        if not self.cells:
            raise ValueError("a group without cells")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """The changed fact that best separates the cells that differ from those that match."""

    change: FactChange
    differing: int
    """The cells that differ from their golden and have the change."""
    of_differing: int
    matching: int
    """The cells that match, and were measured with the new value too."""
    of_matching: int

    def __post_init__(self) -> None:
        require_at_least(1, differing=self.differing)
        require_at_least(self.differing, of_differing=self.of_differing)
        require_at_least(0, matching=self.matching)
        require_at_least(self.matching, of_matching=self.of_matching)


def change_groups(report: GateReport) -> tuple[ChangeGroup, ...]:
    """Return every cell with a change in exactly one group, the largest group first.

    A cell that matches, or that was not measured, has no change. The id of a group depends neither
    on the order nor on the number of cells.
    """
    by_cause: dict[tuple[str, tuple[FactChange, ...]], list[CellReport]] = defaultdict(list)
    for cell in report.cells:
        kind = _kind(cell, report.grade_of(cell))
        if kind is not None:
            by_cause[kind, _facts(cell)].append(cell)
    digests = {cause: _digest(*cause) for cause in by_cause}
    length = _id_length(digests.values())
    groups = (
        ChangeGroup(
            id=digests[kind, facts][:length],
            kind=_bounded(kind),
            facts=tuple(map(_bounded_change, facts[:MAX_FACTS])),
            other_facts=len(facts[MAX_FACTS:]),
            cells=tuple(cells),
        )
        for (kind, facts), cells in by_cause.items()
    )
    return tuple(sorted(groups, key=lambda group: (-len(group.cells), group.kind, group.id)))


def first_suspect(report: GateReport) -> Suspect | None:
    """Return the changed fact that most differing cells have and most matching ones lack.

    Matching cells may have it too, if all that differ have it. None where no changed fact is either
    more frequent among the cells that differ or in all of them.
    """
    differing = [_facts(cell) for cell in report.cells if _is_compared(cell)]
    counts = Counter(change for facts in differing for change in facts)
    matching = Counter(
        cell.provenance
        for cell in report.cells
        if isinstance(cell.verdict, Match) and cell.provenance is not None
    )
    suspects = [
        Suspect(
            change=change,
            differing=count,
            of_differing=len(differing),
            matching=_measured_with(change, matching, report),
            of_matching=matching.total(),
        )
        for change, count in counts.items()
    ]
    best = max(suspects, key=_contrast, default=None)
    return best if best is not None and _is_suspicious(best) else None


def _kind(cell: CellReport, grade: Grade | None) -> str | None:
    """Return the verdict and the kind of change; None where there is no change to review."""
    verdict = cell.verdict
    match verdict:
        case Match() | Inconclusive():
            return None
        case Drift() | Nondeterministic():
            found = diagnose(cell, facts={}, committed=None, grade=grade)
            details = [] if found is None else [found.cause.value, *_graded(found.cause, grade)]
        case Unrecorded(former=None, reason=reason):
            details = [reason]
        case Unrecorded():
            details = [Cause.DEFINITION.value]
        case Depends(modes=modes):
            details = list(map(str, modes))
        case Vacuous(factor=factor, mode=mode):
            details = [str(factor or mode)]
        case _:
            assert_never(verdict)
    return f"{verdict.word}: {', '.join(details)}"


def _graded(cause: Cause, grade: Grade | None) -> Iterator[str]:
    """Yield the grade where it is decided and the cause is not named for it."""
    is_named = cause in {Cause.ROUNDING, Cause.BEHAVIOURAL}
    if grade is not None and not is_named and grade.word is not GradeWord.UNDECIDED:
        yield grade.word.value


def _facts(cell: CellReport) -> tuple[FactChange, ...]:
    """Return the changed facts that may be the cause, the most likely first."""
    match cell.verdict:
        case Drift(provenance=changes) | Depends(provenance=changes):
            return tuple(filter(_may_cause, changes))
        case Unrecorded(former=former):
            return () if former is None else former.changes
        case Match() | Nondeterministic() | Vacuous() | Inconclusive():
            return ()
        case _:
            assert_never(cell.verdict)


def _may_cause(change: FactChange) -> bool:
    # A fact that the golden could not have may be as it was.
    is_new = change.before is None and is_always_recorded(change.name)
    return not is_new and not change.name.startswith(_CONSEQUENCES)


def _is_compared(cell: CellReport) -> bool:
    return isinstance(cell.verdict, Drift | Depends)


def _measured_with(change: FactChange, cells: Mapping[int, int], report: GateReport) -> int:
    """Return how many cells, counted by provenance, were measured with the new value."""
    return sum(
        count
        for index, count in cells.items()
        if report.provenances[index].get(change.name) == change.after
    )


def _is_suspicious(suspect: Suspect) -> bool:
    return _contrast(suspect) > 0 or suspect.differing == suspect.of_differing


def _contrast(suspect: Suspect) -> float:
    among_matching = suspect.matching / suspect.of_matching if suspect.of_matching else 0.0
    return suspect.differing / suspect.of_differing - among_matching


def _digest(kind: str, facts: Iterable[FactChange]) -> str:
    return digest_of([kind, [[each.name, each.before, each.after] for each in facts]])


def _id_length(digests: Iterable[str]) -> int:
    """Return how many digits distinguish all digests, in a report that was made to mislead too."""
    found = set(digests)
    length = _ID_LENGTH
    while len({digest[:length] for digest in found}) < len(found):
        length += _ID_LENGTH
    return length


def _bounded_change(change: FactChange) -> FactChange:
    before, after = (
        None if value is None else _bounded(value) for value in (change.before, change.after)
    )
    return FactChange(name=_bounded(change.name), before=before, after=after)


def _bounded(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    digest = sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    end = f"... ({len(text)} characters, sha256 {digest})"
    return f"{text[: MAX_TEXT - len(end)]}{end}"
