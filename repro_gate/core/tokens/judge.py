"""From repeated runs to a verdict."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from repro_gate.core.guards import require_at_least
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.controls import ControlReport, is_affected
from repro_gate.core.tokens.generation import (
    Divergence,
    Generation,
    Place,
    first_divergence,
    output_divergence,
)
from repro_gate.core.tokens.golden import Facts, Golden, definition_changes, provenance_changes
from repro_gate.core.tokens.modes import ModeResult, Proof
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    FormerGolden,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
    Verdict,
    require_seen,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """The runs of one cell, as the first run and the first one that differs."""

    first: Generation
    runs: int = 1
    difference: Nondeterministic | None = None
    """None while every run equals the first."""
    first_had_neighbours: bool = False
    """Whether the engine worked on another run at some time during the first."""

    def __post_init__(self) -> None:
        require_at_least(1, runs=self.runs)
        if self.difference is not None:
            require_seen(self.difference, first=self.first, runs=self.runs)
            if self.difference.first_had_neighbours != self.first_had_neighbours:
                raise ValueError("two accounts of the neighbours of run 1")

    def with_run(
        self,
        generation: Generation,
        *,
        in_fresh_process: bool,
        had_neighbours: bool = False,
        in_fresh_client: bool = False,
    ) -> "Repetition":
        """Return the repetition after one more run, in constant memory."""
        run = self.runs + 1
        divergence = first_divergence(self.first, generation)
        if self.difference is not None or divergence is None:
            return replace(self, runs=run)
        difference = Nondeterministic(
            run=run,
            in_fresh_process=in_fresh_process,
            divergence=divergence,
            had_neighbours=had_neighbours,
            first_had_neighbours=self.first_had_neighbours,
            in_fresh_client=in_fresh_client,
        )
        return replace(self, runs=run, difference=difference)


def judge(  # noqa: PLR0913 -- everything that a verdict rests on
    repetition: Repetition,
    *,
    cell: Cell,
    golden: Golden | None,
    facts: Facts,
    controls: Iterable[ControlReport] = (),
    modes: Sequence[ModeResult] = (),
) -> Verdict:
    """Return the verdict on one measured cell.

    Nondeterminism takes precedence over drift, and an observed difference over a failed control.
    Modes count only where the runs alone match the golden.

    Args:
        repetition: the runs of the cell.
        cell: as the matrix defines it.
        golden: the committed golden for this profile, if any.
        facts: the provenance of the runs.
        controls: those of the cell's model.
        modes: the results of the cell in every mode that its suite asks for.
    """
    if repetition.difference is not None:
        return repetition.difference
    against_golden = _compare(repetition.first, cell=cell, golden=golden, facts=facts)
    if isinstance(against_golden, Drift):
        return against_golden
    modes = modes if isinstance(against_golden, Match) else ()
    differing = tuple(result.mode for result in modes if result.falls_short)
    if differing and golden is not None:
        return Depends(modes=differing, provenance=provenance_changes(golden.provenance, facts))
    return doubt(cell, controls) or _doubt_of_modes(modes) or against_golden


def _doubt_of_modes(results: Sequence[ModeResult]) -> Vacuous | Inconclusive | None:
    doubted = [result for result in results if result.is_in_doubt]
    for result in doubted:
        if result.proof is Proof.ABSENT:
            return Vacuous(mode=result.mode)
    unknown = next(iter(doubted), None)
    if unknown is None:
        return None
    return Inconclusive(reason=f"{unknown.mode}: {unknown.reason}", remedy=unknown.remedy)


def doubt(cell: Cell, controls: Iterable[ControlReport]) -> Vacuous | Inconclusive | None:
    """Return why agreement on a cell proves nothing, or None; `controls` are of its model."""
    doubted = [c for c in controls if c.divergence is None and is_affected(c.contrast.factor, cell)]
    for control in doubted:
        if control.problem is None:
            return Vacuous(factor=control.contrast.factor)
    return next((c.problem for c in doubted if c.problem is not None), None)


def new_finding(
    before: Repetition | None,
    now: Repetition,
    *,
    cell: Cell,
    golden: Golden | None,
    facts: Facts,
) -> Drift | Nondeterministic | Unrecorded | None:
    """Return the finding that the latest run of a cell adds, or None when it adds none.

    Args:
        before: the runs without the latest; None when it is the first.
        now: the runs with the latest.
        cell: as the matrix defines it.
        golden: the committed golden for this profile, if any.
        facts: the provenance of the runs.
    """
    if before is not None:
        return None if before.difference is not None else now.difference
    compared = _compare(now.first, cell=cell, golden=golden, facts=facts)
    return None if isinstance(compared, Match) else compared


def _compare(
    observed: Generation, *, cell: Cell, golden: Golden | None, facts: Facts
) -> Match | Drift | Unrecorded:
    if golden is None:
        return Unrecorded(reason="there is no golden for this profile")
    changes = definition_changes(golden.cell, cell)
    if changes:
        changed = "; ".join(f"{change.name} was {change.before}" for change in changes)
        return Unrecorded(
            reason=f"the golden is for another definition of the cell: {changed}",
            former=FormerGolden(divergence=_since(golden, observed, cell=cell), changes=changes),
        )
    divergence = first_divergence(golden.generation, observed)
    if divergence is None and golden.generation.lacks_logits_of(observed):
        return Unrecorded(reason="the golden has these tokens, but not the logits to compare")
    if divergence is None:
        return Match()
    return Drift(
        divergence=divergence,
        golden=golden,
        provenance=provenance_changes(golden.provenance, facts),
    )


def _since(golden: Golden, observed: Generation, *, cell: Cell) -> Divergence | None:
    """Return where the tokens differ from those of another definition of their cell.

    What precedes the output is compared only for the same input, and truncation is ignored.
    """
    found = first_divergence(golden.generation, observed)
    is_before = found is not None and found.place in {Place.TEMPLATE, Place.PROMPT}
    if is_before and golden.cell.input == cell.input:
        return found
    return output_divergence(golden.generation, observed)
