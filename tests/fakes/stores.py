"""Goldens, pins and model files in memory."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from repro_gate.core.engines import ModelSpec
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.golden import Conditions, Golden
from repro_gate.core.tokens.judge import Repetition
from repro_gate.core.tokens.reference import Reference
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.ports import ModelFile


def _nothing() -> None:
    """Do nothing, when no tripwire is set."""


class MemoryGoldens:
    """Goldens by profile and cell; some of them may be broken."""

    def __init__(
        self,
        goldens: Iterable[Golden] = (),
        *,
        broken: Iterable[tuple[str, str]] = (),
        step: Callable[[], None] = _nothing,
    ) -> None:
        self.kept = {(golden.profile, golden.cell.id): golden for golden in goldens}
        self.broken = set(broken)
        self.log: list[tuple[str, str, str]] = []
        """What was changed, as (`write` or `remove`, profile, cell id)."""
        self._step = step

    def profiles(self) -> frozenset[str]:
        """Return the profiles that have any golden."""
        return frozenset(profile for profile, _ in (*self.kept, *self.broken))

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the ids of the goldens of a profile, broken ones included."""
        self._step()
        return frozenset(cell_id for kept, cell_id in (*self.kept, *self.broken) if kept == profile)

    def read(self, profile: str, cell_id: str) -> Golden:
        """Return a golden."""
        self._step()
        if (profile, cell_id) in self.broken:
            raise InputInvalid(f"{profile}/{cell_id}.json: expected JSON, found a tear")
        return self.kept[profile, cell_id]

    def write(self, golden: Golden) -> None:
        """Keep a golden."""
        key = (golden.profile, golden.cell.id)
        self.log.append(("write", *key))
        self.broken.discard(key)
        self.kept[key] = golden

    def remove(self, profile: str, cell_id: str) -> None:
        """Forget a golden."""
        self.log.append(("remove", profile, cell_id))
        self.broken.discard((profile, cell_id))
        self.kept.pop((profile, cell_id), None)


class MemoryReferences:
    """References in memory."""

    def __init__(self, *references: Reference, unused: tuple[str, ...] = ()) -> None:
        self._references = references
        self._unused = unused

    def read(self, profile: str) -> tuple[Reference, ...]:
        """Return the references of a profile."""
        return tuple(each for each in self._references if each.profile == profile)

    def unused(self, profile: str) -> tuple[str, ...]:
        """Return the names of others."""
        del profile
        return self._unused


class MemoryPins:
    """Pinned digests."""

    def __init__(self, digests: Mapping[str, str] | None = None) -> None:
        self.digests = dict(digests or {})
        self.log: list[Mapping[str, str]] = []
        """What each call pinned."""

    def pinned(self) -> Mapping[str, str]:
        """Return the sha256 of each pinned model."""
        return self.digests

    def pin(self, digests: Mapping[str, str]) -> None:
        """Set pins."""
        self.log.append(digests)
        self.digests = {**self.digests, **digests}


class MemoryModelFiles:
    """Model files that are all there, but for the missing ones."""

    def __init__(
        self,
        *,
        missing: Iterable[str] = (),
        digests: Mapping[str, str] | None = None,
        step: Callable[[], None] = _nothing,
    ) -> None:
        self._missing = frozenset(missing)
        self._digests = digests or {}
        self._step = step

    def locate(self, model: ModelSpec) -> ModelFile:
        """Return a file, or raise with its remedy."""
        self._step()
        if model.name in self._missing:
            raise MeasurementUnavailable(
                f"model {model.name} is missing",
                remedy=f"repro-gate models fetch {model.name}",
            )
        model_file, *lora = (
            ModelFile(path=Path("/models", f"{file.key}.gguf"), sha256=self._digests.get(file.key))
            for file in model.files
        )
        return replace(model_file, lora=tuple(lora))


Noted: TypeAlias = dict[Cell, tuple[Conditions, Repetition]]


class MemoryRunLog:
    """The runs of an update, as a log gives them back."""

    def __init__(self, *, step: Callable[[], None] = _nothing) -> None:
        self.noted: Noted = {}
        self._step = step

    @property
    def runs(self) -> Counter[str]:
        """The number of runs by the id of their cell."""
        return Counter({cell.id: known.runs for cell, (_, known) in self.noted.items()})

    def known(self, conditions: Conditions) -> Repetition | None:
        """Return the runs under exactly these conditions."""
        self._step()
        before, known = self.noted.get(conditions.cell, (None, None))
        return known if before == conditions else None

    def note(self, conditions: Conditions, repetition: Repetition) -> None:
        """Keep a repetition, whose last run is new."""
        self._step()
        if repetition.runs > 1:
            before, known = self.noted[conditions.cell]
            assert (before, known.runs) == (conditions, repetition.runs - 1), "a run was left out"
        self.noted[conditions.cell] = conditions, repetition
