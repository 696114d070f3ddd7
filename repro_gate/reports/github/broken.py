"""A check without a verdict: what happened, and what to do about it."""

from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from repro_gate.core.ci import CiRun
from repro_gate.core.evidence import Evidence, Finished, Unfinished
from repro_gate.core.outcome import ExitCode
from repro_gate.reports.foreign import clipped
from repro_gate.reports.github.state import is_contradicted
from repro_gate.reports.github.tally import tally
from repro_gate.reports.markdown_text import code, fence

Block = Sequence[str]

_MOST_LINES: Final = 30
_LONGEST_LINE: Final = 300
_LONGEST_REMEDY: Final = 400
_DOWNLOAD: Final = (
    "Check the artifact download step of the commenting workflow: it needs the "
    "permission `actions: read` and the name of the artifact. Artifacts expire."
)
_REASONS: Final = {
    ExitCode.USAGE_INVALID: "invalid command line",
    ExitCode.INPUT_INVALID: "a file is invalid",
    ExitCode.INCONCLUSIVE: "nothing could be measured",
    ExitCode.INTERRUPTED: "the check was interrupted",
}


def broken_words(evidence: Evidence | None, run: CiRun) -> str:
    """Return why there is no verdict, in our own words."""
    match evidence:
        case None if _is_lost(run):
            return "the result of the check could not be read"
        case None:
            return "the check left no result"
        case Unfinished(exit_code=exit_code):
            known = [reason for code, reason in _REASONS.items() if code == exit_code]
            return known[0] if known else "the check could not run"
        case Finished(report=report):
            if is_contradicted(report, run):
                return "the run's conclusion contradicts its report"
            return "the check was interrupted"
        case _:
            assert_never(evidence)


def broken_blocks(evidence: Evidence | None, run: CiRun) -> Iterator[Block]:
    """Yield what happened, and what to do."""
    match evidence:
        case None:
            yield from _nothing(run)
        case Unfinished():
            yield from _unfinished(evidence)
        case Finished(report=report) if is_contradicted(report, run):
            denial = _conclusion(run)
            yield [f"The report shows a pass, which the run does not confirm. {denial}"]
        case Finished(report=report):
            yield [f"Partial results, not a verdict: {tally(report)}."]
        case _:
            assert_never(evidence)


def _is_lost(run: CiRun) -> bool:
    """Tell whether there has to be a result somewhere, for no run succeeds without one."""
    return run.is_of_another and run.conclusion == "success"


def _nothing(run: CiRun) -> Iterator[Block]:
    if run.is_of_another:
        yield [f"No result of the run could be read. {_conclusion(run)}"]
    if not _is_lost(run):
        ended = "It may have been killed, timed out or never started."
        yield [
            f"{ended} Nothing is known about this commit.",
            "If the machine ran out of memory or time, give it more or shard the matrix.",
        ]
    if run.is_of_another:
        yield [_DOWNLOAD]


def _conclusion(run: CiRun) -> str:
    said = "none" if run.conclusion is None else code(clipped(run.conclusion, 40))
    return f"Conclusion of the run: {said}."


def _unfinished(evidence: Unfinished) -> Iterator[Block]:
    yield [f"The check ended with exit code {evidence.exit_code} and this message:"]
    lines = [clipped(line, _LONGEST_LINE) for line in evidence.message.splitlines()]
    more = len(lines) - _MOST_LINES
    yield fence([*lines[:_MOST_LINES], *([f"and {more} more lines"] if more > 0 else [])], "text")
    if evidence.remedy is not None:
        yield [f"Remedy: {code(clipped(evidence.remedy, _LONGEST_REMEDY))}"]
