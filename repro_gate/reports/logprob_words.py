"""What the logprob gate's verdicts say, and what to do: the same sentences in every report."""

from typing import Final, assert_never, get_args

from repro_gate.core.logprob_report import LogprobCellReport, LogprobControl
from repro_gate.core.logprob_verdicts import (
    Agrees,
    Evidence,
    Invalid,
    LogprobVerdict,
    Outlying,
    Sameness,
    Shifted,
)
from repro_gate.core.verdicts import Inconclusive, Orphan, Unrecorded
from repro_gate.reports import foreign
from repro_gate.reports.describe import Description, advise
from repro_gate.reports.figures import percent, plural

LOGPROB_WORDS: Final[tuple[str, ...]] = (
    *(kind.word for kind in get_args(LogprobVerdict)),
    Orphan.word,
)
"""In the order in which reports count them."""

BELOW_FLOOR: Final = "the service changed numerically, but below the configured floor"
"""A note, and never drift."""
WITHIN_BAND: Final = "the service changed numerically, but within its own noise band"
"""A note too: of a service so noisy that even a larger shift is none that could be told."""


def describe_logprobs(cell: LogprobCellReport) -> Description:
    """Return what the verdict on a cell says."""
    match cell.verdict:
        case Agrees() as verdict:
            return Description(claim=_agreeing(verdict))
        case Shifted() as verdict:
            suspects = tuple(map(foreign.change, verdict.provenance))
            claim = f"{_moved(verdict.effect.evidence)} significantly and beyond the tolerance"
            return Description(claim=claim, suspects=suspects)
        case Outlying() as verdict:
            return _outlying(verdict)
        case Invalid(reason=reason):
            claim = "the response is about other content than the request, or has impossible values"
            return Description(claim=claim, reason=foreign.message(reason))
        case Unrecorded(reason=reason):
            named = foreign.message(f"{reason} (source {cell.source})")
            claim = "no baseline recorded for this cell at this source"
            return Description(claim=claim, reason=named)
        case Inconclusive(reason=reason, remedy=remedy):
            said = None if remedy is None else foreign.message(remedy)
            claim = "not measured, so neither a pass nor drift"
            return Description(claim=claim, reason=foreign.message(reason), remedy=said)
        case _:
            assert_never(cell.verdict)


def _outlying(found: Outlying) -> Description:
    share = f"{found.count} of the suite's {plural(found.draws, 'draw')}"
    limit = f"the limit is {percent(found.allowed)}, and up to {found.most} may occur by chance"
    claim = f"more outliers than allowed: {share}; {limit}"
    if found.unfinished is None:
        return Description(claim=claim)
    reason = f"the remaining draws were not made: {found.unfinished.reason}"
    return Description(claim=claim, reason=foreign.message(reason))


def advise_logprobs(verdict: LogprobVerdict) -> str:
    """Return what to do about a verdict."""
    match verdict:
        case Agrees():
            return "No action needed."
        case Shifted():
            return "If the change is intended, accept it. Otherwise start with what changed."
        case Outlying():
            return "Ask the provider about these requests; the draws that replaced them are fine."
        case Invalid():
            return "Find out why the response does not fit the request; it cannot be compared."
        case Unrecorded():
            return "Record a baseline and commit it."
        case Inconclusive():
            return advise(verdict)
        case _:
            assert_never(verdict)


def describe_sameness(sameness: Sameness) -> str:
    """Return what is claimed of draws that agree, and what is not."""
    match sameness:
        case Sameness.IDENTICAL:
            return "every draw repeats a calibration draw to the last digit"
        case Sameness.EQUIVALENT:
            return "two one-sided tests place the shift within the floor, at 5 %"
        case Sameness.NOT_SHOWN:
            return "no difference was found; equivalence was not shown"
        case _:
            assert_never(sameness)


def describe_logprob_control(control: LogprobControl) -> str:
    """Return what a control shows."""
    if control.failed:
        return "another prompt gave the same log-probabilities, so this check cannot fail"
    return "another prompt gives different log-probabilities, as expected"


def _agreeing(verdict: Agrees) -> str:
    # Where a difference was found, nothing must be said of none.
    changed = "the service changed numerically, but within the tolerance"
    return describe_sameness(verdict.sameness) if verdict.changed is None else changed


def _moved(evidence: Evidence) -> str:
    match evidence:
        case Evidence.COINCIDENCES:
            return "the draws no longer repeat the calibration draws and shifted"
        case Evidence.SUM:
            return "the log-probability of the response shifted"
        case Evidence.TOKENS:
            return "log-probabilities of single tokens, which the sum may hide, shifted"
        case _:
            assert_never(evidence)
