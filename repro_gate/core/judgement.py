"""From what was observed to a verdict."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from repro_gate.core.cells import Cell
from repro_gate.core.divergence import first_divergence
from repro_gate.core.goldens import Facts, Golden, definition_changes, provenance_changes
from repro_gate.core.tokens import Generation, Stop, Token
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
    runs: int = 1
    difference: Nondeterministic | None = None
    """None while every run equals the first."""

    def with_run(self, generation: Generation, *, in_fresh_process: bool) -> "Repetition":
        """Return the repetition after one more run; memory does not grow with their number."""
        run = self.runs + 1
        divergence = first_divergence(self.first, generation)
        if self.difference is not None or divergence is None:
            return replace(self, runs=run)
        difference = Nondeterministic(
            run=run, in_fresh_process=in_fresh_process, divergence=divergence
        )
        return replace(self, runs=run, difference=difference)


def judge(
    repetition: Repetition, *, cell: Cell, golden: Golden | None, vacuity: str | None, facts: Facts
) -> Verdict:
    """Return the verdict on one measured cell.

    What is wrong with this machine comes before what is wrong with the golden, and a
    difference that was seen comes before the suspicion that none could be.
    """
    if repetition.difference is not None:
        return repetition.difference
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
        if _all_alike([observed[cell] for cell in cells]):
            for cell in cells:
                yield cell, f"all {len(cells)} seeds of this prompt give the same tokens"


def _same_for_all_prompts(observed: Mapping[Cell, Generation]) -> Iterable[tuple[Cell, str]]:
    seeds: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in observed:
        seeds[cell.model, cell.seed].append(cell)
    for cells in seeds.values():
        # Prompts of one text, with other samplers or lengths, may well begin alike.
        texts = {cell.text for cell in cells}
        if len(texts) > 1 and _all_alike([observed[cell] for cell in cells]):
            for cell in cells:
                yield cell, f"all {len(cells)} prompts give the same tokens at this seed"


def _all_alike(generations: Sequence[Generation]) -> bool:
    """Tell whether two or more generations agree as far as the shortest of them goes."""
    said = [_with_end(generation) for generation in generations]
    shortest = min(map(len, said))
    return len(said) > 1 and len({tokens[:shortest] for tokens in said}) == 1


def _with_end(generation: Generation) -> tuple[Token | None, ...]:
    """Return the tokens, and None unless they were cut short: to end is an answer too."""
    if generation.stop is Stop.LENGTH and generation.tokens:
        return generation.tokens
    return (*generation.tokens, None)
