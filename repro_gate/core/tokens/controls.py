"""Controls: what shows, for each model, that another seed and another prompt change its output.

A golden that matches proves nothing where no output could have been another one. So each model has
to be seen to differ, once by seed alone and once by prompt alone. The cells of the plan are the
evidence, at no cost; only where none of them differs are further generations run, a few at most.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import assert_never

from repro_gate.core.tokens.cell import MAX_SEED, Cell, Factor, Sampler
from repro_gate.core.tokens.generation import Divergence, Generation, output_divergence
from repro_gate.core.tokens.verdicts import Inconclusive

HOT = Sampler(temperature=10.0, top_k=0, top_p=1.0, min_p=0.0)
"""Nearly every token is as likely as any other, so an engine that uses its seed shows it."""
HEATS = (HOT, replace(HOT, temperature=2.0), replace(HOT, temperature=1.0))
"""Each is tried where the engine does not run the one before."""
MAX_AGREEING = 4
"""After so many contrasts without a difference a factor changes nothing."""
_LONG = 16
"""Some models begin every answer with the same few tokens, so a short cell is tried longer too."""
_MAX_OTHER_PROMPTS = 2
"""So many other prompts of the plan are tried in place of one before those of our own."""
_OWN_PROMPTS = ("1 2 3 4 5 6 7 8", "Dear Sir or Madam,")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two cells of one model that differ by one factor alone."""

    factor: Factor
    cell: Cell
    varied: Cell

    def __post_init__(self) -> None:
        if not _is_varied(self.factor, self.cell, self.varied):
            raise ValueError(
                f"{self.cell.id} and {self.varied.id} do not differ by their {self.factor} alone"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What one machine found for one factor of one model."""

    contrast: Contrast
    """The first that differs; where none does, the last that was tried or could not be run."""
    reference: Generation | None = None
    """What the cell gives; None where that is its own first run."""
    generation: Generation | None = None
    """What the varied cell gives; None where that is its own first run, or it was not run."""
    problem: Inconclusive | None = None
    """Why no difference could be shown; None when the contrast was measured."""

    def divergence(self, observed: Mapping[Cell, Generation]) -> Divergence | None:
        """Return where the two outputs differ, or None; `observed` has each cell's first run."""
        if self.problem is not None:
            return None
        reference = self.reference or observed[self.contrast.cell]
        return output_divergence(reference, self.generation or observed[self.contrast.varied])


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlReport:
    """Whether a factor was seen to change the output of a model."""

    contrast: Contrast
    divergence: Divergence | None
    """Where the two outputs differ; None when they do not, or were not measured."""
    problem: Inconclusive | None = None
    """Why the control could not be run; None when it was."""

    def __post_init__(self) -> None:
        if self.divergence is not None and self.problem is not None:
            raise ValueError("a control has a divergence or a problem, not both")

    @property
    def model(self) -> str:
        """The model that was varied."""
        return self.contrast.cell.model

    @property
    def failed(self) -> bool:
        """Whether nothing differed: then agreement with a golden proves nothing."""
        return self.divergence is None and self.problem is None


def judge_controls(
    controls: Sequence[Control], *, model: str, observed: Mapping[Cell, Generation]
) -> tuple[ControlReport, ...]:
    """Return one report on each factor of a model for which any machine ran a control.

    A machine that fails to show a difference outweighs those that do.

    Args:
        controls: of every model, from every machine or device.
        model: the model to report on.
        observed: the first run of every cell.
    """
    return tuple(
        _judge(found, observed={cell: run for cell, run in observed.items() if cell.model == model})
        for factor in Factor
        for found in [
            [
                control
                for control in controls
                if control.contrast.cell.model == model and control.contrast.factor is factor
            ]
        ]
        if found
    )


def _judge(found: Sequence[Control], *, observed: Mapping[Cell, Generation]) -> ControlReport:
    reports = [
        ControlReport(
            contrast=control.contrast,
            divergence=control.divergence(observed),
            problem=control.problem,
        )
        for control in found
    ]
    for report in sorted(reports, key=lambda report: report.problem is not None):
        if report.divergence is None:
            return report
    # The evidence that one machine would have come upon first, however the plan was divided.
    contrast = shown_by(reports[0].contrast.factor, observed)
    if contrast is None:
        return reports[0]
    divergence = output_divergence(observed[contrast.cell], observed[contrast.varied])
    return ControlReport(contrast=contrast, divergence=divergence)


def applies(factor: Factor, cells: Iterable[Cell]) -> bool:
    """Return whether a factor has to change something: at temperature 0 the seed does not."""
    match factor:
        case Factor.SEED:
            return any(not cell.sampler.is_greedy for cell in cells)
        case Factor.PROMPT:
            return True
        case _:
            assert_never(factor)


def is_affected(factor: Factor, cell: Cell) -> bool:
    """Return whether agreement on a cell proves nothing when the factor changes nothing."""
    return applies(factor, [cell])


def shown_by(factor: Factor, observed: Mapping[Cell, Generation]) -> Contrast | None:
    """Return the first two cells of a model that differ by a factor and in their output."""
    for group in _alike(factor, observed):
        # Two outputs that were cut short agree as far as both go, so the longest decides for all.
        longest = max(group, key=lambda cell: len(observed[cell].tokens))
        for cell in group:
            is_varied = _is_varied(factor, longest, cell)
            if is_varied and output_divergence(observed[longest], observed[cell]) is not None:
                first, second = (each for each in group if each in {longest, cell})
                return Contrast(factor=factor, cell=first, varied=second)
    return None


def agreeing_seeds(observed: Mapping[Cell, Generation]) -> Iterator[tuple[Cell, ...]]:
    """Yield the sampled cells of each prompt of which all seeds, two or more, agree."""
    for first, *others in _alike(Factor.SEED, observed):
        same = (output_divergence(observed[first], observed[other]) is None for other in others)
        if others and all(same):
            yield (first, *others)


def further(factor: Factor, cells: Sequence[Cell]) -> Iterator[Contrast]:
    """Yield what is still tried, in order, when no two cells of a model differ by a factor.

    Those of one cell follow each other, and there are more than are needed, because some may be
    ones that cannot be run: see `is_milder` and `is_settled`.

    Args:
        factor: what is to be shown to matter; it has to apply to the cells.
        cells: all cells of the model in the whole plan, so that every part tries the same.
    """
    match factor:
        case Factor.SEED:
            return _further_seeds(cells)
        case Factor.PROMPT:
            return _further_prompts(cells)
        case _:
            assert_never(factor)


def is_milder(contrast: Contrast, agreed: Contrast) -> bool:
    """Return whether two outputs have to agree because those of a stronger contrast do."""
    cell, strong = contrast.cell, agreed.cell
    is_hotter = strong.sampler in HEATS and strong.sampler.temperature >= cell.sampler.temperature
    return (
        (cell.text, cell.seed) == (strong.text, strong.seed)
        and (contrast.varied.text, contrast.varied.seed) == (agreed.varied.text, agreed.varied.seed)
        and cell.max_tokens <= strong.max_tokens
        and (cell.sampler == strong.sampler or is_hotter)
    )


def is_settled(agreeing: Sequence[Contrast]) -> bool:
    """Return whether so many contrasts without a difference show that their factor has no effect.

    Cold cells alone do not: seeds that agree on facts are what a sound model gives.
    """
    is_hot = any(each.factor is not Factor.SEED or each.cell.sampler in HEATS for each in agreeing)
    return len(agreeing) >= MAX_AGREEING and is_hot


def _further_seeds(cells: Sequence[Cell]) -> Iterator[Contrast]:
    """Yield another seed for each prompt, the hottest and longest first, and then the same hot."""
    sampled = [cell for cell in cells if not cell.sampler.is_greedy]
    hottest = sorted(sampled, key=lambda cell: (-cell.sampler.temperature, -cell.max_tokens))
    for cell in _first_of_each_text(hottest):
        long = replace(cell, sampler=HOT, max_tokens=max(cell.max_tokens, _LONG))
        cooler = (replace(cell, sampler=heat) for heat in HEATS if heat != HOT)
        for each in dict.fromkeys((cell, long, *cooler)):
            yield Contrast(factor=Factor.SEED, cell=each, varied=_with_new_seed(each, cells))


def _first_of_each_text(cells: Iterable[Cell]) -> Iterable[Cell]:
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.text, cell)
    return first.values()


def _with_new_seed(cell: Cell, cells: Iterable[Cell]) -> Cell:
    """Return a cell with the next seed that no cell of its model has."""
    taken = {other.seed for other in cells}
    seed = cell.seed % MAX_SEED + 1
    while seed in taken:
        seed = seed % MAX_SEED + 1
    return replace(cell, seed=seed)


def _further_prompts(cells: Sequence[Cell]) -> Iterator[Contrast]:
    """Yield other prompts in place of each, the longest cells first."""
    own = {text: f"control-{number}" for number, text in enumerate(_OWN_PROMPTS, start=1)}
    names = own | {cell.text: cell.prompt for cell in cells}
    planned = dict.fromkeys(cell.text for cell in cells)
    for cell in _first_of_each_text(sorted(cells, key=lambda cell: -cell.max_tokens)):
        long = replace(cell, max_tokens=max(cell.max_tokens, _LONG))
        others = islice((text for text in planned if text != cell.text), _MAX_OTHER_PROMPTS)
        ours = [text for text in own if text != cell.text]
        tried = [(cell, text) for text in (*others, ours[0])]
        tried += [(each, text) for each in (long, cell) for text in ours]
        for each, text in dict.fromkeys(tried):
            varied = replace(each, prompt=names[text], text=text)
            yield Contrast(factor=Factor.PROMPT, cell=each, varied=varied)


def _alike(factor: Factor, cells: Iterable[Cell]) -> Iterable[Sequence[Cell]]:
    """Return the cells that a factor affects, put together where all else is the same."""
    groups: dict[Hashable, list[Cell]] = defaultdict(list)
    for cell in cells:
        if is_affected(factor, cell):
            groups[_key(factor, cell)].append(cell)
    return groups.values()


def _key(factor: Factor, cell: Cell) -> Hashable:
    """Return what two cells share that can differ by the factor alone."""
    match factor:
        case Factor.SEED:
            return cell.model, cell.text, cell.sampler, cell.max_tokens
        case Factor.PROMPT:
            return cell.model, cell.sampler, None if cell.sampler.is_greedy else cell.seed
        case _:
            assert_never(factor)


def _is_varied(factor: Factor, cell: Cell, varied: Cell) -> bool:
    if _key(factor, cell) != _key(factor, varied):
        return False
    match factor:
        case Factor.SEED:
            return cell.seed != varied.seed
        case Factor.PROMPT:
            return cell.text != varied.text
        case _:
            assert_never(factor)
