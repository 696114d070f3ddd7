"""The parameters of each request, read strictly."""

import re
from dataclasses import dataclass
from pathlib import Path

from repro_gate.engines.llama_cpp.devices import parse_device
from repro_gate.engines.llama_cpp.fields import Fields, bad_request
from repro_gate.engines.llama_cpp.sampling import Sampler
from repro_gate.engines.llama_cpp.settings import Settings
from repro_gate.protocol import DeviceRequest, Json

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SEED = 2**32 - 2
"""llama.cpp reads 2^32-1 as "draw a seed at random"."""
_MAX_INT32 = 2**31 - 1
_COLDEST = 0.001
"""Below this, logits divided by the temperature leave the range of a float32."""
_HOTTEST = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """A model file, and how to run it."""

    name: str
    path: Path
    sha256: str | None
    """None when the gate does not know it yet."""
    device: DeviceRequest
    settings: Settings

    @classmethod
    def parse(cls, params: Json) -> "LoadRequest":
        """Return the request, or refuse what does not fit."""
        known = ("model", "path", "sha256", "device", "settings")
        fields = Fields(params, of="load", known=known)
        path = fields.text("path")
        if not path.startswith("/") or "\0" in path:
            raise bad_request(f"load: 'path' must be an absolute path, got {path!r}")
        return cls(
            name=fields.text("model"),
            path=Path(path),
            sha256=_sha256(fields),
            device=parse_device(fields.text("device")),
            settings=Settings.parse(fields.value("settings")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """A cell."""

    prompt: str
    max_tokens: int
    sampler: Sampler
    trace: bool

    @classmethod
    def parse(cls, params: Json) -> "GenerateRequest":
        """Return the request, or refuse what does not fit."""
        known = (
            "prompt", "seed", "max_tokens", "temperature", "top_k", "top_p", "min_p", "trace",
        )  # fmt: skip
        fields = Fields(params, of="generate", known=known)
        return cls(
            prompt=fields.text("prompt"),
            max_tokens=fields.integer("max_tokens", low=1, high=_MAX_INT32),
            sampler=_sampler(fields),
            trace=fields.flag("trace"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A prompt, and a response whose probability after it is asked for."""

    prompt: str | list[int]
    response: str | list[int]
    """Text only after a prompt that is text: the two are read together."""
    temperature: float | None
    """None when the log-probabilities of the model itself are enough."""

    @classmethod
    def parse(cls, params: Json) -> "ScoreRequest":
        """Return the request, or refuse what does not fit."""
        fields = Fields(params, of="score", known=("prompt", "response", "temperature"))
        prompt = fields.text_or_integers("prompt")
        response = fields.text_or_integers("response")
        if not response:
            raise bad_request("score: 'response' must not be empty")
        if isinstance(response, str) and not isinstance(prompt, str):
            raise bad_request("score: a 'response' of text needs a 'prompt' of text")
        temperature = None
        if fields.has("temperature"):
            temperature = fields.number("temperature", low=_COLDEST, high=_HOTTEST)
        return cls(prompt=prompt, response=response, temperature=temperature)


def _sha256(fields: Fields) -> str | None:
    if fields.value("sha256") is None:
        return None
    digest = fields.text("sha256")
    if not _SHA256.fullmatch(digest):
        raise bad_request(f"load: 'sha256' must be 64 lower-case hex digits, got {digest!r}")
    return digest


def _sampler(fields: Fields) -> Sampler:
    temperature = fields.number("temperature", low=0.0, high=_HOTTEST)
    if 0 < temperature < _COLDEST:
        raise bad_request(
            f"generate: 'temperature' must be 0 or at least {_COLDEST}, got {temperature}"
        )
    top_p = fields.number("top_p", low=0.0, high=1.0)
    if top_p == 0:
        raise bad_request("generate: 'top_p' must be above 0")
    return Sampler(
        seed=fields.integer("seed", low=1, high=_MAX_SEED),
        temperature=temperature,
        top_k=fields.integer("top_k", low=0, high=_MAX_INT32),
        top_p=top_p,
        min_p=fields.number("min_p", low=0.0, high=1.0),
    )
