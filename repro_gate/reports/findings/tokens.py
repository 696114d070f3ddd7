"""The findings of the token gate; cells that differ in nothing else share one."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from repro_gate.core.outcome import Outcome, outcome_of_cell
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.generation import Place
from repro_gate.core.tokens.grade import Grade
from repro_gate.core.tokens.judge import doubt
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
)
from repro_gate.reports.findings.divergence import Explanation, evidence, explain
from repro_gate.reports.findings.grades import (
    FIND_THE_CAUSE,
    describe_grade,
    describe_graded,
    grade_lines,
    rank_of,
)
from repro_gate.reports.findings.modes import mode_lines
from repro_gate.reports.findings.wording import (
    WORDS,
    Description,
    describe_control,
    describe_former,
    describe_orphan,
)
from repro_gate.reports.text import shell
from repro_gate.reports.text.escape import (
    Escaped,
    Line,
    escape_lines,
    format_change,
    limited,
    one_line,
    optional,
)
from repro_gate.reports.text.format import plural

_CHECK = "repro-gate check"
_UPDATE = "repro-gate update-snapshots"
_EXPLAIN = "repro-gate explain"
_RECORD = "repro-gate record-reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What failed or was not measured: one cell, several alike, or a part of the check."""

    word: str
    """The verdict, or the kind of check that failed."""
    ids: tuple[Escaped, ...]
    """Of cells or orphans, or the name of another part of the check."""
    noun: str = "cell"
    """What an id names."""
    outcome: Outcome = Outcome.FAILED
    description: Description
    former: Escaped | None = None
    """How the tokens compare with the goldens of other definitions."""
    modes: tuple[Line, ...] = ()
    """How the answers differ in each mode in which they must not."""
    lines: tuple[Line, ...] = ()
    command: str | None = None
    """Accepts the finding; None when it has to be fixed instead."""
    repeat: str | None = None
    """Measures it again; None when there is nothing to measure."""
    recorded: str = "golden"
    """What the check compared with: a golden or a baseline."""
    explanation: Explanation | None = None
    """Where the tokens of the first cell diverge."""
    cells: tuple[CellReport, ...] = ()
    """Of the token gate; the description is that of the first."""

    @property
    def listed(self) -> tuple[Escaped, ...]:
        """The ids to list; none where the subject is the only id."""
        return self.ids if len(self.ids) > 1 else ()

    @property
    def subject(self) -> Escaped:
        """The only id, or how many there are."""
        return one_line(plural(len(self.ids), self.noun)) if self.listed else self.ids[0]

    @property
    def command_label(self) -> str:
        """What the command does."""
        if self.word == Orphan.word:
            return "remove it"
        is_known = self.description.advice != FIND_THE_CAUSE
        return "accept it" if is_known else "accept it, once you know the cause"

    @property
    def details(self) -> Iterator[Line]:
        """The finding as labelled lines, without its claim and its commands."""
        yield from optional("reason", self.description.reason)
        yield from optional("grade", self.description.grade)
        yield from optional("tokens", self.former)
        yield from limited(self.noun, self.listed)
        yield from self.modes
        yield from self.lines
        yield from limited(
            "changed", [format_change(change) for change in self.description.suspects]
        )
        yield from optional("remedy", self.description.remedy)
        yield "what to do", one_line(self.description.advice)


def severity(finding: Finding) -> int:
    """Return the place of a finding: the worst first, and last what is let pass."""
    return (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED).index(finding.outcome)


def token_findings(report: GateReport) -> tuple[Finding, ...]:
    """Return the findings of the token gate, the worst first and those that pass last."""
    unmatched = [cell for cell in report.cells if not isinstance(cell.verdict, Match)]
    groups: dict[Hashable, list[CellReport]] = defaultdict(list)

    def place(cell: CellReport) -> tuple[int, int, int]:
        others = sum(each.other_tokens for each in cell.modes if each.falls_short)
        return WORDS.index(cell.verdict.word), rank_of(report.grade_of(cell)), -others

    for cell in sorted(unmatched, key=place):
        groups[_key(cell, report)].append(cell)
    others = sorted({cell.id for cell in unmatched})
    cells = (_cell_finding(group, report, others) for group in groups.values())
    orphans = orphan_findings(report.orphans, "golden", f"{_update(report)} --prune")
    return tuple(sorted([*cells, *orphans, *_control_findings(report)], key=severity))


def grade_findings(report: GateReport) -> tuple[Finding, ...]:
    """Return the grades of a check, the worst first and those that pass last."""
    found = [grade_finding(grade, report) for grade in sorted(report.grades, key=rank_of)]
    return tuple(sorted(found, key=severity))


def grade_finding(grade: Grade, report: GateReport) -> Finding:
    """Return a grade of a report as a finding, with the outcome of its drifted cells."""
    drifted = [cell for cell in report.cells if report.grade_of(cell) is grade]
    outcome = outcome_of_cell(drifted[0], report) if drifted else Outcome.PASSED
    return Finding(
        word=grade.word,
        ids=(one_line(f"{grade.model} in suite {grade.suite}"),),
        outcome=outcome,
        description=describe_grade(grade, record=_recording(grade, drifted, report)),
        lines=grade_lines(grade),
    )


def orphan_findings(orphans: Sequence[Orphan], recorded: str, command: str) -> Iterator[Finding]:
    """Yield one finding for all goldens, or all baselines, that no cell uses.

    Args:
        orphans: of a report.
        recorded: `golden` or `baseline`.
        command: removes them.
    """
    if orphans:
        yield Finding(
            word=Orphan.word,
            ids=tuple(one_line(orphan.id) for orphan in orphans),
            noun=recorded,
            description=describe_orphan(recorded),
            command=command,
            recorded=recorded,
        )


def explain_command(report: GateReport) -> str | None:
    """Return the command that explains a divergence, of the worst grade; None without any."""
    diverging = [cell for cell in report.cells if explain(cell) is not None]
    if not diverging:
        return None
    worst = min(diverging, key=lambda cell: rank_of(report.grade_of(cell)))
    options = config_option(report.repeat_with)
    return f"{shell.command(_EXPLAIN, options)} {shell.quoted(worst.id)}"


def config_option(options: Sequence[str]) -> Sequence[str]:
    """Return the option that names the matrix, for a command that needs no device."""
    place = options.index("--config") if "--config" in options else len(options)
    return options[place : place + 2]


def accept_all_command(report: GateReport) -> str:
    """Return the command that accepts every cell that can be accepted."""
    cells = [cell for cell in report.cells if is_acceptable(cell, report)]
    return " ".join([_update(report), *_suites(cells)])


def is_acceptable(cell: CellReport, report: GateReport) -> bool:
    """Tell whether an update would record the cell: not if its model fails its controls."""
    if not isinstance(cell.verdict, Drift | Unrecorded):
        return False
    if _is_of_another_profile(cell):
        # It is recorded on that profile.
        return False
    controls = (control for control in report.controls if control.model == cell.cell.model)
    return not isinstance(doubt(cell.cell, controls), Vacuous)


def _key(cell: CellReport, report: GateReport) -> Hashable:
    """Return a key that is equal for cells of one finding."""
    explanation, description = explain(cell), describe_graded(cell, report)
    if isinstance(cell.verdict, Depends):
        # Each cell diverges in its own place, for the same reason.
        return cell.verdict.word, description, cell.suite, cell.cell.model
    # All digests are different.
    if explanation is None or explanation.divergence.place is Place.LOGITS:
        return cell.verdict.word, description, None
    # Neither what precedes the divergence nor how close it was make a finding of its own.
    divergence = replace(explanation.divergence, logits_from=None)
    shared = replace(explanation, divergence=divergence, before=())
    shared = replace(shared, verified=None, margin=None, golden_margin=None)
    return cell.verdict.word, description, shared


def _cell_finding(
    cells: Sequence[CellReport], report: GateReport, others: Sequence[str]
) -> Finding:
    first = cells[0]
    former, explanation = describe_former(cells), explain(first)
    return Finding(
        word=first.verdict.word,
        ids=tuple(one_line(cell.id) for cell in cells),
        outcome=outcome_of_cell(first, report),
        description=describe_graded(first, report),
        former=None if former is None else one_line(former),
        modes=tuple(mode_lines(cells)),
        lines=escape_lines(evidence(explanation)) if explanation else (),
        command=_command(cells, report, others),
        repeat=_repeat(cells, report),
        explanation=explanation,
        cells=tuple(cells),
    )


def _control_findings(report: GateReport) -> Iterator[Finding]:
    """Yield the failed controls that no vacuous cell shows."""
    shown = {
        (cell.cell.model, cell.verdict.factor)
        for cell in report.cells
        if isinstance(cell.verdict, Vacuous)
    }
    for control in report.controls:
        cell, factor = control.contrast.cell, control.contrast.factor
        if control.failed and (control.model, factor) not in shown:
            yield Finding(
                word="control",
                ids=(one_line(f"{cell.id} with another {factor}"),),
                description=describe_control(control),
                repeat=shell.command(_CHECK, report.repeat_with),
            )


def _command(cells: Sequence[CellReport], report: GateReport, others: Sequence[str]) -> str | None:
    match cells[0].verdict:
        case Drift() | Unrecorded():
            accepted = [cell for cell in cells if is_acceptable(cell, report)]
            selected = shell.only([cell.id for cell in accepted], others)
            return " ".join([_update(report), *_suites(accepted), selected]) if accepted else None
        case Match() | Depends() | Nondeterministic() | Vacuous() | Inconclusive():
            return None
        case _:
            assert_never(cells[0].verdict)


def _repeat(cells: Sequence[CellReport], report: GateReport) -> str:
    check = shell.command(_CHECK, report.repeat_with)
    # A pattern may select more cells: measuring them is harmless.
    return " ".join([check, *_suites(cells), shell.only([cell.id for cell in cells], ())])


def _recording(grade: Grade, drifted: Iterable[CellReport], report: GateReport) -> str:
    """Return the command that records harmless changes, and where it is not refused."""
    command = f"{shell.command(_RECORD, report.repeat_with)} --suite {shell.quoted(grade.suite)}"
    if any(map(_is_of_another_profile, drifted)):
        return f"{command} --as NAME, on a machine that is good"
    return f"{command}, where the goldens pass, such as before the change"


def _is_of_another_profile(cell: CellReport) -> bool:
    verdict = cell.verdict
    return isinstance(verdict, Drift) and verdict.golden.profile != cell.profile


def _suites(cells: Sequence[CellReport]) -> Iterable[str]:
    # Without --suite only the default suites are searched.
    names = dict.fromkeys(cell.suite for cell in cells)
    return (f"--suite {shell.quoted(name)}" for name in names)


def _update(report: GateReport) -> str:
    return shell.command(_UPDATE, report.repeat_with)
