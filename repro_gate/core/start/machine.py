"""What a machine has that a gate can begin with."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from repro_gate.core.guards import require_at_least
from repro_gate.server_settings import Dialect


class Place(StrEnum):
    """Where a model file was found; the first ones are offered first."""

    FOLDER = "this folder"
    OWN_CACHE = "the cache of repro-gate"
    HUGGING_FACE = "the cache of Hugging Face"
    LLAMA_CPP = "the cache of llama.cpp"
    LM_STUDIO = "the models of LM Studio"
    OLLAMA = "the models of Ollama"
    GIVEN = "the command line"

    @property
    def is_own(self) -> bool:
        """Whether a check finds the file there by its source, rather than by a path."""
        return self is Place.OWN_CACHE


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """A model file that can generate text, as far as its header shows."""

    path: Path
    """Absolute; of the first part of a split model."""
    shown: str
    """The path as people see it: untrusted."""
    place: Place
    title: str
    """The name in its header, or else of its file: untrusted."""
    architecture: str
    size: int
    """The bytes of all parts."""
    context: int | None = None
    """The tokens of a context in training; None if the header lacks it."""
    template: str | None = None
    """The chat template."""
    source: str | None = None
    """What fetches the same file on another machine, such as `hf:OWNER/REPO/FILE`."""

    def __post_init__(self) -> None:
        require_at_least(0, size=self.size)
        require_at_least(1, context=self.context)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that answered without a key, or wants one."""

    url: str
    """Without /v1."""
    software: str
    """For people, such as `llama-server`."""
    dialect: Dialect | None = None
    """How the served engine asks it; None if its tokens cannot be had."""
    models: tuple[str, ...] = ()
    """Their names there: untrusted."""
    wants_key: bool = False
    has_chat: bool = False
    """Whether it renders chats, as far as one request showed."""
    model_file: Path | None = None
    """What llama-server loaded, if that is a file of this machine."""
    context: int | None = None
    """The tokens of one slot of llama-server."""
    slots: int | None = None

    def __post_init__(self) -> None:
        require_at_least(1, context=self.context, slots=self.slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that was found."""

    cores: int = 1
    gpus: tuple[str, ...] = ()
    """Their names."""
    gpu_problem: str | None = None
    """Why the built-in engine cannot use them; None if it can, or if there are none."""
    models: tuple[GgufModel, ...] = ()
    """The best first."""
    servers: tuple[RunningServer, ...] = ()
    keys: tuple[str, ...] = ()
    """The names of variables that are set; their values are not known."""
    has_llama_server: bool = False
    """Whether the program is on the PATH."""
    skipped: tuple[str, ...] = ()
    """What was left out, and why."""

    def __post_init__(self) -> None:
        require_at_least(1, cores=self.cores)

    @property
    def device(self) -> str:
        """The device that the built-in engine should use."""
        return "cuda" if self.gpus and self.gpu_problem is None else "cpu"
