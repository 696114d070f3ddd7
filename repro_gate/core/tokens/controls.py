"""Controls: evidence, for each model, that another seed and another prompt change its output.

A match with a golden proves nothing if no output could have differed. So each model has to give
different outputs, once by seed alone and once by prompt alone. Cells of the plan are the evidence,
at no cost; only where none of them differ, a few further generations are run.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import assert_never

from repro_gate.core.tokens.cell import MAX_SEED, Cell, Factor, Sampler
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.generation import Divergence, Generation, output_divergence
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.samplers import Sampling

HOT = Sampler(temperature=10.0, top_k=0, top_p=1.0, min_p=0.0)
"""Nearly uniform, so that any engine that uses its seed shows it."""
HEATS = (HOT, replace(HOT, temperature=2.0), replace(HOT, temperature=1.0))
"""In order of trial; later ones are for engines that reject the earlier ones."""


def _heats(*samplers: str, heats: Sequence[Sampler] = HEATS, **values: float) -> Sequence[Sampler]:
    neutral = {"dynatemp_range": 0, "dynatemp_exponent": 1}
    sampling = Sampling.parse({"samplers": ["temperature", *samplers], **neutral, **values})
    return tuple(replace(heat, sampling=sampling) for heat in heats)


_FURTHER_HEATS = {
    # It takes the likeliest token alone where the others are nearly as likely, as if greedy.
    "mirostat": _heats("mirostat", mirostat_tau=8.0, mirostat_eta=0.1, heats=HEATS[-1:]),
    "mirostat_v2": _heats("mirostat_v2", mirostat_tau=1000.0, mirostat_eta=0.1),
    "adaptive_p": _heats("adaptive_p", adaptive_target=-1.0, adaptive_decay=0.9),
}
"""The same for cells whose last sampler draws with random numbers of its own."""
_OTHER_HEATS = _heats()
"""For the other cells with further samplers, for which an engine may use other code."""
MAX_AGREEING = 4
"""Contrasts without a difference after which a factor has no effect."""
_LONG = 16
"""Minimum length of one trial: some models start every answer with the same few tokens."""
_MAX_OTHER_PROMPTS = 2
"""Prompts of the plan tried before the built-in ones."""
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
    """The control of one factor of one model on one machine."""

    contrast: Contrast
    """The first contrast that differs, or else the last one tried."""
    reference: Generation | None = None
    """The output of the cell; None where that is its own first run."""
    generation: Generation | None = None
    """The output of the varied cell; None where that is its own first run, or without a run."""
    problem: Inconclusive | None = None
    """Why the contrast could not be measured; None when it was."""

    def divergence(self, observed: Mapping[Cell, Generation]) -> Divergence | None:
        """Return where the two outputs differ, or None; `observed` has each cell's first run."""
        if self.problem is not None:
            return None
        reference = self.reference or observed[self.contrast.cell]
        return output_divergence(reference, self.generation or observed[self.contrast.varied])


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlReport:
    """Whether a factor changes the output of a model."""

    contrast: Contrast
    divergence: Divergence | None
    """Where the two outputs differ; None when they agree or were not measured."""
    problem: Inconclusive | None = None
    """Why the control could not be run; None when it was."""

    def __post_init__(self) -> None:
        if self.divergence is not None and self.problem is not None:
            raise ValueError("a control has a divergence or a problem, not both")

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.contrast.cell.model

    @property
    def failed(self) -> bool:
        """Whether nothing differed, so that agreement with a golden proves nothing."""
        return self.divergence is None and self.problem is None


def judge_controls(
    controls: Sequence[Control], *, model: str, observed: Mapping[Cell, Generation]
) -> tuple[ControlReport, ...]:
    """Return a report for each factor of a model with a control on any machine.

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
    # The same evidence as on one machine, however the plan was divided.
    contrast = shown_by(reports[0].contrast.factor, observed)
    if contrast is None:
        return reports[0]
    divergence = output_divergence(observed[contrast.cell], observed[contrast.varied])
    return ControlReport(contrast=contrast, divergence=divergence)


def applies(factor: Factor, cells: Iterable[Cell]) -> bool:
    """Return whether a factor has to affect any of the cells; a greedy cell has no seed."""
    match factor:
        case Factor.SEED:
            return any(not cell.sampler.is_greedy for cell in cells)
        case Factor.PROMPT:
            return True
        case _:
            assert_never(factor)


def is_affected(factor: Factor, cell: Cell) -> bool:
    """Return whether the factor has to affect this cell."""
    return applies(factor, [cell])


def shown_by(factor: Factor, observed: Mapping[Cell, Generation]) -> Contrast | None:
    """Return the first two cells that differ by a factor and in their output, or None."""
    for group in _alike(factor, observed):
        # Truncated outputs are compared up to the shorter length, so the longest is the reference.
        longest = max(group, key=lambda cell: len(observed[cell].tokens))
        for cell in group:
            is_varied = _is_varied(factor, longest, cell)
            if is_varied and output_divergence(observed[longest], observed[cell]) is not None:
                first, second = (each for each in group if each in {longest, cell})
                return Contrast(factor=factor, cell=first, varied=second)
    return None


def agreeing_seeds(observed: Mapping[Cell, Generation]) -> Iterator[tuple[Cell, ...]]:
    """Yield, for each prompt with two or more seeds that all agree, its sampled cells."""
    for first, *others in _alike(Factor.SEED, observed):
        same = (output_divergence(observed[first], observed[other]) is None for other in others)
        if others and all(same):
            yield (first, *others)


def further(factor: Factor, cells: Sequence[Cell]) -> Iterator[Contrast]:
    """Yield further contrasts to try, in order, when no two cells of a model differ by a factor.

    They are grouped by cell, and more than needed, because an engine may reject some: see
    `is_milder` and `is_settled`.

    Args:
        factor: the factor; it has to apply to the cells.
        cells: all cells of the model in the whole plan, so that every shard tries the same.
    """
    match factor:
        case Factor.SEED:
            return _further_seeds(cells)
        case Factor.PROMPT:
            return _further_prompts(cells)
        case _:
            assert_never(factor)


def heats_of(sampler: Sampler) -> Sequence[Sampler]:
    """Return the hot samplers, in order of trial, that show the seeds of cells with a sampler."""
    if sampler.sampling is None:
        return HEATS
    return _FURTHER_HEATS.get(sampler.sampling.order[-1], _OTHER_HEATS)


def is_milder(contrast: Contrast, agreed: Contrast) -> bool:
    """Return whether a contrast is implied to agree by a stronger one that agreed."""
    cell, varied, strong = contrast.cell, contrast.varied, agreed.cell
    is_hotter = (
        strong.sampler in heats_of(cell.sampler)
        and strong.sampler.temperature >= cell.sampler.temperature
    )
    return (
        (cell.input, cell.seed) == (strong.input, strong.seed)
        and (varied.input, varied.seed) == (agreed.varied.input, agreed.varied.seed)
        and cell.max_tokens <= strong.max_tokens
        and strong.stop in {(), cell.stop}
        and (cell.sampler == strong.sampler or is_hotter)
    )


def is_settled(agreeing: Sequence[Contrast]) -> bool:
    """Return whether these contrasts without a difference prove that their factor has no effect.

    Low temperatures alone do not: a sound model may agree on facts for every seed. Nor do bound
    cells: their answer may be the same to every prompt.
    """
    is_free = any(
        each.cell.sampler in heats_of(each.cell.sampler)
        or (each.factor is Factor.PROMPT and not _is_bound(each.cell))
        for each in agreeing
    )
    return len(agreeing) >= MAX_AGREEING and is_free


def _is_bound(cell: Cell) -> bool:
    """Return whether something besides the model may decide what it answers."""
    sampling = cell.sampler.sampling
    return bool(cell.stop) or (sampling is not None and sampling.is_binding)


def _further_seeds(cells: Sequence[Cell]) -> Iterator[Contrast]:
    """Yield contrasts with another seed for each prompt, hottest and longest cells first."""
    sampled = [cell for cell in cells if not cell.sampler.is_greedy]
    hottest = sorted(sampled, key=lambda cell: (-cell.sampler.temperature, -cell.max_tokens))
    for cell in _first_of_each_input(hottest):
        hot, *milder = heats_of(cell.sampler)
        long = replace(cell, sampler=hot, max_tokens=max(cell.max_tokens, _LONG))
        cooler = (replace(cell, sampler=heat) for heat in milder)
        for each in dict.fromkeys((cell, long, *cooler)):
            yield Contrast(factor=Factor.SEED, cell=each, varied=_with_new_seed(each, cells))


def _first_of_each_input(cells: Iterable[Cell]) -> Iterable[Cell]:
    first: dict[str | Chat, Cell] = {}
    for cell in cells:
        first.setdefault(cell.input, cell)
    return first.values()


def _with_new_seed(cell: Cell, cells: Iterable[Cell]) -> Cell:
    """Return the cell with the next unused seed of its model."""
    taken = {other.seed for other in cells}
    seed = cell.seed % MAX_SEED + 1
    while seed in taken:
        seed = seed % MAX_SEED + 1
    return replace(cell, seed=seed)


def _further_prompts(cells: Sequence[Cell]) -> Iterator[Contrast]:
    """Yield contrasts with another prompt, longest cells first."""
    own = {text: f"control-{number}" for number, text in enumerate(_OWN_PROMPTS, start=1)}
    planned = {cell.input: cell.prompt for cell in cells}
    names = dict[str | Chat, str](own.items()) | planned
    for cell in _first_of_each_input(sorted(cells, key=lambda cell: -cell.max_tokens)):
        long = replace(cell, max_tokens=max(cell.max_tokens, _LONG))
        others = islice((asked for asked in planned if asked != cell.input), _MAX_OTHER_PROMPTS)
        ours = [text for text in own if text != cell.input]
        tried = [(cell, asked) for asked in (*others, ours[0])]
        tried += [(each, asked) for each in (long, cell) for asked in ours]
        if _is_bound(cell):
            # Before there are as many agreeing ones as end the trials.
            free = replace(long, sampler=heats_of(cell.sampler)[-1], stop=())
            tried[1:1] = [(free, asked) for asked in ours]
        for each, asked in dict.fromkeys(tried):
            varied = each.with_input(asked, prompt=names[asked])
            yield Contrast(factor=Factor.PROMPT, cell=each, varied=varied)


def _alike(factor: Factor, cells: Iterable[Cell]) -> Iterable[Sequence[Cell]]:
    """Group the cells that a factor affects by everything but the factor."""
    groups: dict[Hashable, list[Cell]] = defaultdict(list)
    for cell in cells:
        if is_affected(factor, cell):
            groups[_key(factor, cell)].append(cell)
    return groups.values()


def _key(factor: Factor, cell: Cell) -> Hashable:
    """Return the key that two cells share if they can differ by the factor alone."""
    match factor:
        case Factor.SEED:
            return cell.model, cell.input, cell.sampler, cell.max_tokens
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
            return cell.input != varied.input
        case _:
            assert_never(factor)
