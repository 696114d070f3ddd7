"""The matrix: what is measured, on which engine, and how often."""

import json
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from repro_gate.core.engines import EngineSpec, ModelSpec, Setting
from repro_gate.core.guards import require_at_least, require_name, require_text
from repro_gate.core.logprobs.policy import LogprobSuite
from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.tokens.modes import ALONE, RESTART, Level, Mode, in_order
from repro_gate.core.tokens.reference import Reference
from repro_gate.errors import UsageInvalid

DEFAULT_MATRIX_FILE = Path("repro-gate.toml")
_ALONE_WITH_MODES: Final = 2
"""Whether answers depend on a mode shows only where this many runs alone agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpec:
    """A prompt, with the length and the sampler of its generations."""

    text: str
    """Empty for a chat."""
    max_tokens: int
    sampler: Sampler
    chat: Chat | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.chat is None:
            require_text(text=self.text)
        require_at_least(1, max_tokens=self.max_tokens)


class Evidence(StrEnum):
    """What the runs of a cell and its golden must agree in."""

    TOKENS = "tokens"
    LOGITS = "logits"
    """The tokens, and to the bit the logits that each was drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named part of the matrix, checked together."""

    name: str
    runs: int
    fresh_runs: int
    """How many of the runs, at the end, use a fresh engine process."""
    modes: Mapping[Mode, Level] = field(default_factory=dict[Mode, Level])
    """What answers have to keep in each mode, in order; with any, `alone` is one of them."""
    cells: tuple[Cell, ...]
    evidence: Evidence = Evidence.TOKENS
    fail_on: FailingDrift = FailingDrift.ANY
    against: str | None = None
    """Compare with the goldens of this profile; None for those of the machine's own."""

    def __post_init__(self) -> None:
        require_at_least(1, runs=self.runs)
        if self.against is not None:
            require_name(self.against)
            if self.fail_on is FailingDrift.ANY:
                raise ValueError("between profiles only a drift beyond rounding can fail")
            if self.evidence is Evidence.LOGITS:
                raise ValueError("between profiles the logits always differ")
        if not 0 <= self.fresh_runs < self.runs:
            raise ValueError(
                f"fresh_runs must lie between 0 and {self.runs - 1}, got {self.fresh_runs}"
            )
        if self.modes:
            _require_modes(self)

    @property
    def restarts(self) -> int:
        """How many of the runs are answers of the mode `restart`."""
        return self.fresh_runs if RESTART in self.modes else 0

    @property
    def repeated(self) -> int:
        """How many runs have to equal each other and the golden: those of no mode."""
        return self.runs - self.restarts

    @property
    def alone(self) -> "Suite":
        """The suite without modes."""
        fresh_runs = self.fresh_runs - self.restarts
        return replace(self, modes={}, runs=self.repeated, fresh_runs=fresh_runs)


def level_alone(evidence: Evidence) -> Level:
    """Return what runs alone have in common: what their golden is compared in."""
    return Level.BITS if evidence is Evidence.LOGITS else Level.TOKENS


def least_runs(modes: Collection[Mode]) -> int:
    """Return how many runs a suite with these modes needs at least."""
    return _ALONE_WITH_MODES + (RESTART in modes) if modes else 1


def _require_modes(suite: Suite) -> None:
    alone = level_alone(suite.evidence)
    if suite.modes.get(ALONE) is not alone:
        raise ValueError(f"with evidence = {suite.evidence} the level of alone is {alone}")
    if Level.BITS in {*suite.modes.values()} - {alone}:
        raise ValueError("bits are compared only where they are evidence")
    if suite.against is not None:
        raise ValueError("between profiles no mode is compared")
    if suite.runs - suite.fresh_runs < _ALONE_WITH_MODES or suite.fresh_runs < (
        RESTART in suite.modes
    ):
        raise ValueError(
            f"of {suite.runs} runs with {suite.fresh_runs} fresh ones too few are left"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A harmless change, which shows how far rounding moves tokens."""

    name: str
    settings: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    """Replace those of the engine of each model."""
    engine: EngineSpec | None = None
    """Replaces the engine of each model."""

    def __post_init__(self) -> None:
        require_name(self.name)
        if bool(self.settings) == (self.engine is not None):
            raise ValueError("a variant has other settings or another engine, and not both")

    @property
    def change(self) -> Facts:
        """The change as the matrix has it."""
        if self.engine is None:
            return _settings_as_facts(self.settings)
        command = {"command": shlex.join(self.engine.command)} if self.engine.command else {}
        return {"engine": self.engine.name, **command, **_settings_as_facts(self.engine.settings)}

    def of(self, model: ModelSpec) -> ModelSpec:
        """Return a model with this change."""
        return replace(model, engine=self.engine or model.engine.with_settings(self.settings))

    def changes(self, model: ModelSpec) -> bool:
        """Return whether the engine of a model does not have all of this change already."""
        return not self.of(model).engine.is_same_as(model.engine)


def _settings_as_facts(settings: Mapping[str, Setting]) -> Facts:
    return {
        f"setting.{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The content of a matrix file."""

    models: Mapping[str, ModelSpec]
    suites: Mapping[str, Suite]
    default_suites: tuple[str, ...]
    snapshots: str
    """The folder of the goldens and baselines, relative to the matrix file."""
    logprob_suites: Mapping[str, LogprobSuite] = field(default_factory=dict[str, LogprobSuite])
    """Suites of log-probabilities; their names differ from those of `suites`."""
    variants: Mapping[str, Variant] = field(default_factory=dict[str, Variant])
    """By name."""

    def __post_init__(self) -> None:
        by_id: dict[str, Cell] = {}
        for cell in self.cells():
            if by_id.setdefault(cell.id, cell) != cell:
                raise ValueError(f"two different cells share the id {cell.id}")

    def names(self, reference: Reference) -> bool:
        """Return whether a reference is of a variant as it is here, or of another machine."""
        variant = self.variants.get(reference.variant)
        return not reference.change if variant is None else variant.change == reference.change

    def cells(self) -> Iterable[Cell]:
        """Yield the cells of every suite; a shared cell is repeated."""
        for suite in self.suites.values():
            yield from suite.cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cells that one invocation measures."""

    suites: Mapping[Cell, Suite]
    """Each cell to measure, in the order of the matrix, with its suite.

    A cell of several suites has the one with the most runs, with the strictest evidence of all.
    """
    models: Mapping[str, ModelSpec]
    """The models of those cells."""
    claimed: frozenset[str]
    """The ids of all cells of the matrix; a golden of any other id is orphaned."""
    whole: tuple[Cell, ...] | None = None
    """The cells of all shards or devices; None when the plan is not divided."""

    def __post_init__(self) -> None:
        unknown = {cell.model for cell in self.suites} - self.models.keys()
        if unknown:
            raise ValueError(f"no model of the plan is called {min(unknown)}")

    @property
    def is_part(self) -> bool:
        """Whether other shards or devices measure the rest of the matrix."""
        return self.whole is not None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell to measure, in order."""
        return tuple(self.suites)

    def model_of(self, cell: Cell) -> ModelSpec:
        """Return the model of a cell."""
        return self.models[cell.model]

    def all_of(self, model: str) -> tuple[Cell, ...]:
        """Return the cells of a model over all parts.

        Controls are chosen among them, so that they do not depend on the division.
        """
        cells = self.cells if self.whole is None else self.whole
        return tuple(cell for cell in cells if cell.model == model)

    def runs_of(self, cell: Cell) -> int:
        """Return the number of runs of a cell, without answers in modes."""
        return self.suites[cell].repeated

    def modes_of(self, cell: Cell) -> Mapping[Mode, Level]:
        """Return the modes of a cell."""
        return self.suites[cell].modes

    def of(self, cells: Iterable[Cell]) -> "Plan":
        """Return the plan of some of its cells, in their order."""
        suites = {cell: self.suites[cell] for cell in cells}
        wanted = {cell.model for cell in suites}
        models = {name: model for name, model in self.models.items() if name in wanted}
        return replace(self, suites=suites, models=models)

    @property
    def alone(self) -> "Plan":
        """The plan without modes."""
        return replace(self, suites={cell: suite.alone for cell, suite in self.suites.items()})

    def compares_logits(self, cell: Cell) -> bool:
        """Return whether the logits of a cell are compared too."""
        return self.suites[cell].evidence is Evidence.LOGITS


def build_cells(
    *,
    prompts_of: Mapping[str, Sequence[str]],
    prompts: Mapping[str, PromptSpec],
    seeds: Sequence[int],
) -> tuple[Cell, ...]:
    """Return models x prompts x seeds, in that order; `prompts_of` names each model's prompts."""
    return tuple(
        Cell(
            model=model,
            prompt=name,
            text=prompts[name].text,
            chat=prompts[name].chat,
            seed=seed,
            max_tokens=prompts[name].max_tokens,
            sampler=prompts[name].sampler,
            stop=prompts[name].stop,
        )
        for model, names in prompts_of.items()
        for name in names
        for seed in seeds
    )


def plan(
    matrix: Matrix,
    *,
    suites: Collection[str] = (),
    only: str | None = None,
    runs: int | None = None,
) -> Plan:
    """Plan the named or default suites, filtered by `only`; see `plan_logprobs` for the others.

    Raises:
        UsageInvalid: a suite is not in the matrix, or two of them judge a cell differently.
    """
    known = (*matrix.suites, *matrix.logprob_suites)
    unknown = [name for name in suites if name not in known]
    if unknown:
        names = ", ".join(known)
        raise UsageInvalid(f"there is no suite {unknown[0]!r} in the matrix; it has: {names}")
    planned: dict[Cell, Suite] = {}
    for name in suites or matrix.default_suites:
        if name not in matrix.suites:
            continue
        suite = _with_runs(matrix.suites[name], runs)
        for cell in suite.cells:
            if only is None or fnmatchcase(cell.id, only):
                asked = planned.get(cell, suite)
                _require_same_goldens(asked, suite, cell)
                planned[cell] = _stricter(asked, suite)
    wanted = {cell.model for cell in planned}
    return Plan(
        suites=planned,
        models={name: model for name, model in matrix.models.items() if name in wanted},
        claimed=frozenset(cell.id for cell in matrix.cells()),
    )


def _require_same_goldens(first: Suite, second: Suite, cell: Cell) -> None:
    # A cell has one verdict, and the suite with the most runs must not make it a milder one.
    if (first.fail_on, first.against) != (second.fail_on, second.against):
        raise UsageInvalid(
            f"the suites {first.name} and {second.name} judge {cell.id} differently; check one of "
            "them at a time, with --suite"
        )


def _stricter(one: Suite, other: Suite) -> Suite:
    longer = other if other.runs > one.runs else one
    evidence = max(one.evidence, other.evidence, key=tuple(Evidence).index)
    if not one.modes and not other.modes:
        return replace(longer, evidence=evidence)
    repeated = max(one.repeated, other.repeated)
    modes = _strictest_modes(one, other, evidence)
    if RESTART in modes:
        fresh_runs = max(1, one.restarts, other.restarts)
        runs = repeated + fresh_runs
    else:
        fresh_runs = longer.fresh_runs
        runs = max(repeated, fresh_runs + _ALONE_WITH_MODES)
    return replace(longer, evidence=evidence, modes=modes, runs=runs, fresh_runs=fresh_runs)


def _strictest_modes(one: Suite, other: Suite, evidence: Evidence) -> Mapping[Mode, Level]:
    levels: dict[Mode, Level] = {}
    for mode, level in (*one.modes.items(), *other.modes.items()):
        levels[mode] = max(level, levels.get(mode, level), key=tuple(Level).index)
    levels[ALONE] = level_alone(evidence)
    if RESTART in levels and any(each.fresh_runs > each.restarts for each in (one, other)):
        # Their fresh runs have to equal all others.
        levels[RESTART] = levels[ALONE]
    return in_order(levels)


def _with_runs(suite: Suite, runs: int | None) -> Suite:
    if runs is None:
        return suite
    least = least_runs(suite.modes)
    if runs < least:
        raise UsageInvalid(
            f"the modes of the suite {suite.name} need at least {least} runs, not --runs {runs}"
        )
    alone = _ALONE_WITH_MODES if suite.modes else 1
    return replace(suite, runs=runs, fresh_runs=min(suite.fresh_runs, runs - alone))
