"""The fixed matrix: what is measured, on which engine, and how often."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from repro_gate.core.engines import ModelSpec
from repro_gate.core.guards import require_at_least, require_text
from repro_gate.core.logprobs.policy import LogprobSuite
from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.errors import UsageInvalid

DEFAULT_MATRIX_FILE = Path("repro-gate.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpec:
    """What a model is asked, and how its answer is drawn."""

    text: str
    max_tokens: int
    sampler: Sampler

    def __post_init__(self) -> None:
        require_text(text=self.text)
        require_at_least(1, max_tokens=self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named part of the matrix that is checked as one."""

    name: str
    runs: int
    fresh_runs: int
    """How many of the runs happen in a fresh engine process, at the end."""
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        require_at_least(1, runs=self.runs)
        if not 0 <= self.fresh_runs < self.runs:
            raise ValueError(
                f"fresh_runs must lie between 0 and {self.runs - 1}, got {self.fresh_runs}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Everything that a matrix file says."""

    models: Mapping[str, ModelSpec]
    suites: Mapping[str, Suite]
    default_suites: tuple[str, ...]
    snapshots: str
    """The folder of the goldens and baselines, relative to the matrix file."""
    logprob_suites: Mapping[str, LogprobSuite] = field(default_factory=dict[str, LogprobSuite])
    """Suites whose log-probabilities are checked; no name is that of a suite of tokens."""

    def __post_init__(self) -> None:
        by_id: dict[str, Cell] = {}
        for cell in self.cells():
            if by_id.setdefault(cell.id, cell) != cell:
                raise ValueError(f"two different cells share the id {cell.id}")

    def cells(self) -> Iterable[Cell]:
        """Yield the cells of every suite; a cell that two suites share comes twice."""
        for suite in self.suites.values():
            yield from suite.cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one invocation measures."""

    suites: Mapping[Cell, Suite]
    """Every cell to measure, once, in the order of the matrix, with the suite that asks for it.

    Of several suites it is the one with the most runs.
    """
    models: Mapping[str, ModelSpec]
    """The models of those cells."""
    claimed: frozenset[str]
    """The ids of every cell of the matrix: a golden outside them is orphaned."""
    whole: tuple[Cell, ...] | None = None
    """The cells of all parts, where others measure the rest; None when there are no others."""

    def __post_init__(self) -> None:
        unknown = {cell.model for cell in self.suites} - self.models.keys()
        if unknown:
            raise ValueError(f"no model of the plan is called {min(unknown)}")

    @property
    def is_part(self) -> bool:
        """Whether others measure the rest: what only the whole can show is not judged here."""
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

        Controls are chosen among them: what a check can show must not depend on how it was divided.
        """
        cells = self.cells if self.whole is None else self.whole
        return tuple(cell for cell in cells if cell.model == model)

    def runs_of(self, cell: Cell) -> int:
        """Return how often a cell is run."""
        return self.suites[cell].runs


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
            seed=seed,
            max_tokens=prompts[name].max_tokens,
            sampler=prompts[name].sampler,
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
    """Return what to measure: the named suites, or the default ones, cut to the cells of `only`.

    Suites of log-probabilities have no part in it; `plan_logprobs` gives theirs.

    Raises:
        UsageInvalid: a suite is not in the matrix.
    """
    known = (*matrix.suites, *matrix.logprob_suites)
    unknown = [name for name in suites if name not in known]
    if unknown:
        told = ", ".join(known)
        raise UsageInvalid(f"there is no suite {unknown[0]!r} in the matrix; it has: {told}")
    planned: dict[Cell, Suite] = {}
    for name in suites or matrix.default_suites:
        if name not in matrix.suites:
            continue
        suite = _with_runs(matrix.suites[name], runs)
        for cell in suite.cells:
            if only is None or fnmatchcase(cell.id, only):
                asked = planned.setdefault(cell, suite)
                if suite.runs > asked.runs:
                    planned[cell] = suite
    wanted = {cell.model for cell in planned}
    return Plan(
        suites=planned,
        models={name: model for name, model in matrix.models.items() if name in wanted},
        claimed=frozenset(cell.id for cell in matrix.cells()),
    )


def _with_runs(suite: Suite, runs: int | None) -> Suite:
    if runs is None:
        return suite
    return replace(suite, runs=runs, fresh_runs=min(suite.fresh_runs, runs - 1))
