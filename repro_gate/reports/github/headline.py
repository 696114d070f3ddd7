"""The headline of a result, and the sections to put below it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from repro_gate.core.comments import CiRun, CommentState
from repro_gate.core.outcome import Outcome, decide
from repro_gate.core.report import Evidence, Finished, GateReport
from repro_gate.reports.github.body import finding_sections, passed_sections
from repro_gate.reports.github.fit import Piece
from repro_gate.reports.github.links import commit_link, run_link
from repro_gate.reports.github.state import explain_no_verdict, no_verdict_blocks, state_of, tally
from repro_gate.reports.text.markdown import Block, mark

_NONE: Final = "⛔"
_PASSED: Final = "Everything requested was measured and matches what is recorded."
_FIXED: Final = f"The findings reported here before are gone. {_PASSED}"
_UNKNOWN: Final = "This is neither a pass nor drift: something could not be measured."
_PARTIAL: Final = (
    "**Partial**: the check was interrupted; everything it did not reach is inconclusive."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A result in words."""

    title: str
    lead: Block
    """What it comes to, in one line, where there is a verdict."""
    pieces: Sequence[Piece]


def headline_of(evidence: Evidence | None, run: CiRun, *, was_found: bool) -> Headline:
    """Return what is to be said.

    Args:
        evidence: what the check left behind; None when it left nothing.
        run: the run that is told of.
        was_found: whether findings were told in the same place before.
    """
    if isinstance(evidence, Finished) and state_of(evidence, run) is not CommentState.BROKEN:
        return _of_report(evidence.report, run, was_found=was_found)
    title = f"{_NONE} No verdict: {explain_no_verdict(evidence, run)}, at {commit_link(run)}"
    return Headline(title=title, lead=(), pieces=list(_of_none(evidence, run)))


def _of_report(report: GateReport, run: CiRun, *, was_found: bool) -> Headline:
    outcome = decide(report)
    match outcome:
        case Outcome.PASSED:
            word = "Fixed" if was_found else "Passed"
            said = _FIXED if was_found else _PASSED
            pieces = passed_sections(report)
        case Outcome.FAILED:
            word, said, pieces = "Failed", "", finding_sections(report, run)
        case Outcome.INCONCLUSIVE:
            word, said, pieces = "Inconclusive", _UNKNOWN, finding_sections(report, run)
        case _:
            assert_never(outcome)
    said = _PARTIAL if report.interrupted else said
    first = [Piece(name="what the verdict means", block=[said])] if said else []
    title = f"{mark(outcome)} {word} at {commit_link(run)}"
    return Headline(title=title, lead=[f"{tally(report)}."], pieces=[*first, *pieces])


def _of_none(evidence: Evidence | None, run: CiRun) -> Iterator[Piece]:
    for block in no_verdict_blocks(evidence, run):
        yield Piece(name="message of the check", block=block)
    log = run_link(run, "log of the run")
    yield Piece(name="where to look", block=[f"Earlier results no longer apply. See the {log}."])
