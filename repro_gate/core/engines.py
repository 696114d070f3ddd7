"""Specifications of engines and models."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias, assert_never
from urllib.parse import urlsplit

from repro_gate.core.guards import (
    require_above,
    require_at_least,
    require_finite,
    require_name,
    require_sha256,
    require_text,
)
from repro_gate.core.tokens.golden import MODEL_SHA256
from repro_gate.errors import MeasurementUnavailable
from repro_gate.server_settings import ServerSettings
from repro_gate.settings import in_force, replaced

Setting: TypeAlias = bool | int | float | str | Sequence[bool | int | float | str]


CPU: Final = "cpu"
"""The device that is no GPU; as in the protocol."""
LORA_FACTS: Final = "model.lora."
"""The beginning of the facts about adapters."""
BUILT_IN_MODELS: Final = ("tiny-qwen2", "tiny-phi3", "qwen2.5-0.5b-shape")
"""The names after `builtin:`; their recipes are not imported by the gate's own process."""


class Ability(StrEnum):
    """What an engine reports that it can, beyond every engine; as in the protocol."""

    CONCURRENT = "concurrent"
    """Requests in flight together share batches, so that the gate sends most runs alone."""
    KEEP_CACHE = "keep_cache"
    """A run may use what an earlier one left in the caches."""
    RESTART = "restart"
    """A fresh process computes in a fresh server, whose layers may be unknown."""
    NO_BYTES = "no_bytes"
    """The bytes of a token may be unknown."""
    REMOTE = "remote"
    """It did not start what computes: the model is not shown to be the pinned file, and a fresh
    process is only a fresh client."""


class EngineKind(StrEnum):
    """How an engine is started."""

    LLAMA_CPP = "llama_cpp"
    COMMAND = "command"
    """Any program that implements the engine protocol."""
    SERVED = "served"
    """An HTTP server, which the engine of this package starts or only asks."""

    @property
    def is_llama_cpp(self) -> bool:
        """Whether this package computes, with the settings of llama.cpp, on a GGUF file."""
        match self:
            case EngineKind.LLAMA_CPP:
                return True
            case EngineKind.COMMAND | EngineKind.SERVED:
                return False
            case _:
                assert_never(self)

    @property
    def is_own(self) -> bool:
        """Whether its program is of this package, and reports its settings itself."""
        match self:
            case EngineKind.LLAMA_CPP | EngineKind.SERVED:
                return True
            case EngineKind.COMMAND:
                return False
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """An inference stack, with every setting that can change its results."""

    name: str
    kind: EngineKind
    command: tuple[str, ...]
    """Empty for an engine of this package."""
    device: str
    """`cpu`, or a backend of ggml such as `cuda` or `cuda:1`; using another is an error."""
    settings: Mapping[str, Setting]
    timeout_s: float
    """Time limit of one request, after which the engine is killed."""
    pass_env: tuple[str, ...]
    """Environment variables passed on, besides the few that every engine gets."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_above(0, timeout_s=self.timeout_s)
        if bool(self.command) == self.kind.is_own:
            raise ValueError(f"an engine of the kind {self.kind} has the command {self.command}")

    @property
    def is_cpu(self) -> bool:
        """Whether it computes on the CPU alone."""
        return self.device == CPU

    @property
    def gpu_layers(self) -> int | None:
        """How many layers of a model must be on the device; None for all of them."""
        layers = self.settings.get("gpu_layers") if self.kind.is_llama_cpp else None
        return layers if isinstance(layers, int) else None

    @property
    def host(self) -> str | None:
        """The host of a server that runs already; None if nothing leaves this machine."""
        url = self.settings.get("base_url") if self.kind.is_own else None
        return urlsplit(url).netloc.lower() if isinstance(url, str) else None

    @property
    def place(self) -> str:
        """Where it computes, for messages."""
        return f"on {self.device}" if self.host is None else f"at {self.host}"

    @property
    def loading_s(self) -> float:
        """How much longer than any other request a load may take: a server starts with it."""
        match self.kind:
            case EngineKind.SERVED:
                return ServerSettings.parse(self.settings).ready_timeout_s
            case EngineKind.LLAMA_CPP | EngineKind.COMMAND:
                return 0.0
            case _:
                assert_never(self.kind)

    def with_settings(self, changes: Mapping[str, Setting]) -> "EngineSpec":
        """Return the engine with other settings, without those that need a GPU on the CPU."""
        settings: Mapping[str, Setting] = {**self.settings, **changes}
        if self.kind.is_llama_cpp:
            settings = replaced(self.settings, changes, is_cpu=self.is_cpu)
        return replace(self, settings=settings)

    def is_same_as(self, other: "EngineSpec") -> bool:
        """Return whether nothing that can change results differs from another engine."""
        ours, theirs = (
            (one.kind, one.command, one.device, one.pass_env, one.settings_in_force)
            for one in (self, other)
        )
        return ours == theirs

    @property
    def settings_in_force(self) -> Mapping[str, object]:
        """The settings with the defaults of llama.cpp, where it is the engine."""
        if not self.kind.is_llama_cpp:
            return self.settings
        return in_force(self.settings, is_cpu=self.is_cpu)

    @property
    def definition(self) -> Mapping[str, str]:
        """The command and the settings, which another program may leave out of its facts."""
        if self.kind.is_own:
            return {}
        settings = {f"matrix.settings.{name}": repr(value) for name, value in self.settings.items()}
        return {"matrix.command": shlex.join(self.command), **settings}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """A file of a model: its source and its expected digest."""

    name: str
    """Of the model."""
    source: str
    """`builtin:NAME`, `hf:OWNER/REPO/FILE`, or a path relative to the matrix file."""
    sha256: str | None
    """None until the first recording pins it."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_text(source=self.source)
        require_sha256(self.sha256)

    @property
    def key(self) -> str:
        """What messages and pins call the file."""
        return self.name

    @property
    def place(self) -> str:
        """Where the matrix file describes it."""
        return f"models.{self.name}"

    @property
    def sha256_fact(self) -> str:
        """The fact with the digest of the loaded file."""
        return MODEL_SHA256


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSpec(FileSpec):
    """A LoRA adapter of a model."""

    number: int
    """From 1, in the order in which the adapters apply."""
    scale: float

    def __post_init__(self) -> None:
        FileSpec.__post_init__(self)
        require_at_least(1, number=self.number)
        require_finite(scale=self.scale)
        if self.scale == 0:
            raise ValueError("the scale of an adapter must not be 0")

    @property
    def key(self) -> str:
        """What messages and pins call the file; no model has such a name."""
        return f"{self.name}/lora/{self.number}"

    @property
    def place(self) -> str:
        """Where the matrix file describes it."""
        return f"models.{self.name}.lora[{self.number - 1}]"

    @property
    def sha256_fact(self) -> str:
        """The fact with the digest of the loaded file."""
        return f"{LORA_FACTS}{self.number}.sha256"

    @property
    def scale_fact(self) -> str:
        """The fact with its scale."""
        return f"{LORA_FACTS}{self.number}.scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(FileSpec):
    """A model and what applies to it; the source is empty where only its server knows the files."""

    engine: EngineSpec
    lora: tuple[LoraSpec, ...] = ()
    served_as: str | None = None
    """What the server calls it; None for its name."""

    def __post_init__(self) -> None:
        if self.has_files:
            FileSpec.__post_init__(self)
        elif self.sha256 is not None or self.lora:
            raise ValueError(f"{self.name} has no source, and so no digest and no adapters")
        require_name(self.name)

    @property
    def has_files(self) -> bool:
        """Whether the matrix names its file or folder."""
        return bool(self.source)

    @property
    def name_at_engine(self) -> str:
        """What the engine knows it by."""
        return self.served_as or self.name

    @property
    def files(self) -> tuple[FileSpec, ...]:
        """Everything that is pinned: the model, then its adapters."""
        return (self, *self.lora) if self.has_files else ()


def another_file(file: FileSpec, *, expected: str, found: str) -> MeasurementUnavailable:
    """Return the error for a file other than the pinned one, with its remedy."""
    if file.sha256 is None:
        accept = f"repro-gate update-snapshots --repin {file.name}"
    else:
        accept = (
            f"set the sha256 of {file.place} in the matrix to {found}, then "
            "repro-gate update-snapshots"
        )
    return MeasurementUnavailable(
        f"the file of {file.key} has the sha256 {found}, but {expected} is pinned",
        remedy=f"restore the pinned file; if the new one is intended: {accept}",
    )
