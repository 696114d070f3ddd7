"""Experiments: a model with one thing changed, and what that does to its tokens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean
from typing import Any, Final, TypeAlias

from repro_gate.core.engines import CPU, EngineSpec, ModelSpec, Setting
from repro_gate.core.guards import require_at_least
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.comparison import forced_tokens, positions_of, shifts_of
from repro_gate.core.tokens.generation import Divergence, Generation, Place, first_divergence
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.verification import Verification
from repro_gate.settings import (
    FOR_GPUS,
    KV_TYPES,
    KvType,
    Settings,
    facts_of,
    in_force,
    replaced,
    shown,
)
from repro_gate.strict_json import InvalidJson

UNCHANGED: Final = "nothing"
"""The axis of the experiment that repeats the unchanged run in a process of its own."""
DEVICE: Final = "device"
ENGINE: Final = "engine"
NEIGHBOURS: Final = "neighbours"
PREFIX: Final = "prefix reuse"
MAX_CELLS: Final = 3
"""As many are measured where none are named."""
_CONTEXTS: Final = 4
"""How many runs are side by side in the experiment on neighbours."""
_BATCHES: Final = (1, 2, 8, 64, 512)
_EITHER: Final = (False, True)
_VALUES: Final[Mapping[str, Sequence[Setting]]] = {
    "flash_attention": _EITHER,
    "kv_type": (KvType.F32, KvType.F16, KvType.BF16, KvType.Q8_0, KvType.Q4_0),
    "n_batch": _BATCHES,
    "n_ubatch": _BATCHES,
    "repack": _EITHER,
    "offload_kqv": _EITHER,
    "op_offload": _EITHER,
}
"""By setting, in the order in which they are tried; threads depend on the machine."""
_BATCH: Final = ("n_batch", "n_ubatch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A model with one thing changed."""

    axis: str
    """A setting, or one of the constants of this module."""
    value: str
    model: ModelSpec
    """With the changed engine."""
    at_a_time: int = 1
    """How many runs are side by side."""
    cell: Cell | None = None
    """With a changed definition; None for the cells as they are."""

    def __post_init__(self) -> None:
        require_at_least(1, at_a_time=self.at_a_time)

    def facts_to_change(self, unchanged: ModelSpec) -> Facts:
        """Return the facts that an engine has to report differently, with their new values."""
        specs = (unchanged.engine, self.model.engine)
        if not all(spec.kind.is_llama_cpp for spec in specs) or self.axis == ENGINE:
            return {}
        before, after = (facts_of(spec.settings) for spec in specs)
        return {f"setting.{name}": after[name] for name in after if after[name] != before.get(name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTried:
    """A value of an axis of which nothing is known."""

    axis: str
    value: str
    """Empty for the axis as a whole."""
    reason: str


class Impact(StrEnum):
    """What a change does to the runs of some cells."""

    NONE = "invariant: bit-identical tokens and log-probabilities"
    UNSEEN = "same tokens; the engine gives no log-probabilities"
    LOGPROBS = "moves log-probabilities, changes no token"
    TOKENS = "changes tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEffect:
    """What a change does to a cell."""

    cell: Cell
    now: Generation
    """With its trace."""
    divergence: Divergence | None
    """From the tokens of the unchanged run."""
    is_exact: bool
    """Whether tokens, known log-probabilities and known logits are equal in every bit."""
    largest_shift: float | None
    """Of the known log-probabilities of the tokens of the unchanged run, in nats."""
    distance: float | None
    """The mean distance of those tokens; 0 if they are generated again."""
    kl_divergence: float | None
    """A lower bound of the mean for those tokens, see `Position.kl_divergence`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change does to some cells."""

    experiment: Experiment
    cells: tuple[CellEffect, ...]

    @property
    def changed(self) -> int:
        """How many cells have other tokens."""
        return sum(cell.divergence is not None for cell in self.cells)

    @property
    def impact(self) -> Impact:
        """The strongest effect on any cell."""
        if self.changed:
            return Impact.TOKENS
        if any(cell.largest_shift is None for cell in self.cells):
            return Impact.UNSEEN
        return Impact.NONE if all(cell.is_exact for cell in self.cells) else Impact.LOGPROBS

    @property
    def largest_shift(self) -> float | None:
        """The largest one of all cells; None if it is not known of one."""
        shifts = _known(cell.largest_shift for cell in self.cells)
        return max(shifts) if shifts else None

    @property
    def distance(self) -> float | None:
        """The mean over the cells; None if it is not known of one."""
        return _mean(_known(cell.distance for cell in self.cells))

    @property
    def kl_divergence(self) -> float | None:
        """The mean over the cells; None if it is not known of one."""
        return _mean(_known(cell.kl_divergence for cell in self.cells))


Finding: TypeAlias = Effect | NotTried


@dataclass(frozen=True, slots=True, kw_only=True)
class AxesReport:
    """What each change does to a model on a machine."""

    tool_version: str
    started_at: str
    """ISO 8601, UTC."""
    model: ModelSpec
    engine: EngineReport
    facts: Facts
    """Of the unchanged run."""
    cells: tuple[Cell, ...]
    tokens: int
    """Of one run of each cell."""
    all_cells: int
    """How many cells the matrix has of the model."""
    again: Effect | None
    """What a repetition in another process does; None if it was interrupted."""
    findings: tuple[Finding, ...]
    interrupted: bool = False

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The experiments that were made."""
        return tuple(each for each in self.findings if isinstance(each, Effect))

    @property
    def not_tried(self) -> tuple[NotTried, ...]:
        """What was not measured."""
        return tuple(each for each in self.findings if isinstance(each, NotTried))

    @property
    def is_reproducible(self) -> bool:
        """Whether the unchanged run repeats itself, without which no axis can be judged."""
        return self.again is None or is_repeated(self.again)


def is_repeated(again: Effect) -> bool:
    """Return whether a repetition agrees in everything that is known."""
    return again.impact in {Impact.NONE, Impact.UNSEEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What limits the values of axes."""

    cores: int
    """That the engine may use."""
    prompt: int
    """Tokens of the longest prompt."""
    devices: tuple[str, ...] = ()
    """Those besides the CPU that the engine has, for a model on the CPU."""
    engines: tuple[EngineSpec, ...] = ()
    """Other engines to run the model on."""


def cell_effect(
    cell: Cell, before: Generation, now: Generation, verification: Verification
) -> CellEffect:
    """Return what a change does to a cell.

    Args:
        cell: the cell.
        before: its unchanged run, traced.
        now: its changed run, traced.
        verification: of the tokens of `before` by the changed engine, if the outputs differ.
    """
    found = first_divergence(before, now)
    divergence = None if found is None or found.place is Place.LOGITS else found
    positions = positions_of(before, now, verification)
    shifts = shifts_of(positions)
    forced = (
        forced_tokens(verification, positions, is_greedy=cell.sampler.is_greedy)
        if verification
        else None
    )
    means = [at.kl_divergence for at in positions] if forced or divergence is None else []
    return CellEffect(
        cell=cell,
        now=now,
        divergence=divergence,
        is_exact=found is None and before.trace == now.trace,
        largest_shift=None if shifts is None else shifts.largest,
        distance=forced.mean_distance if forced else 0.0 if divergence is None else None,
        kl_divergence=_mean(means),
    )


def chosen_cells(cells: Sequence[Cell], *, limit: int = MAX_CELLS) -> tuple[Cell, ...]:
    """Return some cells, of as many different prompts as possible."""
    seeds: dict[str, int] = {}
    numbered: list[tuple[int, Cell]] = []
    for cell in cells:
        number = seeds[cell.prompt] = seeds.get(cell.prompt, 0) + 1
        numbered.append((number, cell))
    numbered.sort(key=lambda pair: pair[0])
    return tuple(cell for _, cell in numbered[:limit])


def alone(model: ModelSpec) -> ModelSpec:
    """Return a model on an engine that needs no memory for several runs at a time."""
    return with_settings(model, {**model.engine.settings, "contexts": 1})


def with_settings(model: ModelSpec, settings: Mapping[str, Setting]) -> ModelSpec:
    """Return a model on an engine with other settings; those of other programs stay."""
    if not model.engine.kind.is_llama_cpp:
        return model
    return replace(model, engine=replace(model.engine, settings=settings))


def changed(
    model: ModelSpec, axis: str, settings: Mapping[str, Any], *, value: str
) -> Experiment | NotTried:
    """Return the experiment with other settings, or why the engine would refuse them."""
    try:
        Settings.parse(settings, is_cpu=model.engine.is_cpu)
    except InvalidJson as error:
        reason = f"{error.place}: expected {error.expected}, found {error.found}"
        return NotTried(axis=axis, value=value, reason=reason)
    return Experiment(axis=axis, value=value, model=with_settings(model, settings))


def setting_to(settings: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return settings with another value of one of them; None removes it.

    `n_ubatch` is at most `n_batch`, as in llama.cpp.
    """
    now = replaced(settings, {name: value}, is_cpu=False)
    if name == "n_batch" and now.get("n_ubatch", 0) > value:
        now["n_ubatch"] = value
    return {other: kept for other, kept in now.items() if kept is not None}


def experiments_of(model: ModelSpec, bounds: Bounds) -> Iterator[Experiment | NotTried]:
    """Yield an experiment for each value of each axis, or why there is none."""
    if model.engine.kind.is_llama_cpp:
        yield from _threads(model, bounds)
        for name, values in _VALUES.items():
            yield from _of_setting(model, name, values, bounds)
        yield from _devices(model, bounds)
        reason = "this engine has none: each run is cold, with the whole prompt"
    else:
        reason = f"{model.engine.name} is a program with settings of its own"
        yield NotTried(axis="settings", value="", reason=reason)
        reason = "the engine protocol has none"
    yield NotTried(axis=PREFIX, value="", reason=reason)
    yield Experiment(
        axis=NEIGHBOURS,
        value=f"up to {_CONTEXTS} runs at a time",
        model=with_settings(model, {**model.engine.settings, "contexts": _CONTEXTS}),
        at_a_time=_CONTEXTS,
    )
    for engine in bounds.engines:
        yield Experiment(axis=ENGINE, value=engine.name, model=replace(model, engine=engine))


def on_device(model: ModelSpec, device: str) -> ModelSpec:
    """Return a model on another device, without the settings that have no effect there."""
    settings = {
        name: value
        for name, value in model.engine.settings.items()
        if device != CPU or name not in FOR_GPUS
    }
    return replace(model, engine=replace(model.engine, device=device, settings=settings))


def _threads(model: ModelSpec, bounds: Bounds) -> Iterator[Experiment | NotTried]:
    cores = bounds.cores
    values = sorted({1, 2, max(1, cores // 2), cores})
    yield from _of_setting(model, "threads", values, bounds)


def _of_setting(
    model: ModelSpec, name: str, values: Sequence[Any], bounds: Bounds
) -> Iterator[Experiment | NotTried]:
    settings, is_cpu = model.engine.settings, model.engine.is_cpu
    if is_cpu and name in FOR_GPUS:
        yield NotTried(axis=name, value="", reason="without effect on the CPU")
        return
    values_now = in_force(settings, is_cpu=is_cpu)
    # Where keys and values have different types, any other is a change.
    pair = {values_now[each] for each in KV_TYPES}
    now = values_now.get(name) if name != "kv_type" else pair.pop() if len(pair) == 1 else None
    for value in values:
        if value == now:
            continue
        reason = _no_effect(name, value, now, bounds)
        if reason is not None:
            yield NotTried(axis=name, value=shown(value), reason=reason)
            continue
        found = changed(model, name, setting_to(settings, name, value), value=shown(value))
        yield found
        if isinstance(found, NotTried) and name == "flash_attention":
            both = setting_to(setting_to(settings, name, value), "kv_type", KvType.F16)
            yield changed(model, name, both, value=f"{shown(value)}, with kv_type f16")


def _no_effect(name: str, value: Any, now: Any, bounds: Bounds) -> str | None:
    """Return why a value cannot have an effect, or None."""
    if name == "threads" and value > bounds.cores:
        return f"this machine has {bounds.cores} usable cores"
    if name in _BATCH and min(value, now) >= bounds.prompt:
        return f"no prompt has more than {bounds.prompt} tokens"
    return None


def _devices(model: ModelSpec, bounds: Bounds) -> Iterator[Experiment | NotTried]:
    devices = bounds.devices if model.engine.is_cpu else (CPU,)
    for device in devices:
        yield Experiment(axis=DEVICE, value=device, model=on_device(model, device))
    if not devices:
        yield NotTried(axis=DEVICE, value="", reason="the engine has only the CPU")


def _known(values: Iterable[float | None]) -> list[float]:
    """Return the values, or none if one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
