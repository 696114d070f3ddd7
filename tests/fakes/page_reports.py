"""Reports of the sizes that a page has to show: a few cells, and thousands."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, LogprobVerdict, Shifted
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.generation import Choice, Generation, Stop, Token, first_divergence
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)
from tests.fakes.logprob_reports import (
    deciding_of,
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    rich_logprobs_of,
    token_of,
)
from tests.fakes.reports import CONCURRENT, LOST, MODES, report_of
from tests.fakes.values import PROFILE, SAMPLED, golden_of, provenance_of, verification_of

MODELS: Final = ("smollm2-135m", "gemma-3-270m", "qwen2.5-coder-1.5b", "tiny-phi3", "tiny-qwen2")
PROMPTS: Final = {
    "autumn-leaves": "Write a haiku about autumn leaves",
    "bread-recipe": "A recipe for bread begins with",
    "night-train": "The train leaves the station at",
    "moon-visit": "Three reasons to visit the moon:",
    "dear-diary": "Dear diary, today I learned",
    "galaxy-far-away": "In a galaxy far, far away",
}
_WORDS: Final[Sequence[str]] = (
    *("the", "a", "of", "and", "to", "in", "was", "that", "it", "with", "for", "on", "as", "were"),
    *("flour", "water", "salt", "yeast", "moon", "train", "leaves", "red", "gold", "night"),
    *("station", "light", "wind", "warm", "bread", "stone", "river", "story", "letter", "window"),
    *("morning", "winter", "table", "music", "garden", "silver", "paper"),
)
_CHANGES: Final = (
    FactChange(name="setting.kv_type", before="f32", after="f16"),
    FactChange(name="device.driver", before="560.35.03", after="565.57.01"),
)
_EVERY: Final = 55
"""Of so many cells, one has a finding."""


def small_page_report() -> GateReport:
    """Return thirty cells of three models, with every verdict of both gates."""
    return report_like(30, odd=8)


def large_page_report(cells: int = 10_000) -> GateReport:
    """Return many cells, of which one in `_EVERY` has a finding."""
    return replace(report_like(cells, odd=cells // _EVERY), logprobs=(hosted_of(60),))


def report_like(cells: int, *, odd: int) -> GateReport:
    """Return a report on some cells, of which the first `odd` ones have a verdict in turn."""
    usual = report_of()
    every = list(_cells(cells))
    # A prime step spreads the findings over the models.
    places = {place * 7919 % cells: number for number, place in enumerate(range(odd))}
    found = [_found(cell, places.get(place)) for place, cell in enumerate(every)]
    models = dict.fromkeys(cell.model for cell in every)
    return replace(
        usual,
        suites=("release", "hosted"),
        cells=tuple(found),
        models={model: provenance_of(model) for model in models},
        provenances=(provenance_of("any"),),
        orphans=usual.orphans if cells else (),
    )


def hosted_of(items: int) -> LogprobReport:
    """Return a suite of log-probabilities with noise, and a drift in every tenth item."""
    chance = _chance("draws")
    cells = []
    for number in range(items):
        cell = logprob_cell_of(f"item-{number}", policy="base" if number % 2 else "twin")
        center = -round(chance.uniform(8, 90), 4)
        shift = -0.6 if number % 10 == 0 else 0.0
        draws = [center] * 7 + [center + chance.gauss(0, 0.06) for _ in range(3)]
        now = [center + shift + (chance.gauss(0, 0.05) if n % 3 else 0) for n in range(5)]
        verdict: LogprobVerdict = Agrees(equivalence=Equivalence.EQUIVALENT)
        if shift:
            deciding = deciding_of(shift=shift, band=0.2, calibration=draws, draws=now)
            effect = effect_of(token_of(4, shift=shift), shift=shift, deciding=deciding)
            verdict = Shifted(effect=effect, provenance=_CHANGES[:1])
        found = logprob_cell_report_of(verdict, cell, center=center, band=0.2)
        cells.append(replace(found, calibration=tuple(draws), totals=tuple(now)))
    ordered = sorted(cells, key=lambda found: found.cell.policy.name)
    return replace(rich_logprobs_of(), cells=tuple(ordered), orphans=())


def _cells(number: int) -> Iterator[Cell]:
    """Yield cells, those of a model together."""
    prompts = list(PROMPTS.items())
    sizes = range(max(3, number // 500))
    models = [f"{MODELS[n % 5]}{'' if n < len(MODELS) else f'-{n // 5}'}" for n in sizes]
    share = -(-number // len(models))
    places = ((model, place) for model in models for place in range(share))
    for (model, place), _ in zip(places, range(number), strict=False):
        name, text = prompts[place % len(prompts)]
        yield Cell(
            model=model,
            prompt=name,
            text=text,
            seed=42 + place // len(prompts),
            max_tokens=24,
            sampler=SAMPLED,
        )


def _found(cell: Cell, odd: int | None) -> CellReport:
    first = english(cell.id)
    usual = CellReport(
        suite="release",
        cell=cell,
        verdict=Match(),
        runs=10,
        generation=first,
        profile=PROFILE,
        provenance=0,
    )
    return usual if odd is None else _odd(usual, first, odd)


def _odd(usual: CellReport, first: Generation, number: int) -> CellReport:
    """Return a cell with the next verdict; every second one drifted."""
    cell = usual.cell
    golden = golden_of(cell, english(cell.id, fork=6 + number % 9))
    divergence = first_divergence(golden.generation, first)
    assert divergence is not None
    drift = Drift(divergence=divergence, golden=golden, provenance=_CHANGES)
    drifted = replace(usual, verdict=drift, verification=verification_of(golden.generation))
    parted = first_divergence(first, golden.generation)
    assert parted is not None
    differing = Nondeterministic(run=3, in_fresh_process=True, divergence=parted)
    modes = tuple(replace(mode, divergence=mode.divergence and parted) for mode in MODES)
    others = (
        replace(usual, verdict=differing, runs=3),
        replace(usual, verdict=Depends(modes=(CONCURRENT,)), modes=modes),
        replace(usual, verdict=Unrecorded(reason="there is no golden for this profile")),
        replace(usual, verdict=Vacuous(factor=Factor.SEED)),
        replace(usual, verdict=LOST, runs=0, generation=None, profile=None, provenance=None),
    )
    return drifted if number % 2 == 0 else others[number // 2 % len(others)]


def english(name: str, *, fork: int | None = None, tokens: int = 24) -> Generation:
    """Return words that depend on a name, and other ones from a fork on."""
    before, after = _chance(name), _chance(f"{name} after")
    numbers = count()
    words = [
        _token(after if fork is not None and place >= fork else before) for place in range(tokens)
    ]
    return Generation(
        prompt=tuple(Token(next(numbers), word.encode()) for word in ("Once", " upon")),
        tokens=tuple(words),
        stop=Stop.LENGTH,
        trace=tuple(_trace(words, _chance(f"{name} {fork}"))),
    )


def _chance(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 -- not for secrets


def _token(chance: random.Random) -> Token:
    place = chance.randrange(len(_WORDS))
    end = "\n" if chance.random() < 0.08 else ""
    return Token(1000 + 2 * place + bool(end), f" {_WORDS[place]}{end}".encode())


def _trace(words: Sequence[Token], chance: random.Random) -> Iterator[Choice]:
    for word in words:
        logprob = -round(chance.expovariate(1.5), 4)
        yield Choice(logprob=logprob, best=((word.id, logprob), (7, logprob - 0.5)))
