"""Which single change gives a golden's tokens: the causes to try, and what came of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from repro_gate.core.axes import (
    Effect,
    Experiment,
    Finding,
    NotTried,
    changed,
    setting_to,
)
from repro_gate.core.engines import ModelSpec
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.core.tokens.comparison import positions_of, shifts_of
from repro_gate.core.tokens.generation import Divergence, Generation, Place, first_divergence
from repro_gate.core.tokens.golden import FactChange, Golden, definition, is_always_recorded
from repro_gate.core.tokens.verdicts import Drift, FormerGolden, Unrecorded
from repro_gate.settings import ROPE, SETTINGS, read_shown
from repro_gate.strict_json import InvalidJson

DEFINITION: Final = "definition"
TOGETHER: Final = "all changed settings"
AS_RECORDED: Final = "as recorded"
_SETTING: Final = "setting."
_CANNOT: Final[Mapping[str, str]] = {
    "model": "a file of a model is not replaced",
    "chat": "a chat template is not replaced",
    "engine": "another build runs with --engine NAME, if the matrix has it as an engine",
    "library": "another build runs with --engine NAME, if the matrix has it as an engine",
    "build": "another build runs with --engine NAME, if the matrix has it as an engine",
    "device": "this is another machine or device",
    "host": "this is another machine or device",
    "env": "the environment is not changed",
}
"""Why a changed fact is not put back, by its first part; others follow from these."""


class Likeness(StrEnum):
    """How a run compares with a golden."""

    RECORDING = "the golden's tokens, and its log-probabilities to four decimals"
    TOKENS = "the golden's tokens, with other log-probabilities"
    UNKNOWN = "the golden's tokens; log-probabilities are not known"
    OTHER = "other tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An experiment, compared with the golden."""

    effect: Effect
    likeness: Likeness
    is_put_back: bool
    """Whether it undoes what changed since the golden was recorded."""

    @property
    def is_joint(self) -> bool:
        """Whether it changes several things at once."""
        experiment = self.effect.experiment
        is_all = experiment.value == AS_RECORDED and experiment.axis in {DEFINITION, TOGETHER}
        return is_all or self.has_definition

    @property
    def has_definition(self) -> bool:
        """Whether the definition of the golden is put back besides."""
        experiment = self.effect.experiment
        return experiment.cell is not None and experiment.axis != DEFINITION

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """How good an explanation it is, if it has the golden's tokens; the least is the best."""
        return self.likeness is not Likeness.RECORDING, not self.is_put_back, self.is_joint


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What experiments show of the cause of a divergence."""

    cell: Cell
    reproduces: bool
    """Whether the unchanged run has the tokens of the report."""
    unchanged: Likeness
    """How the unchanged run compares with the golden."""
    is_gone: bool
    """Whether the unchanged run does not differ from the golden any more."""
    machine: tuple[FactChange, ...]
    """How the provenance of the unchanged run differs from that of the report."""
    is_repeated: bool
    """Whether the unchanged run repeats itself, without which nothing can be concluded."""
    candidates: tuple[Finding, ...] = ()
    """What has changed since the golden was recorded, put back."""
    axes: tuple[Finding, ...] = ()
    """Anything else that can be changed."""
    golden: Generation
    interrupted: bool = False

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every experiment, those that put something back first."""
        return tuple(
            Attempt(
                effect=each,
                likeness=likeness(self.golden, each.cells[0].now),
                is_put_back=findings is self.candidates,
            )
            for findings in (self.candidates, self.axes)
            for each in findings
            if isinstance(each, Effect)
        )

    @property
    def causes(self) -> tuple[Attempt, ...]:
        """The attempts that are most like the golden, of those that undo least if there are any.

        Empty if none is more like it than the unchanged run.
        """
        no_better = {Likeness.OTHER}
        if self.unchanged is not Likeness.OTHER:
            no_better |= {Likeness.TOKENS, Likeness.UNKNOWN}
        attempts = [each for each in self.attempts if each.likeness not in no_better]
        best = min((each.rank for each in attempts), default=None)
        return tuple(each for each in attempts if each.rank == best)

    @property
    def not_tried(self) -> tuple[NotTried, ...]:
        """What was not measured."""
        findings = (*self.candidates, *self.axes)
        return tuple(each for each in findings if isinstance(each, NotTried))


def golden_of(cell: CellReport, committed: Golden | None) -> Golden | None:
    """Return the golden whose tokens a cell should have; None if nothing diverged from one.

    Args:
        cell: the result of the cell.
        committed: the golden of the cell in the checkout, for one of another definition.
    """
    match cell.verdict:
        case Drift(golden=golden):
            return golden
        case Unrecorded(former=FormerGolden(divergence=Divergence() as divergence)):
            is_same = committed is not None and divergence.starts_from(committed.generation)
            return committed if is_same else None
        case _:
            return None


def likeness(golden: Generation, now: Generation) -> Likeness:
    """Return how a traced run compares with a golden."""
    divergence = first_divergence(golden, now)
    if divergence is not None:
        return Likeness.TOKENS if divergence.place is Place.LOGITS else Likeness.OTHER
    shifts = shifts_of(positions_of(golden, now, ()))
    if shifts is None:
        return Likeness.UNKNOWN
    return Likeness.RECORDING if shifts.are_none else Likeness.TOKENS


def settings_put_back(
    changes: Sequence[FactChange], model: ModelSpec
) -> Iterator[Experiment | NotTried]:
    """Yield an experiment for each changed setting with its old value, and one with all of them."""
    settings: dict[str, Any] = dict(model.engine.settings)
    count = 0
    for name, change in _changed_settings(changes, model).items():
        try:
            now = _put_back(model.engine.settings, name, change)
            settings = _put_back(settings, name, change)
        except InvalidJson as error:
            reason = f"its fact is no value: expected {error.expected}, found {error.found}"
            yield NotTried(axis=name, value=str(change.before), reason=reason)
            continue
        count += 1
        yield changed(model, name, now, value=change.before or "not set")
    if count > 1:
        yield changed(model, TOGETHER, settings, value=AS_RECORDED)


def not_put_back(changes: Sequence[FactChange]) -> Iterator[NotTried]:
    """Yield the changed facts that may be the cause, and are not changed here."""
    for change in changes:
        kind, _, name = change.name.partition(".")
        is_new = change.before is None and is_always_recorded(change.name)
        if kind in _CANNOT and not is_new:
            yield NotTried(axis=kind, value=name, reason=_CANNOT[kind])


def definition_put_back(
    recorded: Cell, planned: Cell, model: ModelSpec
) -> Iterator[Experiment | NotTried]:
    """Yield an experiment for each changed value of a definition, and one with all of them."""
    single = list(_definitions(recorded, planned))
    for name, cell in single:
        yield Experiment(axis=DEFINITION, value=name, model=model, cell=cell)
    if len(single) != 1:
        yield Experiment(axis=DEFINITION, value=AS_RECORDED, model=model, cell=recorded)


def _changed_settings(changes: Sequence[FactChange], model: ModelSpec) -> Mapping[str, FactChange]:
    """Return the changed settings that can be put back, by name."""
    if not model.engine.kind.is_llama_cpp:
        return {}
    named = {each.name.removeprefix(_SETTING): each for each in changes if _is_setting(each)}
    # Without the one for both, those for keys and for values have nothing to put back.
    known = {name: each for name, each in named.items() if name in {*SETTINGS, "rope"}}
    return {
        name: each
        for name, each in known.items()
        if _has_former(each) and not _follows(name, known, model)
    }


def _follows(name: str, changes: Mapping[str, FactChange], model: ModelSpec) -> bool:
    """Return whether a setting gets its old value from another one that is put back."""
    setting = SETTINGS.get(name)
    leader = None if setting is None or setting.same_as is None else changes.get(setting.same_as)
    is_given = name in model.engine.settings
    return leader is not None and not is_given and leader.before == changes[name].before


def _is_setting(change: FactChange) -> bool:
    return change.name.startswith(_SETTING)


def _has_former(change: FactChange) -> bool:
    """Return whether a change has an old value, or nothing was set."""
    is_pair = change.name.startswith(f"{_SETTING}kv_type")
    return change.before is not None or not (is_always_recorded(change.name) or is_pair)


def _put_back(settings: Mapping[str, Any], name: str, change: FactChange) -> dict[str, Any]:
    if name == "rope":
        # It is `model` where nothing was set.
        return {other: value for other, value in settings.items() if other not in ROPE}
    value = None if change.before is None else read_shown(name, change.before)
    return setting_to(settings, name, value)


def _definitions(recorded: Cell, planned: Cell) -> Iterator[tuple[str, Cell]]:
    """Yield the planned cell with one value of the recorded one, and a name for it."""
    if recorded.input != planned.input:
        yield "prompt", planned.with_input(recorded.input, prompt=planned.prompt)
    if recorded.max_tokens != planned.max_tokens:
        yield _shown("max_tokens", recorded), replace(planned, max_tokens=recorded.max_tokens)
    if recorded.stop != planned.stop:
        yield "stop", replace(planned, stop=recorded.stop)
    for field in fields(Sampler):
        value = getattr(recorded.sampler, field.name)
        if value == getattr(planned.sampler, field.name):
            continue
        try:
            sampler = replace(planned.sampler, **{field.name: value})
        except ValueError:
            # Without the others it has no effect.
            continue
        yield _shown(field.name, recorded), replace(planned, sampler=sampler)


def _shown(name: str, cell: Cell) -> str:
    value = definition(cell).get(name)
    return name if value is None else f"{name} {value}"
