"""The parameters of each request, read strictly."""

import re
from dataclasses import dataclass
from pathlib import Path

from repro_gate.engines.llama_cpp.devices import parse_device
from repro_gate.engines.llama_cpp.sampling import Sampler
from repro_gate.engines.llama_cpp.settings import Settings
from repro_gate.protocol import DeviceRequest, Json, bad_request
from repro_gate.strict_json import (
    InvalidJson,
    boolean,
    exact_table,
    integer,
    kind_of,
    list_of,
    number,
    text,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SEED = 2**32 - 2
"""llama.cpp reads 2^32-1 as "draw a seed at random"."""
_MAX_INT32 = 2**31 - 1
_COLDEST = 0.001
"""Below this, logits divided by the temperature leave the range of a float32."""
_HOTTEST = 1000.0
_TEXT_OR_TOKENS = "a string or a list of at least one token"


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
        keys = ("model", "path", "sha256", "device", "settings")
        load = exact_table(params, "load", keys=keys)
        path = text(load["path"], "load.path")
        if not path.startswith("/") or "\0" in path:
            raise bad_request(f"load.path: expected an absolute path, found {path!r}")
        return cls(
            name=text(load["model"], "load.model"),
            path=Path(path),
            sha256=None if load["sha256"] is None else _sha256(load["sha256"]),
            device=parse_device(text(load["device"], "load.device")),
            settings=Settings.parse(load["settings"]),
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
        keys = (
            "prompt", "seed", "max_tokens", "temperature", "top_k", "top_p", "min_p", "trace",
        )  # fmt: skip
        cell = exact_table(params, "generate", keys=keys)
        return cls(
            prompt=text(cell["prompt"], "generate.prompt"),
            max_tokens=integer(cell["max_tokens"], "generate.max_tokens", low=1, high=_MAX_INT32),
            sampler=_sampler(cell),
            trace=boolean(cell["trace"], "generate.trace"),
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
        keys, optional = ("prompt", "response"), ("temperature",)
        pair = exact_table(params, "score", keys=keys, optional=optional)
        prompt = _text_or_tokens(pair["prompt"], "score.prompt")
        response = _text_or_tokens(pair["response"], "score.response")
        if not response:
            raise InvalidJson("score.response", expected=_TEXT_OR_TOKENS, found="an empty string")
        if isinstance(response, str) and not isinstance(prompt, str):
            raise bad_request("score.response: expected tokens, as the prompt is, found a string")
        temperature = None
        if "temperature" in pair:
            temperature = number(
                pair["temperature"], "score.temperature", low=_COLDEST, high=_HOTTEST
            )
        return cls(prompt=prompt, response=response, temperature=temperature)


def _text_or_tokens(value: object, place: str) -> str | list[int]:
    if isinstance(value, str):
        return text(value, place)
    if kind_of(value) != "a list":
        raise InvalidJson(place, expected=_TEXT_OR_TOKENS, found=kind_of(value))
    return list_of(integer, value, place)


def _sha256(value: object) -> str:
    digest = text(value, "load.sha256")
    if not _SHA256.fullmatch(digest):
        raise bad_request(f"load.sha256: expected 64 lower-case hex digits, found {digest!r}")
    return digest


def _sampler(cell: Json) -> Sampler:
    temperature = number(cell["temperature"], "generate.temperature", low=0, high=_HOTTEST)
    if 0 < temperature < _COLDEST:
        raise bad_request(
            f"generate.temperature: expected 0 or at least {_COLDEST}, found {temperature}"
        )
    top_p = number(cell["top_p"], "generate.top_p", low=0, high=1)
    if top_p == 0:
        raise bad_request("generate.top_p: expected more than 0, found 0")
    return Sampler(
        seed=integer(cell["seed"], "generate.seed", low=1, high=_MAX_SEED),
        temperature=temperature,
        top_k=integer(cell["top_k"], "generate.top_k", low=0, high=_MAX_INT32),
        top_p=top_p,
        min_p=number(cell["min_p"], "generate.min_p", low=0, high=1),
    )
