"""From what was observed to a verdict."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from repro_gate.core.cells import Cell
from repro_gate.core.divergence import Divergence, first_divergence
from repro_gate.core.goldens import Facts, Golden, definition_changes, provenance_changes
from repro_gate.core.tokens import Generation, Token
from repro_gate.core.verdicts import (
    Drift,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """The runs of one cell, told by the first of them and the first that differs."""

    first: Generation
    runs: int
    differing_run: int | None = None
    """Counted from 1; None while every run equals the first."""
    in_fresh_process: bool = False
    divergence: Divergence | None = None

    def with_run(self, generation: Generation, *, in_fresh_process: bool) -> "Repetition":
        """Return the repetition after one more run; memory does not grow with their number."""
        divergence = self.divergence or first_divergence(self.first, generation)
        differs_now = divergence is not None and self.divergence is None
        return Repetition(
            first=self.first,
            runs=self.runs + 1,
            differing_run=self.runs + 1 if differs_now else self.differing_run,
            in_fresh_process=in_fresh_process if differs_now else self.in_fresh_process,
            divergence=divergence,
        )


def judge(
    repetition: Repetition, *, cell: Cell, golden: Golden | None, vacuity: str | None, facts: Facts
) -> Verdict:
    """Return the verdict on one measured cell.

    What is wrong with this machine comes before what is wrong with the golden, and a
    difference that was seen comes before the suspicion that none could be.
    """
    if repetition.divergence is not None and repetition.differing_run is not None:
        return Nondeterministic(
            run=repetition.differing_run,
            in_fresh_process=repetition.in_fresh_process,
            divergence=repetition.divergence,
        )
    against_golden = _compare(repetition.first, cell=cell, golden=golden, facts=facts)
    if vacuity is not None and not isinstance(against_golden, Drift):
        return Vacuous(reason=vacuity)
    return against_golden


def _compare(
    observed: Generation, *, cell: Cell, golden: Golden | None, facts: Facts
) -> Match | Drift | Unrecorded:
    if golden is None:
        return Unrecorded(reason="there is no golden for this profile")
    changes = definition_changes(golden.cell, cell)
    if changes:
        said = "; ".join(f"{change.name} was {change.before}" for change in changes)
        return Unrecorded(reason=f"the golden is for another definition of the cell: {said}")
    divergence = first_divergence(golden.generation, observed)
    if divergence is None:
        return Match()
    return Drift(
        divergence=divergence,
        golden=golden,
        provenance=provenance_changes(golden.provenance, facts),
    )


def vacuities(observed: Mapping[Cell, Generation]) -> dict[Cell, str]:
    """Return, for each cell whose agreement would prove nothing, the reason.

    A model can repeat one token whatever it is asked, or ignore the seed or the prompt; it
    would match its golden for ever.
    """
    return {
        **dict(_same_for_all_prompts(observed)),
        **dict(_same_for_all_seeds(observed)),
        **dict(_one_token_repeated(observed)),
    }


def _one_token_repeated(observed: Mapping[Cell, Generation]) -> Iterable[tuple[Cell, str]]:
    for cell, generation in observed.items():
        tokens = generation.tokens
        if len(tokens) > 1 and len(set(tokens)) == 1:
            yield cell, f"token {tokens[0].id} is repeated throughout"


def _same_for_all_seeds(observed: Mapping[Cell, Generation]) -> Iterable[tuple[Cell, str]]:
    prompts: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in observed:
        if not cell.sampler.is_greedy:
            prompts[cell.model, cell.prompt].append(cell)
    for cells in prompts.values():
        if _all_alike([observed[cell].tokens for cell in cells]):
            for cell in cells:
                yield cell, f"all {len(cells)} seeds of this prompt give the same tokens"


def _same_for_all_prompts(observed: Mapping[Cell, Generation]) -> Iterable[tuple[Cell, str]]:
    seeds: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in observed:
        seeds[cell.model, cell.seed].append(cell)
    for cells in seeds.values():
        if _all_alike([observed[cell].tokens for cell in cells]):
            for cell in cells:
                yield cell, f"all {len(cells)} prompts give the same tokens at this seed"


def _all_alike(sequences: Sequence[Sequence[Token]]) -> bool:
    """Tell whether two or more sequences agree as far as the shortest of them goes."""
    shortest = min(map(len, sequences))
    starts = {tuple(sequence[:shortest]) for sequence in sequences}
    return len(sequences) > 1 and shortest > 0 and len(starts) == 1
