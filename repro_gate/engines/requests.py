"""The parameters of each request, read strictly.

The bounds are those of an engine that computes with float32 and counts with 32 bits.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro_gate.model_files import MAX_PARTS, FileState, parse_states
from repro_gate.protocol import (
    DEVICE_FORM,
    MAX_CONCURRENCY,
    DeviceRequest,
    Json,
    bad_request,
    requested_device,
)
from repro_gate.samplers import PLAIN, Sampling
from repro_gate.strict_json import (
    InvalidJson,
    array,
    boolean,
    choice,
    exact_table,
    integer,
    kind_of,
    list_of,
    number,
    table,
    text,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SEED = 2**32 - 2
"""llama.cpp reads 2^32-1 as "draw a seed at random"."""
_MAX_INT32 = 2**31 - 1
_MIN_TEMPERATURE = 0.001
"""Below this, logits divided by the temperature leave the range of a float32."""
_MAX_TEMPERATURE = 1000.0
_MIN_SCALE, _MAX_SCALE = 0.000001, 1000.0
"""Of an adapter; a smaller one has no effect."""
_MAX_STOP_STRINGS = 16
_MAX_BEST = 64
_TEXT_OR_TOKENS = "a string or a list of at least one token"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """The device whose profile is wanted."""

    device: DeviceRequest
    settings: Json
    """Unchecked, as those of a load; empty if the gate does not send them."""

    @classmethod
    def parse(cls, params: Json) -> "DescribeRequest":
        """Return the request, or refuse what does not fit."""
        describe = exact_table(params, "describe", keys=("device",), optional=("settings",))
        return cls(
            device=_device(describe["device"], "describe.device"),
            settings=table(describe.get("settings", {}), "settings"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRequest:
    """A LoRA adapter of the model."""

    path: Path
    sha256: str | None
    """None when the gate does not know it yet."""
    scale: float

    @classmethod
    def parse(cls, data: object, place: str) -> "LoraRequest":
        """Return the adapter, or refuse what does not fit."""
        found = exact_table(data, place, keys=("path", "sha256", "scale"))
        scale = number(found["scale"], f"{place}.scale", low=-_MAX_SCALE, high=_MAX_SCALE)
        if abs(scale) < _MIN_SCALE:
            raise bad_request(f"{place}.scale: expected another number than 0, found {scale:g}")
        return cls(
            path=_path(found["path"], f"{place}.path"),
            sha256=_sha256_or_none(found["sha256"], f"{place}.sha256"),
            scale=scale,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """A model file, and how to run it."""

    name: str
    path: Path | None
    """None for a model of which the matrix names no file."""
    sha256: str | None
    """None when the gate does not know it yet."""
    device: DeviceRequest
    settings: Json
    """Unchecked: the engine reads them, and refuses unknown ones."""
    concurrency: int | None
    """The most requests in flight at a time; None if the gate does not limit them."""
    states: tuple[FileState, ...] = ()
    """Of its files when they had the digest; empty if it must be taken."""
    parts: tuple[Path, ...] = ()
    """Every part of a split model, `path` first; empty for a file or a folder."""
    lora: tuple[LoraRequest, ...] = ()
    """In the order in which they apply."""

    @classmethod
    def parse(cls, params: Json) -> "LoadRequest":
        """Return the request, or refuse what does not fit."""
        keys = ("model", "sha256", "device", "settings")
        optional = ("path", "concurrency", "file", "parts", "lora")
        load = exact_table(params, "load", keys=keys, optional=optional)
        path = _path(load["path"], "load.path") if "path" in load else None
        return cls(
            name=text(load["model"], "load.model"),
            path=path,
            sha256=_sha256_or_none(load["sha256"], "load.sha256"),
            device=_device(load["device"], "load.device"),
            settings=table(load["settings"], "settings"),
            concurrency=_concurrency(load["concurrency"]) if "concurrency" in load else None,
            states=_known_states(load) if "file" in load else (),
            parts=_parts(load["parts"], path) if "parts" in load else (),
            lora=tuple(
                LoraRequest.parse(one, f"load.lora[{index}]")
                for index, one in enumerate(array(load.get("lora", []), "load.lora"))
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerRequest:
    """Every value that a draw depends on besides the logits."""

    seed: int
    temperature: float
    """0 is greedy."""
    top_k: int
    """0 keeps every token."""
    top_p: float
    min_p: float
    sampling: Sampling | None = None
    """None for the plain samplers."""

    @property
    def is_greedy(self) -> bool:
        """Whether the seed has no effect."""
        draws = self.sampling is not None and self.sampling.draws_when_cold
        return self.temperature == 0 and not draws


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(SamplerRequest):
    """A cell: a prompt, and how to continue it."""

    prompt: str
    """Empty for a chat."""
    max_tokens: int
    trace: bool
    """Whether the answer needs the evidence for each token."""
    logits: bool = False
    """Whether the answer needs the digest of the logits for each token."""
    keep_cache: bool = False
    """Whether the run may use what earlier ones left in caches."""
    chat: Json | None = None
    """The messages that make the prompt, in place of a text."""
    stop: tuple[str, ...] = ()
    """The run ends when its text holds one of them."""

    @classmethod
    def parse(cls, params: Json) -> "GenerateRequest":
        """Return the request, or refuse what does not fit."""
        other = "prompt" if "chat" in params else "chat"
        optional = ("sampling", "stop", "logits", "cache")
        absent = {other, *optional, "keep_cache"}
        required = tuple(name for name in cls.__dataclass_fields__ if name not in absent)
        cell = exact_table(params, "generate", keys=required, optional=optional)
        return cls(
            **_sampler(cell, "generate"),
            prompt=text(cell["prompt"], "generate.prompt") if "prompt" in cell else "",
            chat=_chat(cell["chat"]) if "chat" in cell else None,
            max_tokens=integer(cell["max_tokens"], "generate.max_tokens", low=1, high=_MAX_INT32),
            trace=boolean(cell["trace"], "generate.trace"),
            logits=boolean(cell.get("logits", False), "generate.logits"),
            keep_cache="cache" in cell and bool(choice(cell["cache"], "generate.cache", ["keep"])),
            stop=_stop(cell["stop"]) if "stop" in cell else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A prompt, and a response whose probability after it is wanted."""

    prompt: str | list[int]
    response: str | list[int]
    """Text only after a prompt that is text: the two are tokenized together."""
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
                pair["temperature"],
                "score.temperature",
                low=_MIN_TEMPERATURE,
                high=_MAX_TEMPERATURE,
            )
        return cls(prompt=prompt, response=response, temperature=temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest(SamplerRequest):
    """Tokens that are claimed to be the output after a prompt."""

    prompt: list[int]
    tokens: list[int]
    best: int
    """How many of the likeliest tokens the answer needs at each place."""

    @classmethod
    def parse(cls, params: Json) -> "VerifyRequest":
        """Return the request, or refuse what does not fit."""
        required = tuple(name for name in cls.__dataclass_fields__ if name != "sampling")
        claim = exact_table(params, "verify", keys=required, optional=("sampling",))
        return cls(
            **_sampler(claim, "verify"),
            prompt=_some_tokens(claim["prompt"], "verify.prompt"),
            tokens=_some_tokens(claim["tokens"], "verify.tokens"),
            best=integer(claim["best"], "verify.best", low=1, high=_MAX_BEST),
        )


def _chat(value: object) -> Json:
    keys = ("tools", "template_kwargs", "add_generation_prompt", "template")
    chat = exact_table(value, "generate.chat", keys=("messages",), optional=keys)
    for name in ("messages", "tools"):
        list_of(table, chat.get(name, []), f"generate.chat.{name}")
    if not chat["messages"]:
        raise bad_request("generate.chat.messages: expected at least one message, found none")
    table(chat.get("template_kwargs", {}), "generate.chat.template_kwargs")
    boolean(chat.get("add_generation_prompt", True), "generate.chat.add_generation_prompt")
    if "template" in chat:
        text(chat["template"], "generate.chat.template")
    return chat


def _device(value: object, place: str) -> DeviceRequest:
    name = text(value, place)
    device = requested_device(name)
    if device is None:
        raise bad_request(f"{place}: expected {DEVICE_FORM}, found {name!r}")
    return device


def _path(value: object, place: str) -> Path:
    path = text(value, place)
    if not path.startswith("/") or "\0" in path:
        raise bad_request(f"{place}: expected an absolute path, found {path!r}")
    return Path(path)


def _sha256_or_none(value: object, place: str) -> str | None:
    if value is None:
        return None
    digest = text(value, place)
    if not _SHA256.fullmatch(digest):
        raise bad_request(f"{place}: expected 64 lower-case hex digits, found {digest!r}")
    return digest


def _concurrency(value: object) -> int:
    return integer(value, "load.concurrency", low=1, high=MAX_CONCURRENCY)


def _parts(value: object, path: Path | None) -> tuple[Path, ...]:
    parts = tuple(
        _path(one, f"load.parts[{index}]") for index, one in enumerate(array(value, "load.parts"))
    )
    if not 1 < len(set(parts)) == len(parts) <= MAX_PARTS or parts[0] != path:
        raise bad_request(
            f"load.parts: expected load.path and 1 to {MAX_PARTS - 1} other paths, each once"
        )
    return parts


def _known_states(load: Json) -> tuple[FileState, ...]:
    if load["sha256"] is None:
        raise bad_request("load.file: expected only together with a sha256, found null there")
    return parse_states(load["file"], "load.file")


def _sampler(params: Json, place: str) -> dict[str, Any]:
    """Return the arguments of a `SamplerRequest`."""
    sampling = Sampling.parse(params.get("sampling", {}), f"{place}.sampling")
    if sampling is not None:
        sampling.require_effect({name: params[name] for name in PLAIN}, place)
    return {
        "seed": integer(params["seed"], f"{place}.seed", low=1, high=_MAX_SEED),
        "temperature": _temperature(params["temperature"], f"{place}.temperature"),
        "top_k": integer(params["top_k"], f"{place}.top_k", low=0, high=_MAX_INT32),
        "top_p": _top_p(params["top_p"], f"{place}.top_p"),
        "min_p": number(params["min_p"], f"{place}.min_p", low=0, high=1),
        "sampling": sampling,
    }


def _temperature(value: object, place: str) -> float:
    temperature = number(value, place, low=0, high=_MAX_TEMPERATURE)
    if 0 < temperature < _MIN_TEMPERATURE:
        raise bad_request(
            f"{place}: expected 0 or at least {_MIN_TEMPERATURE}, found {temperature}"
        )
    return temperature


def _top_p(value: object, place: str) -> float:
    top_p = number(value, place, low=0, high=1)
    if top_p == 0:
        raise bad_request(f"{place}: expected more than 0, found 0")
    return top_p


def _some_tokens(value: object, place: str) -> list[int]:
    tokens = list_of(integer, value, place)
    if not tokens:
        raise InvalidJson(place, expected="at least one token", found="an empty list")
    return tokens


def _stop(value: object) -> tuple[str, ...]:
    found = tuple(list_of(text, value, "generate.stop"))
    if not all(found) or not 1 <= len(found) <= _MAX_STOP_STRINGS:
        raise bad_request(
            f"generate.stop: expected 1 to {_MAX_STOP_STRINGS} strings that are not empty"
        )
    return found


def _text_or_tokens(value: object, place: str) -> str | list[int]:
    if isinstance(value, str):
        return text(value, place)
    if kind_of(value) != "a list":
        raise InvalidJson(place, expected=_TEXT_OR_TOKENS, found=kind_of(value))
    return list_of(integer, value, place)
