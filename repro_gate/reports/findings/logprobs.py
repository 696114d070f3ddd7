"""The findings of a suite of log-probabilities."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Invalid, Outlying, Shifted
from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.verdicts import Inconclusive, Unrecorded
from repro_gate.reports.findings.logprob_evidence import logprob_lines
from repro_gate.reports.findings.logprob_wording import (
    LOGPROB_WORDS,
    describe_logprob_control,
    describe_logprobs,
    describe_suite_test,
    describe_weights,
    format_pair,
    outcome_of_weights,
    suite_test_lines,
    weight_lines,
)
from repro_gate.reports.findings.tokens import Finding, orphan_findings, severity
from repro_gate.reports.text import shell
from repro_gate.reports.text.escape import escape_lines, one_line

_CHECK = "repro-gate check"
_RECORD = "repro-gate record-baseline"


def logprob_findings(part: LogprobReport, report: GateReport) -> tuple[Finding, ...]:
    """Return the findings of a suite: as a whole first, then the worst, inconclusive ones last."""
    found = [
        *_suite_finding(part, report),
        *_cells(part, report),
        *orphan_findings(part.orphans, "baseline", f"{_record(report)} --prune"),
        *_controls(part, report),
        *_weights(part, report),
    ]
    return tuple(sorted(found, key=severity))


def _suite_finding(part: LogprobReport, report: GateReport) -> Iterator[Finding]:
    if part.suite_test.verdict is SuiteVerdict.DRIFT:
        yield Finding(
            word="drift",
            ids=(one_line(f"{part.suite} as a whole"),),
            description=describe_suite_test(part.suite_test),
            lines=escape_lines(suite_test_lines(part.suite_test, part.tolerance)),
            command=f"{_record(report)} {_suite(part)} --again",
            repeat=_repeat(part, report),
        )


def _cells(part: LogprobReport, report: GateReport) -> Iterator[Finding]:
    groups: dict[Hashable, list[LogprobCellReport]] = defaultdict(list)
    differing = [cell for cell in part.cells if not isinstance(cell.verdict, Agrees)]
    for cell in sorted(differing, key=lambda cell: LOGPROB_WORDS.index(cell.verdict.word)):
        groups[cell.verdict.word, describe_logprobs(cell), logprob_lines(cell)].append(cell)
    ids = _Ids(all=_sorted(part.cells), differing=_sorted(differing))
    for cells in groups.values():
        yield _cell_finding(cells, part, report, ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ids:
    """Sorted ids that a pattern must not select by mistake."""

    all: Sequence[str]
    differing: Sequence[str]


def _sorted(cells: Iterable[LogprobCellReport]) -> Sequence[str]:
    return sorted({cell.id for cell in cells})


def _cell_finding(
    cells: Sequence[LogprobCellReport], part: LogprobReport, report: GateReport, ids: _Ids
) -> Finding:
    first = cells[0]
    return Finding(
        word=first.verdict.word,
        ids=tuple(one_line(cell.id) for cell in cells),
        outcome=outcome_of_verdict(first.verdict),
        description=describe_logprobs(first),
        lines=escape_lines(logprob_lines(first)),
        command=_command(cells, part, report, ids),
        repeat=_repeat(part, report, *(cell.id for cell in cells)),
        recorded="baseline",
    )


def _command(
    cells: Sequence[LogprobCellReport], part: LogprobReport, report: GateReport, ids: _Ids
) -> str | None:
    mine = [cell.id for cell in cells]
    match cells[0].verdict:
        case Shifted():
            # Re-recording changes every cell that the pattern selects.
            selected = shell.only(mine, ids.all, "--again")
            return f"{_record(report)} {_suite(part)} {selected}"
        case Unrecorded():
            return f"{_record(report)} {_suite(part)} {shell.only(mine, ids.differing)}"
        case Agrees() | Outlying() | Invalid() | Inconclusive():
            return None
        case _:
            assert_never(cells[0].verdict)


def _record(report: GateReport) -> str:
    return shell.command(_RECORD, report.repeat_with)


def _repeat(part: LogprobReport, report: GateReport, *ids: str) -> str:
    check = f"{shell.command(_CHECK, report.repeat_with)} {_suite(part)}"
    # A pattern may select more cells: measuring them costs more and is otherwise harmless.
    return f"{check} {shell.only(ids, ())}" if ids else check


def _suite(part: LogprobReport) -> str:
    return f"--suite {shell.quoted(part.suite)}"


def _controls(part: LogprobReport, report: GateReport) -> Iterator[Finding]:
    for control in part.controls:
        if control.failed:
            yield Finding(
                word="control",
                ids=(one_line(control.cell),),
                description=describe_logprob_control(control),
                repeat=_repeat(part, report),
            )


def _weights(part: LogprobReport, report: GateReport) -> Iterator[Finding]:
    for found in part.weights:
        outcome = outcome_of_weights(found)
        if outcome is not Outcome.PASSED:
            yield Finding(
                word="weights",
                ids=(one_line(format_pair(found)),),
                outcome=outcome,
                description=describe_weights(found),
                lines=escape_lines(weight_lines(found)),
                repeat=_repeat(part, report),
            )
