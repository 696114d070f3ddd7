"""A golden: the committed tokens of one cell on one class of machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from repro_gate.core.guards import require_at_least, require_name
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation

Facts = Mapping[str, str]
"""Flat provenance, such as `{"device.name": "NVIDIA H200"}`."""

MODEL_SHA256: Final = "model.sha256"
"""The fact with the digest of the loaded file."""

_OF_CHATS = "chat."
_SUSPECTS = ("setting", "model", "chat", "engine", "device", "build", "env")
_ONLY_IF_GIVEN = (
    "env.",
    "model.lora.",
    "model.parts",
    "setting.gpu",
    "setting.kv_type",
    "setting.rope_",
    "setting.tensor_split",
    "setting.yarn_",
)
"""Beginnings of facts that are missing where nothing was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The content of a golden file; complete without the matrix."""

    cell: Cell
    profile: str
    generation: Generation
    """Its tokens are compared; its log-probabilities are evidence only."""
    provenance: Facts

    def __post_init__(self) -> None:
        require_name(self.profile)
        if (self.cell.chat is None) != (self.generation.rendered is None):
            raise ValueError("the rendered prompt of a chat, and only of one, is kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class FactChange:
    """One fact of the provenance that changed since the recording."""

    name: str
    before: str | None
    after: str | None

    def __post_init__(self) -> None:
        if self.before == self.after:
            raise ValueError(f"{self.name} must change, got {self.before!r} twice")


def provenance_changes(before: Facts, after: Facts) -> tuple[FactChange, ...]:
    """Return the facts that differ, the most likely causes of drift first."""
    return tuple(
        FactChange(name=name, before=before.get(name), after=after.get(name))
        for name in sorted(before.keys() | after.keys(), key=lambda name: _suspicion(name, before))
        if before.get(name) != after.get(name)
    )


def _suspicion(name: str, before: Facts) -> tuple[bool, int, str]:
    kind = name.partition(".")[0]
    is_new = name not in before and is_always_recorded(name)
    # Library digests come last: they differ after every build.
    place = _SUSPECTS.index(kind) if kind in _SUSPECTS else len(_SUSPECTS)
    return is_new, place, name


def is_always_recorded(name: str) -> bool:
    """Return whether a golden without a fact was recorded by a version that did not know it."""
    return not name.startswith(_ONLY_IF_GIVEN)


def facts_of_texts(facts: Facts) -> Facts:
    """Return the provenance of prompts that are texts: nothing renders them."""
    return {name: value for name, value in facts.items() if not name.startswith(_OF_CHATS)}


def definition_changes(recorded: Cell, planned: Cell) -> tuple[FactChange, ...]:
    """Return how the matrix differs from the recorded definition, which is not drift."""
    if recorded == planned:
        return ()
    return provenance_changes(definition(recorded), definition(planned))


def definition(cell: Cell) -> dict[str, str]:
    """Return the definition of a cell as flat facts."""
    sampling = cell.sampler.sampling
    return {
        "model": cell.model,
        "prompt": cell.prompt,
        "text": cell.text,
        **({} if cell.chat is None else {"chat": json.dumps(cell.chat.to_data())}),
        "seed": str(cell.seed),
        "max_tokens": str(cell.max_tokens),
        "temperature": str(cell.sampler.temperature),
        "top_k": str(cell.sampler.top_k),
        "top_p": str(cell.sampler.top_p),
        "min_p": str(cell.sampler.min_p),
        **({} if sampling is None else sampling.facts()),
        **({"stop": json.dumps(cell.stop, ensure_ascii=False)} if cell.stop else {}),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Everything that the runs of a cell depend on; runs under other conditions do not count."""

    cell: Cell
    runs: int
    fresh_runs: int
    profile: str
    facts: Facts

    def __post_init__(self) -> None:
        require_name(self.profile)
        require_at_least(1, runs=self.runs)
        require_at_least(0, fresh_runs=self.fresh_runs)

    def changes_since(self, earlier: "Conditions") -> tuple[FactChange, ...]:
        """Return how these conditions differ from earlier ones, the definition first."""
        before, after = (
            {"profile": each.profile, "runs": str(each.runs), "fresh_runs": str(each.fresh_runs)}
            for each in (earlier, self)
        )
        return (
            *definition_changes(earlier.cell, self.cell),
            *provenance_changes(before, after),
            *provenance_changes(earlier.facts, self.facts),
        )
