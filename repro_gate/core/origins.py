"""What is in force for engines and prompts, and where each value comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    """Where a value comes from."""

    MATRIX = "matrix"
    """The table of the engine or the prompt."""
    SHARED = "matrix [sampler]"
    LIKE_SERVER = "like llama-server"
    DEFAULT = "default"
    """Of repro-gate."""
    MODEL_FILE = "model file"
    """llama.cpp takes the value from the GGUF file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInForce:
    """One value in force."""

    name: str
    """The key in the matrix file."""
    value: str
    """As JSON; `null` for none, or for that of the model file."""
    origin: Origin
    sampler: str | None = None
    """The sampler that has the parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Settings, with the names of all that have exactly these."""

    names: tuple[str, ...]
    settings: tuple[SettingInForce, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """An engine of the matrix, the models that it runs, and its settings."""

    name: str
    kind: str
    models: tuple[str, ...]
    settings: tuple[SettingInForce, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsInForce:
    """All settings of a matrix."""

    file: str
    engines: tuple[EngineSettings, ...]
    models: tuple[Shared, ...]
    samplers: tuple[Shared, ...]
    """How the tokens of prompts are drawn, in the order in which samplers apply."""
    prompts: tuple[Shared, ...]
    """What else prompts have, besides what the model is asked."""


def shared(settings_of: Mapping[str, tuple[SettingInForce, ...]]) -> tuple[Shared, ...]:
    """Return each distinct list of settings once, with the names that have it."""
    names: dict[tuple[SettingInForce, ...], list[str]] = {}
    for name, settings in settings_of.items():
        names.setdefault(settings, []).append(name)
    return tuple(Shared(names=tuple(found), settings=settings) for settings, found in names.items())
