"""The parameters of each request, read strictly, and the model file that one of them names.

The bounds are those of an engine that computes with float32 and counts with 32 bits.
"""

import hashlib
import os
import re
import stat
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from repro_gate.protocol import (
    DEVICE_FORM,
    MAX_CONCURRENCY,
    DeviceRequest,
    Json,
    Refusal,
    RequestRefused,
    bad_request,
    requested_device,
)
from repro_gate.samplers import PLAIN, Sampling
from repro_gate.strict_json import (
    MAX_INTEGER,
    InvalidJson,
    boolean,
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
_MAX_STOP_STRINGS = 16
_TEXT_OR_TOKENS = "a string or a list of at least one token"
_CLOCK_TICK_NS = 20_000_000
"""More than the kernel waits before it moves the clock of its file systems."""
_SECOND_NS = 1_000_000_000
"""Some file systems, such as HFS+, count whole seconds."""


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
class FileState:
    """What any write to a file changes, and so does a file in its place."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def parse(cls, data: object, place: str) -> "FileState":
        """Return the state, or refuse what is none."""
        found = exact_table(data, place, keys=tuple(cls.__dataclass_fields__))
        return cls(**{name: integer(value, f"{place}.{name}") for name, value in found.items()})

    @classmethod
    def of(cls, status: os.stat_result) -> "FileState":
        """Return the state that a status shows."""
        return cls(
            # Unsigned numbers of 64 bits, of which the protocol has 63.
            device=status.st_dev & MAX_INTEGER,
            inode=status.st_ino & MAX_INTEGER,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )

    def is_settled(self, now_ns: int) -> bool:
        """Return whether a write from now on changes the state; the clock of files is coarse."""
        tick_ns = _CLOCK_TICK_NS if self.changed_ns % _SECOND_NS else 2 * _SECOND_NS
        return self.changed_ns + tick_ns < now_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """A model file, and how to run it."""

    name: str
    path: Path
    sha256: str | None
    """None when the gate does not know it yet."""
    device: DeviceRequest
    settings: Json
    """Unchecked: the engine reads them, and refuses unknown ones."""
    concurrency: int | None
    """The most requests in flight at a time; None if the gate does not limit them."""
    file: FileState | None
    """A state in which the file had the digest; None if it must be taken."""

    @classmethod
    def parse(cls, params: Json) -> "LoadRequest":
        """Return the request, or refuse what does not fit."""
        keys = ("model", "path", "sha256", "device", "settings")
        load = exact_table(params, "load", keys=keys, optional=("concurrency", "file"))
        path = text(load["path"], "load.path")
        if not path.startswith("/") or "\0" in path:
            raise bad_request(f"load.path: expected an absolute path, found {path!r}")
        return cls(
            name=text(load["model"], "load.model"),
            path=Path(path),
            sha256=None if load["sha256"] is None else _sha256(load["sha256"]),
            device=_device(load["device"], "load.device"),
            settings=table(load["settings"], "settings"),
            concurrency=_concurrency(load["concurrency"]) if "concurrency" in load else None,
            file=_known_state(load) if "file" in load else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """A cell: a prompt, and every value that a draw depends on besides the logits."""

    prompt: str
    """Empty for a chat."""
    seed: int
    max_tokens: int
    temperature: float
    """0 is greedy."""
    top_k: int
    """0 keeps every token."""
    top_p: float
    min_p: float
    trace: bool
    """Whether the answer needs the evidence for each token."""
    sampling: Sampling | None = None
    """None for the plain samplers."""
    chat: Json | None = None
    """The messages that make the prompt, in place of a text."""
    stop: tuple[str, ...] = ()
    """The run ends when its text holds one of them."""

    @classmethod
    def parse(cls, params: Json) -> "GenerateRequest":
        """Return the request, or refuse what does not fit."""
        other = "prompt" if "chat" in params else "chat"
        optional = ("sampling", "stop")
        absent = {other, *optional}
        required = tuple(name for name in cls.__dataclass_fields__ if name not in absent)
        cell = exact_table(params, "generate", keys=required, optional=optional)
        sampling = Sampling.parse(cell.get("sampling", {}), "generate.sampling")
        if sampling is not None:
            sampling.require_effect({name: cell[name] for name in PLAIN}, "generate")
        return cls(
            prompt=text(cell["prompt"], "generate.prompt") if "prompt" in cell else "",
            chat=_chat(cell["chat"]) if "chat" in cell else None,
            seed=integer(cell["seed"], "generate.seed", low=1, high=_MAX_SEED),
            max_tokens=integer(cell["max_tokens"], "generate.max_tokens", low=1, high=_MAX_INT32),
            temperature=_temperature(cell["temperature"]),
            top_k=integer(cell["top_k"], "generate.top_k", low=0, high=_MAX_INT32),
            top_p=_top_p(cell["top_p"]),
            min_p=number(cell["min_p"], "generate.min_p", low=0, high=1),
            trace=boolean(cell["trace"], "generate.trace"),
            sampling=sampling,
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
class ModelFile:
    """A model file whose digest is known."""

    path: Path
    sha256: str
    state: FileState
    is_settled: bool
    """Whether every later write changes the state."""

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.state.size

    def state_to_wire(self) -> Json:
        """Return the key `file` of the answer, if the state can stand for the digest."""
        return {"file": asdict(self.state)} if self.is_settled else {}

    def require_unchanged(self) -> None:
        """Refuse the file when it is no longer the one that was read."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise model_invalid(f"{self.path}: {error.strerror}") from error
        # A change of its permissions or links is none of its content.
        now = replace(FileState.of(status), changed_ns=self.state.changed_ns)
        if now != self.state:
            raise model_invalid(f"{self.path}: changed while it was being loaded")


def model_invalid(message: str) -> RequestRefused:
    """Return the error for an unusable model."""
    return RequestRefused(Refusal.MODEL_INVALID, message)


def read_model_file(
    path: Path, *, expected: str | None, known: FileState | None = None
) -> ModelFile:
    """Read a model file to its end; refuse one whose digest is not the expected one.

    Args:
        path: of the file.
        expected: its digest, or None if any file will do.
        known: a state in which the file had this digest; it is not read again if it is in it.
    """
    started_ns = time.time_ns()
    try:
        # Without O_NONBLOCK, opening a pipe without a writer would block.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise model_invalid(f"{path}: not a regular file")
            state = FileState.of(status)
            digest = expected if state == known else None
            if digest is None:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise model_invalid(f"{path}: {error.strerror}") from error
    if expected not in {None, digest}:
        raise RequestRefused(
            Refusal.DIGEST_MISMATCH, f"{path}: expected sha256 {expected}, found {digest}"
        )
    is_settled = state.is_settled(started_ns)
    return ModelFile(path=path, sha256=digest, state=state, is_settled=is_settled)


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


def _sha256(value: object) -> str:
    digest = text(value, "load.sha256")
    if not _SHA256.fullmatch(digest):
        raise bad_request(f"load.sha256: expected 64 lower-case hex digits, found {digest!r}")
    return digest


def _concurrency(value: object) -> int:
    return integer(value, "load.concurrency", low=1, high=MAX_CONCURRENCY)


def _known_state(load: Json) -> FileState:
    if load["sha256"] is None:
        raise bad_request("load.file: expected only together with a sha256, found null there")
    return FileState.parse(load["file"], "load.file")


def _temperature(value: object) -> float:
    temperature = number(value, "generate.temperature", low=0, high=_MAX_TEMPERATURE)
    if 0 < temperature < _MIN_TEMPERATURE:
        raise bad_request(
            f"generate.temperature: expected 0 or at least {_MIN_TEMPERATURE}, found {temperature}"
        )
    return temperature


def _top_p(value: object) -> float:
    top_p = number(value, "generate.top_p", low=0, high=1)
    if top_p == 0:
        raise bad_request("generate.top_p: expected more than 0, found 0")
    return top_p


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
