"""What each verdict says, and what to do about it, in the same sentences in every report."""

from dataclasses import dataclass
from typing import Final, assert_never, get_args

from repro_gate.core.goldens import FactChange
from repro_gate.core.report import CellReport, ControlReport
from repro_gate.core.verdicts import (
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphaned,
    Unrecorded,
    Vacuous,
    Verdict,
)
from repro_gate.reports import foreign
from repro_gate.reports.explain import where

WORDS: Final[tuple[str, ...]] = tuple(kind.word for kind in get_args(Verdict))
"""Every verdict, in the order in which reports count them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the check says of one cell, and why."""

    claim: str
    """In our own words, so it is safe in every report."""
    reason: str | None = None
    """In foreign words: one printable line, and nothing more is promised of it."""
    remedy: str | None = None
    """In foreign words, as `reason`."""
    suspects: tuple[FactChange, ...] = ()
    """In foreign words: what changed since the golden was recorded."""


def describe(cell: CellReport) -> Description:  # noqa: PLR0911 -- one for each verdict
    """Return what the verdict on a cell says."""
    match cell.verdict:
        case Match():
            return Description(claim=_matching(cell.runs))
        case Nondeterministic() as verdict:
            return Description(claim=_differing(verdict))
        case Drift() as verdict:
            suspects = tuple(map(foreign.change, verdict.provenance))
            return Description(claim=_drifting(verdict, cell.runs), suspects=suspects)
        case Unrecorded(reason=reason):
            claim = "no golden speaks for this cell on this class of machine"
            reason = f"{reason} (profile {cell.profile})"
            return Description(claim=claim, reason=foreign.message(reason))
        case Vacuous(reason=reason):
            claim = "nothing could have differed here, so agreement proves nothing"
            return Description(claim=claim, reason=foreign.message(reason))
        case Inconclusive(reason=reason, remedy=remedy):
            said = None if remedy is None else foreign.message(remedy)
            claim = "not measured, so neither a pass nor drift"
            return Description(claim=claim, reason=foreign.message(reason), remedy=said)
        case Orphaned():
            return Description(claim="no cell of the matrix claims this golden")
        case _:
            assert_never(cell.verdict)


def advise(verdict: Verdict) -> str:  # noqa: PLR0911 -- one for each verdict
    """Return what to do about a verdict, in our own words."""
    match verdict:
        case Match():
            return "Nothing is left to do."
        case Nondeterministic():
            return "Find what differs between two runs; until they agree no golden can hold."
        case Drift():
            return "If the change is intended, accept it; if not, begin with what changed."
        case Unrecorded():
            return "Record a golden, and commit it."
        case Vacuous():
            return "Give the cell a model, prompt or seed whose output can differ."
        case Inconclusive():
            return "Make the measurement possible, and check again."
        case Orphaned():
            return "Remove the golden, or give the matrix its cell back."
        case _:
            assert_never(verdict)


def command_label(word: str) -> str:
    """Return what the command of a finding with this verdict does."""
    return "remove it" if word == Orphaned.word else "accept it"


def describe_control(control: ControlReport) -> str:
    """Return what a control shows, in our own words."""
    if control.divergence is None:
        return f"seed {control.seed} gave the golden's tokens too, so this check cannot fail"
    return f"seed {control.seed} differs at {where(control.divergence)}, as it must"


def describe_run(verdict: Nondeterministic) -> str:
    """Return which run it was that differs."""
    return f"run {verdict.run}{', in a fresh process,' if verdict.in_fresh_process else ''}"


def _matching(runs: int) -> str:
    if runs == 1:
        return "1 run equals the golden"
    return f"{runs} runs equal each other and the golden"


def _differing(verdict: Nondeterministic) -> str:
    return f"{describe_run(verdict)} differs from run 1 at {where(verdict.divergence)}"


def _drifting(verdict: Drift, runs: int) -> str:
    agreement = "1 run does not equal" if runs == 1 else f"{runs} runs equal each other, but not"
    return f"{agreement} the golden: they part at {where(verdict.divergence)}"
