"""The settings of a served engine: read alike by the gate and its engine."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from repro_gate.strict_json import InvalidJson, choice, exact_table, list_of, number, text

READY_TIMEOUT_S: Final = 600.0
_MAX_TIMEOUT_S: Final = 86400
_FIELD: Final = re.compile(r"\{([a-z_]+)\}")
_VARIABLE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>[^\0]*)", re.DOTALL)
_RESERVED: Final = "REPRO_GATE_"
_LOOPBACK: Final = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_API: Final = re.compile(r"/v1(/|$)|/completions?(/|$)|/generate(/|$)")


class Dialect(StrEnum):
    """How a server is asked."""

    LLAMA_SERVER = "llama_server"
    VLLM = "vllm"
    SGLANG = "sglang"
    OPENAI = "openai"
    """Any other one that answers completions with token ids."""


class Placeholder(StrEnum):
    """What the command of a server has in braces."""

    MODEL = "model"
    """The path of the file or folder."""
    NAME = "name"
    """By which it is served."""
    PORT = "port"
    """A free one."""
    HOST = "host"


_NEEDED: Final = (Placeholder.MODEL, Placeholder.PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where the server is, or how it is started."""

    dialect: Dialect
    serve: tuple[str, ...] = ()
    """The command that starts it; empty for one that runs already."""
    base_url: str | None = None
    """Of a server that runs already."""
    profile: str | None = None
    """None for that of this machine."""
    ready_timeout_s: float = READY_TIMEOUT_S
    """How long it may load the model."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables of the started server, besides those of the engine."""
    api_key_env: str | None = None
    """The variable with the key for its requests."""

    @property
    def is_started(self) -> bool:
        """Whether the engine starts the server."""
        return bool(self.serve)

    def command(self, values: Mapping[Placeholder, str]) -> tuple[str, ...]:
        """Return the command with values in the place of its placeholders."""
        return tuple(
            _FIELD.sub(lambda match: values[Placeholder(match[1])], word) for word in self.serve
        )

    @classmethod
    def parse(cls, data: object) -> "ServerSettings":
        """Return the settings of an engine.

        Raises:
            InvalidJson: a key is unknown or missing, or a value is invalid or without effect.
        """
        optional = [name for name in cls.__dataclass_fields__ if name != "dialect"]
        found = exact_table(data, "", keys=("dialect",), optional=optional)
        parsed = cls(**{name: _READERS[name](value, name) for name, value in found.items()})
        _require_one_way(parsed, found)
        if parsed.base_url is not None:
            _require_url(parsed.base_url, has_key=parsed.api_key_env is not None)
        return parsed


def _dialect(value: object, place: str) -> Dialect:
    return Dialect(choice(value, place, tuple(Dialect)))


def _seconds(value: object, place: str) -> float:
    seconds = number(value, place, low=0, high=_MAX_TIMEOUT_S)
    if seconds == 0:
        raise InvalidJson(place, expected="more than 0", found="0")
    return seconds


def _command(value: object, place: str) -> tuple[str, ...]:
    words = tuple(list_of(text, value, place))
    if not words or not all(words) or "\0" in "".join(words):
        expected = "a program and its arguments, none of them empty"
        raise InvalidJson(place, expected=expected, found=f"{list(words)}")
    names = {match[1] for word in words for match in _FIELD.finditer(word)}
    known = ", ".join(f"{{{name}}}" for name in Placeholder)
    unknown = sorted(names - set(Placeholder))
    if unknown:
        expected, found = f"only the placeholders {known}", f"{{{unknown[0]}}}"
        raise InvalidJson(place, expected=expected, found=found)
    missing = [name.value for name in _NEEDED if name not in names]
    if missing:
        reason = "so that the pinned model is served, on a port that is free"
        raise InvalidJson(place, expected=f"{{{missing[0]}}} in it, {reason}", found="none")
    return words


def _variables(value: object, place: str) -> Mapping[str, str]:
    return dict(list_of(_variable, value, place))


def _variable(value: object) -> tuple[str, str]:
    match = _VARIABLE.fullmatch(text(value))
    if match is None:
        raise InvalidJson("", expected="NAME=VALUE", found="another string")
    if match["name"].startswith(_RESERVED):
        expected = f"another name: {_RESERVED} is that of variables of repro-gate"
        raise InvalidJson("", expected=expected, found=match["name"])
    return match["name"], match["value"]


_READERS: Final[Mapping[str, Any]] = {
    "dialect": _dialect,
    "serve": _command,
    "base_url": text,
    "profile": text,
    "ready_timeout_s": _seconds,
    "env": _variables,
    "api_key_env": text,
}


def _require_one_way(settings: ServerSettings, given: Mapping[str, object]) -> None:
    """Raise `InvalidJson` unless the server is either started or somewhere."""
    if settings.is_started == (settings.base_url is not None):
        expected = "either serve, the command that starts it, or the base_url of a running server"
        found = "both" if settings.is_started else "neither"
        raise InvalidJson("serve", expected=expected, found=found)
    if settings.is_started:
        return
    if settings.profile is None:
        expected = "a name for the class of machine at base_url, which is unknown here"
        raise InvalidJson("profile", expected=expected, found="none")
    if "env" in given:
        expected = "none beside base_url: that server has its variables already"
        raise InvalidJson("env", expected=expected, found="some")


def _require_url(url: str, *, has_key: bool) -> None:
    problem = _problem_of(url, has_key=has_key)
    if problem is not None:
        # The URL may contain a password, so it is not shown.
        expected = "the URL of a server, such as http://127.0.0.1:8000"
        raise InvalidJson("base_url", expected=expected, found=problem)


def _problem_of(url: str, *, has_key: bool) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "a malformed one"
    is_open = has_key and parts.scheme == "http" and not _LOOPBACK.fullmatch(host or "")
    problems = {
        "one without http:// or https://": parts.scheme not in {"http", "https"},
        "one without a host": not host,
        "one with a user or a password; put the key in a variable": "@" in parts.netloc,
        "http on another host, where anyone on the network could read the key": is_open,
        "one with a query or a fragment": "?" in url or "#" in url,
        "one with a path of the API, which repro-gate appends": _API.search(parts.path),
    }
    return next((problem for problem, is_there in problems.items() if is_there), None)


def variables_of(env: Mapping[str, str]) -> Sequence[str]:
    """Return variables as settings have them."""
    return [f"{name}={value}" for name, value in env.items()]
