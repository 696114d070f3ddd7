"""This machine, and the servers that it reaches."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repro_gate.adapters.discovery.chats import form_of_chat
from repro_gate.adapters.discovery.gpus import built_in_engine, cuda_problem, nvidia_gpus
from repro_gate.adapters.discovery.models import Surroundings, find_models, model_of
from repro_gate.adapters.discovery.servers import find_servers, server_at
from repro_gate.adapters.hosted.probe import probe_server
from repro_gate.adapters.models.files import CachedModels, sha256_of
from repro_gate.adapters.models.sources import required_form
from repro_gate.core.engines import CPU, ModelSpec
from repro_gate.core.logprobs.capabilities import ProbeReport
from repro_gate.core.start.machine import Found, GgufModel, Place, RunningServer
from repro_gate.core.start.prompts import ChatForm
from repro_gate.core.start.providers import KNOWN_PROVIDERS
from repro_gate.core.text import escape_text
from repro_gate.errors import UsageInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisMachine:
    """The machine of this process; see `Machine`."""

    where: Surroundings

    def look(self) -> Found:
        """Return what was found, without sending any key."""
        gpus = nvidia_gpus()
        models, skipped = find_models(self.where)
        names = dict.fromkeys(each.api_key_env for each in KNOWN_PROVIDERS.values())
        return Found(
            cores=_cores(),
            gpus=gpus,
            gpu_problem=cuda_problem(self.where.folder) if gpus else None,
            models=models,
            servers=find_servers(),
            keys=tuple(name for name in names if self.where.environ.get(name, "").strip()),
            has_llama_server=shutil.which("llama-server") is not None,
            skipped=skipped,
        )

    def model_at(self, path: Path) -> GgufModel:
        """Return the model of a file; raises `InputInvalid` if it generates no text."""
        return model_of(path, Place.GIVEN)

    def fetched(self, source: str) -> GgufModel:
        """Return the model of an `hf:` or `package:` source; see `Machine`."""
        form = required_form(source)
        if form is not None:
            raise UsageInvalid(f"SOURCE is {form}, not {escape_text(source)!r}")
        cached = CachedModels(beside=self.where.folder, cache=self.where.cache / "models", pins={})
        engine = built_in_engine(CPU)
        spec = ModelSpec(name="model", engine=engine, source=source, sha256=None)
        path = cached.fetch(spec).path or cached.path_of(spec)
        return replace(model_of(path, Place.OWN_CACHE), source=source, shown=source)

    def digest_of(self, path: Path) -> str:
        """Return the SHA-256 of a model; raises `MeasurementUnavailable`."""
        return sha256_of(path)

    def chat_of(self, template: str, messages: Sequence[Mapping[str, str]]) -> ChatForm:
        """Return how a chat template takes these messages."""
        return form_of_chat(template, messages)

    def server_at(self, url: str) -> RunningServer:
        """Return the server at a URL; raises `UsageInvalid` or `MeasurementUnavailable`."""
        return server_at(url)

    def probe(self, base_url: str, model: str, *, api_key_env: str | None) -> ProbeReport:
        """Return what a server can do, in a few calls; raises `MeasurementUnavailable`."""
        return probe_server(base_url, model, api_key_env=api_key_env)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
