"""What kind of change made the tokens of a cell diverge."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from repro_gate.core.engines import LORA_FACTS
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.comparison import Position, positions_of, shifts_of
from repro_gate.core.tokens.generation import Divergence, Generation, Place
from repro_gate.core.tokens.golden import (
    MODEL_SHA256,
    FactChange,
    Facts,
    Golden,
    definition_changes,
    provenance_changes,
)
from repro_gate.core.tokens.verdicts import (
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)


class Cause(StrEnum):
    """The kind of change, by the first part of a generation that it changes."""

    DEFINITION = "definition"
    """The golden is for another definition of the cell."""
    TEMPLATE = "template"
    """A chat is rendered as another text."""
    TOKENIZER = "tokenizer"
    """The same text has other prompt tokens."""
    MODEL = "model"
    """The file of the model or of an adapter has another digest."""
    SAMPLER = "sampler"
    """Another token is drawn from the same log-probabilities."""
    NUMERIC = "numeric"
    """The log-probabilities differ, whatever the reason and however much."""
    UNKNOWN = "unknown"
    """Too little was kept of the log-probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A divergence, with everything that a report and a golden know about its cause."""

    cause: Cause
    divergence: Divergence
    before: Generation
    """The golden, or run 1 where runs differ."""
    now: Generation | None
    """The first run; None where another run differs from it, of which one token is kept."""
    positions: tuple[Position, ...]
    """Those with known log-probabilities on both sides."""
    redefined: tuple[FactChange, ...] = ()
    """How the definition of the cell changed."""
    changes: tuple[FactChange, ...] = ()
    """What changed in the provenance."""

    @property
    def has_logits(self) -> bool:
        """Whether the logits of both sides are known to the bit; other runs have them as run 1."""
        return bool(self.before.logits) and (self.now is None or bool(self.now.logits))

    @property
    def up_to_fork(self) -> tuple[Position, ...]:
        """The positions up to the divergence in the output, with it; all where none is in it."""
        if self.divergence.place is Place.LOGITS:
            return self.positions
        end = self.divergence.position
        return tuple(position for position in self.positions if position.number <= end)


def diagnose(report: CellReport, *, facts: Facts, committed: Golden | None) -> Diagnosis | None:
    """Return what is known of the divergence of a cell; None where there is none to explain.

    Args:
        report: the result of the cell.
        facts: the provenance of its first run.
        committed: the golden of the cell in the checkout; needed only if its definition changed.
    """
    first, verdict = report.generation, report.verdict
    if first is None:
        return None
    match verdict:
        case Drift():
            found = Diagnosis(
                cause=Cause.UNKNOWN,
                divergence=verdict.divergence,
                before=verdict.golden.generation,
                now=first,
                positions=positions_of(verdict.golden.generation, first, report.verification),
                changes=verdict.provenance,
            )
            return replace(found, cause=_cause(found))
        case Nondeterministic():
            found = Diagnosis(
                cause=Cause.UNKNOWN,
                divergence=verdict.divergence,
                before=first,
                now=None,
                # Only a verification has log-probabilities besides those of run 1.
                positions=positions_of(first, None, report.verification),
            )
            return replace(found, cause=_cause(found))
        case Unrecorded():
            return _of_definition(report, verdict, first, facts, committed)
        case Match() | Vacuous() | Inconclusive():
            return None
        case _:
            assert_never(verdict)


def _of_definition(
    report: CellReport,
    verdict: Unrecorded,
    first: Generation,
    facts: Facts,
    committed: Golden | None,
) -> Diagnosis | None:
    divergence = None if verdict.former is None else verdict.former.divergence
    if committed is None or divergence is None:
        return None
    if not divergence.starts_from(committed.generation):
        # It is not the golden that the check compared with.
        return None
    return Diagnosis(
        cause=Cause.DEFINITION,
        divergence=divergence,
        before=committed.generation,
        now=first,
        positions=(),
        redefined=definition_changes(committed.cell, report.cell),
        changes=provenance_changes(committed.provenance, facts),
    )


def _cause(found: Diagnosis) -> Cause:
    match found.divergence.place:
        case Place.TEMPLATE:
            return Cause.TEMPLATE
        case Place.PROMPT:
            return Cause.TOKENIZER
        case Place.OUTPUT:
            return Cause.MODEL if changed_files(found.changes) else _cause_in_output(found)
        case Place.LOGITS:
            return Cause.MODEL if changed_files(found.changes) else Cause.NUMERIC
        case _:
            assert_never(found.divergence.place)


def _cause_in_output(found: Diagnosis) -> Cause:
    divergence, positions = found.divergence, found.up_to_fork
    if divergence.logits_from is not None:
        return Cause.NUMERIC
    if found.has_logits:
        return Cause.SAMPLER
    shifts = shifts_of(positions)
    if shifts is None:
        return Cause.UNKNOWN
    if not shifts.are_none:
        return Cause.NUMERIC
    has_ended = divergence.expected is None or divergence.observed is None
    is_complete = has_ended or positions[-1].number == divergence.position
    # The log-probabilities of now may be others than those of the run that differs from run 1.
    return Cause.SAMPLER if is_complete and found.now is not None else Cause.UNKNOWN


def changed_files(changes: Iterable[FactChange]) -> tuple[FactChange, ...]:
    """Return the changed digests of a model and its adapters."""
    return tuple(
        change
        for change in changes
        if change.before is not None
        and (
            change.name == MODEL_SHA256
            or (change.name.startswith(LORA_FACTS) and change.name.endswith(".sha256"))
        )
    )
