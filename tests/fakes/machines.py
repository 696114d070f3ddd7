"""Machines with what a test wants to be found on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro_gate.core.logprobs.capabilities import ProbeReport
from repro_gate.core.start.machine import Found, GgufModel, Place, RunningServer
from repro_gate.core.start.prompts import ChatForm
from repro_gate.errors import InputInvalid, MeasurementUnavailable

DIGEST = "0123456789abcdef" * 4


def model_of(
    path: str = "/models/m.gguf", place: Place = Place.FOLDER, **changes: object
) -> GgufModel:
    """Return a model file of a plain kind, with changes."""
    usual: dict[str, Any] = {"title": "M", "architecture": "llama", "size": 1 << 20, "shown": path}
    return GgufModel(path=Path(path), place=place, **(usual | changes))


@dataclass(slots=True, kw_only=True)
class FakeMachine:
    """A machine that answers from memory; see `Machine`."""

    found: Found = field(default_factory=Found)
    models: Mapping[Path, GgufModel] = field(default_factory=dict[Path, GgufModel])
    servers: Mapping[str, RunningServer] = field(default_factory=dict[str, RunningServer])
    chat: ChatForm = field(default_factory=ChatForm)
    report: ProbeReport | None = None
    """None if no server can be asked."""
    probed: list[tuple[str, str, str | None]] = field(
        default_factory=list[tuple[str, str, str | None]]
    )
    """The URL, the model and the variable of each probe."""

    def look(self) -> Found:
        """Return what it was made with."""
        return self.found

    def model_at(self, path: Path) -> GgufModel:
        """Return a known model."""
        if path not in self.models:
            raise InputInvalid.at(path, "", expected="a model that generates text", found="another")
        return self.models[path]

    def fetched(self, source: str) -> GgufModel:
        """Return a model of the cache."""
        return model_of("/cache/m.gguf", Place.OWN_CACHE, source=source)

    def digest_of(self, path: Path) -> str:
        """Return the same digest for every file."""
        del path
        return DIGEST

    def chat_of(self, template: str, messages: Sequence[Mapping[str, str]]) -> ChatForm:
        """Return the same form for every template."""
        del template, messages
        return self.chat

    def server_at(self, url: str) -> RunningServer:
        """Return a known server."""
        if url not in self.servers:
            raise MeasurementUnavailable("no list of models", remedy="start the server")
        return self.servers[url]

    def probe(self, base_url: str, model: str, *, api_key_env: str | None) -> ProbeReport:
        """Return the report, and remember the call."""
        self.probed.append((base_url, model, api_key_env))
        if self.report is None:
            raise MeasurementUnavailable("nothing was answered", remedy="start the server")
        return self.report
