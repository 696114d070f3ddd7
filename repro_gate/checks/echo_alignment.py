"""Before baselines are recorded: does a server's echo give each token its own log-probability?

A baseline of an echo that is off by one would agree for ever, so this is asked of each model first.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from repro_gate.checks.looks import Look
from repro_gate.core.alignment import (
    MAX_COMPARISONS,
    Alignment,
    AlignmentFigures,
    ScoredTwice,
    judge_alignment,
)
from repro_gate.core.draws import MissedDraw
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.ports import Scorer

REMEDY = (
    "use another server for this model: some that run models without a BOS token are off by one "
    "in their echo"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoAlignment:
    """What comparing generated tokens with their echo has shown."""

    shifted: dict[str, str]
    """Why no baseline of a cell may be recorded, by its id."""
    notes: tuple[Note, ...]
    """Of the models of which nothing was shown."""


def compare_echoes(looks: Iterable[Look], *, scorer: Scorer) -> EchoAlignment:
    """Compare for each model of a provider: two calls each, and at most three times as many."""
    models: dict[tuple[str, str], list[Look]] = defaultdict(list)
    for look in looks:
        models[look.cell.policy.provider.name, look.cell.policy.model].append(look)
    shifted: dict[str, str] = {}
    notes: list[Note] = []
    for (provider, model), own in models.items():
        found = _compared(own, scorer)
        if isinstance(found, str):
            message = f"whether {provider} echoes each token's own log-probability was not shown"
            notes.append(Note(about=model, message=f"{message}: {found}", origin=NoteOrigin.SERVER))
        elif found is not None:
            reason = f"{provider} gives the tokens of its echo log-probabilities of others"
            reason = f"{reason}: {_figures(found)}"
            shifted |= {look.cell.id: reason for look in own}
    return EchoAlignment(shifted=shifted, notes=tuple(notes))


def _compared(looks: Sequence[Look], scorer: Scorer) -> AlignmentFigures | str | None:
    """Return the figures of a shift, why nothing was shown, or None where all is well."""
    compared: list[ScoredTwice] = []
    shifts = 0
    for look in islice(cycle(looks), MAX_COMPARISONS):
        scored = scorer.score_twice(look.cell, look.encoding)
        if scored is None:
            return None
        if isinstance(scored, MissedDraw):
            return scored.reason
        compared.append(scored)
        alone = judge_alignment([scored]).alignment
        if Alignment.ALIGNED in (alone, judge_alignment(compared).alignment):
            return None
        # A single bad answer is no shift.
        shifts += alone is Alignment.SHIFTED
        if shifts > 1:
            return judge_alignment(compared)
    return _figures(judge_alignment(compared))


def _figures(found: AlignmentFigures) -> str:
    return (
        f"{found.near} of {found.tokens} tokens that it generated have the same one in its echo, "
        f"typically {found.distance:.3g} nats apart"
    )
