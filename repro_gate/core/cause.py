"""What kind of change made the tokens of a cell diverge."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from repro_gate.core.engines import LORA_FACTS
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.comparison import (
    ForcedTokens,
    Position,
    clipped_distance,
    forced_tokens,
    positions_of,
    shifts_of,
)
from repro_gate.core.tokens.generation import Divergence, Generation, Place
from repro_gate.core.tokens.golden import (
    MODEL_SHA256,
    FactChange,
    Facts,
    Golden,
    definition_changes,
    provenance_changes,
)
from repro_gate.core.tokens.grade import LARGEST_SHIFT, Grade, GradeReason, GradeWord
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)

_NEAR_TIE: Final = 0.001
"""A smaller distance may be due to digits of log-probabilities that a golden does not have."""


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
    """The log-probabilities differ, and no grade compares that with harmless changes."""
    ROUNDING = "rounding"
    """They differ, and the drift is graded as consistent with rounding."""
    BEHAVIOURAL = "behavioural"
    """They differ, and the drift is graded as beyond rounding."""
    UNKNOWN = "unknown"
    """Too little was kept of the log-probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A divergence, with everything that a report and a golden know about its cause."""

    divergence: Divergence
    before: Generation
    """The golden, or run 1 where runs differ."""
    now: Generation | None
    """The first run; None where another run differs from it, of which one token is kept."""
    positions: tuple[Position, ...]
    """Those with known log-probabilities on both sides."""
    redefined: tuple[FactChange, ...] | None = None
    """How the definition of the cell changed; None where the golden is for the same one."""
    changes: tuple[FactChange, ...] = ()
    """What changed in the provenance."""
    grade: Grade | None = None
    """Of a drift."""

    @property
    def cause(self) -> Cause:
        """The kind of change."""
        if self.redefined is not None:
            return Cause.DEFINITION
        match self.divergence.place:
            case Place.TEMPLATE:
                return Cause.TEMPLATE
            case Place.PROMPT:
                return Cause.TOKENIZER
            case Place.OUTPUT | Place.LOGITS:
                is_model = changed_files(self.changes)
                return Cause.MODEL if is_model else _graded(_cause_in_output(self), self.grade)
            case _:
                assert_never(self.divergence.place)

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


def diagnose(
    report: CellReport, *, facts: Facts, committed: Golden | None, grade: Grade | None = None
) -> Diagnosis | None:
    """Return what is known of the divergence of a cell; None where there is none to explain.

    Args:
        report: the result of the cell.
        facts: the provenance of its first run.
        committed: the golden of the cell in the checkout; needed only if its definition changed.
        grade: of its drift.
    """
    first, verdict = report.generation, report.verdict
    if first is None:
        return None
    match verdict:
        case Drift():
            return _of_drift(report, verdict, first, grade)
        case Nondeterministic():
            return Diagnosis(
                divergence=verdict.divergence,
                before=first,
                now=None,
                # Only a verification has log-probabilities besides those of run 1.
                positions=positions_of(first, None, report.verification),
            )
        case Unrecorded():
            return _of_definition(report, verdict, first, facts, committed)
        case Match() | Depends() | Vacuous() | Inconclusive():
            return None
        case _:
            assert_never(verdict)


def _of_drift(
    report: CellReport, drift: Drift, first: Generation, grade: Grade | None = None
) -> Diagnosis:
    return Diagnosis(
        divergence=drift.divergence,
        before=drift.golden.generation,
        now=first,
        positions=positions_of(drift.golden.generation, first, report.verification),
        changes=drift.provenance,
        grade=grade,
    )


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
        divergence=divergence,
        before=committed.generation,
        now=first,
        positions=(),
        redefined=definition_changes(committed.cell, report.cell),
        changes=provenance_changes(committed.provenance, facts),
    )


def _cause_in_output(found: Diagnosis) -> Cause:
    divergence, positions = found.divergence, found.up_to_fork
    if divergence.place is Place.LOGITS or divergence.logits_from is not None:
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


def _graded(cause: Cause, grade: Grade | None) -> Cause:
    # A grade with a reason is not by the log-probabilities.
    if cause is not Cause.NUMERIC or grade is None or grade.reason is not None:
        return cause
    match grade.word:
        case GradeWord.CONSISTENT:
            return Cause.ROUNDING
        case GradeWord.BEYOND:
            return Cause.BEHAVIOURAL
        case GradeWord.UNDECIDED:
            return Cause.NUMERIC
        case _:
            assert_never(grade.word)


def not_rounding(report: CellReport) -> GradeReason | None:
    """Return what changed in a drifted cell that rounding cannot change; None if nothing did."""
    drift, first = report.verdict, report.generation
    if first is None or not isinstance(drift, Drift):
        return None
    match drift.divergence.place:
        case Place.TEMPLATE:
            return GradeReason.TEMPLATE
        case Place.PROMPT:
            return GradeReason.TOKENIZER
        case Place.OUTPUT:
            found = _of_drift(report, drift, first)
            is_sampler = _cause_in_output(found) is Cause.SAMPLER
            # Of logits that are equal to the bit no digit is missing.
            is_chosen = found.has_logits or _is_chosen(report, drift)
            return GradeReason.SAMPLER if is_sampler and is_chosen else None
        case Place.LOGITS:
            return None
        case _:
            assert_never(drift.divergence.place)


def _is_chosen(report: CellReport, drift: Drift) -> bool:
    """Return whether another choice, and not the last digits, made the divergence."""
    position = drift.divergence.position
    if drift.divergence.expected is None:
        # The golden ended there, and the end of an output has no distance.
        return True
    if position >= len(report.verification):
        return False
    forked = report.verification[position]
    is_greedy = report.cell.sampler.is_greedy
    distance = clipped_distance(forked, is_greedy=is_greedy)
    if distance is None and not is_greedy:
        distance = forked.least_distance
    return distance is not None and distance > _NEAR_TIE


def forced_through(report: CellReport) -> ForcedTokens | None:
    """Return how nearly the tokens of a drifted cell's golden are generated.

    None when there is no drift, the distance of some token is not known, or what is verified is not
    what generates.
    """
    if not isinstance(report.verdict, Drift) or _is_of_another_draw(report, report.verdict):
        return None
    before, verified = report.verdict.golden.generation, report.verification
    if not verified or [each.id for each in verified] != [each.id for each in before.tokens]:
        return None
    positions = positions_of(before, report.generation, verified)
    found = forced_tokens(verified, positions, is_greedy=report.cell.sampler.is_greedy)
    return None if found.mean_distance is None else found


def _is_of_another_draw(report: CellReport, drift: Drift) -> bool:
    """Return whether a verification draws the golden's token where another one was generated.

    Such as by the seed that the engine ignores as it generates; but not where that is a near tie.
    """
    position = drift.divergence.position
    if drift.divergence.place is not Place.OUTPUT or position >= len(report.verification):
        return False
    forked = report.verification[position]
    if forked.drawn != forked.id:
        return False
    if report.cell.sampler.is_greedy:
        best = [logprob for _, logprob in forked.best[:2]]
        return bool(best) and best[0] - best[-1] > LARGEST_SHIFT
    if forked.share is None or forked.uniform is None:
        return True
    return forked.share.depth(forked.uniform) > LARGEST_SHIFT


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
