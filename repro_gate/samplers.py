"""The samplers of llama.cpp and their parameters: read alike by the gate and its engine.

Names are those of the fields of a request to llama-server, defaults those of llama.cpp 0c1e570.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

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

_MAX_INT32: Final = 2**31 - 1
_MAX_COUNT: Final = 2**20
"""The largest context; llama.cpp allocates as many entries, and does not return from 2^31-1."""
_MAX_TEXT_BYTES: Final = 2**16
_MAX_BIASES: Final = 1024
_MAX_BIAS: Final = 1e6
_MAX_BREAKERS: Final = 64
_MAX_BREAKER_BYTES: Final = 40
"""llama.cpp cuts longer ones."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a sampler, or the texts of `dry_sequence_breakers`."""

    default: int | float | tuple[str, ...]
    """Of llama-server; its type is that of the parameter."""
    low: float = 0
    high: float = 1

    @property
    def is_integer(self) -> bool:
        """Whether it is a whole number."""
        return isinstance(self.default, int)

    @property
    def is_texts(self) -> bool:
        """Whether it is a list of texts."""
        return isinstance(self.default, tuple)

    def read(self, value: object, place: str) -> int | float | list[str]:
        """Return a value of the parameter, or raise `InvalidJson`."""
        if self.is_texts:
            return _breakers(value, place)
        if self.is_integer:
            return integer(value, place, low=int(self.low), high=int(self.high))
        # Adding 0.0 turns -0.0 into 0.0.
        return number(value, place, low=self.low, high=self.high) + 0.0


PARAMETERS: Final[Mapping[str, Parameter]] = {
    "repeat_last_n": Parameter(64, 0, _MAX_COUNT),
    "repeat_penalty": Parameter(1.0, 0.001, 1000),
    "frequency_penalty": Parameter(0.0, -1000, 1000),
    "presence_penalty": Parameter(0.0, -1000, 1000),
    "dry_multiplier": Parameter(0.0, 0, 1000),
    "dry_base": Parameter(1.75, 1, 1000),
    "dry_allowed_length": Parameter(2, 0, _MAX_COUNT),
    "dry_penalty_last_n": Parameter(64, 0, _MAX_COUNT),
    "dry_sequence_breakers": Parameter(("\n", ":", '"', "*")),
    "top_n_sigma": Parameter(-1.0, -1, 1000),
    "top_k": Parameter(40, 0, _MAX_INT32),
    "typical_p": Parameter(1.0, 0.001, 1),
    "top_p": Parameter(0.95, 0.001, 1),
    "min_p": Parameter(0.05),
    "xtc_probability": Parameter(0.0),
    "xtc_threshold": Parameter(0.1),
    "temperature": Parameter(0.8, 0, 10),
    "dynatemp_range": Parameter(0.0, 0, 10),
    "dynatemp_exponent": Parameter(1.0, 0, 100),
    "mirostat_tau": Parameter(5.0, 0.001, 1000),
    "mirostat_eta": Parameter(0.1, 0, 1000),
    "adaptive_target": Parameter(-1.0, -1, 1),
    "adaptive_decay": Parameter(0.9, 0, 0.99),
    "min_keep": Parameter(0, 0, _MAX_COUNT),
}
"""Every parameter, in the order in which they are written."""
SAMPLERS: Final[Mapping[str, tuple[str, ...]]] = {
    "penalties": ("repeat_last_n", "repeat_penalty", "frequency_penalty", "presence_penalty"),
    "dry": (
        *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
        "dry_sequence_breakers",
    ),
    "top_n_sigma": ("top_n_sigma",),
    "top_k": ("top_k",),
    "typ_p": ("typical_p", "min_keep"),
    "top_p": ("top_p", "min_keep"),
    "min_p": ("min_p", "min_keep"),
    "xtc": ("xtc_probability", "xtc_threshold", "min_keep"),
    "temperature": ("temperature", "dynatemp_range", "dynatemp_exponent"),
    "mirostat": ("mirostat_tau", "mirostat_eta"),
    "mirostat_v2": ("mirostat_tau", "mirostat_eta"),
    "adaptive_p": ("adaptive_target", "adaptive_decay"),
}
"""By name, in the order of llama-server; each with its parameters."""
DRAWING: Final = ("mirostat", "mirostat_v2", "adaptive_p")
"""They draw the token; without one of them `dist` does, from the probabilities."""
_MIROSTATS: Final = ("mirostat", "mirostat_v2")
"""llama-server applies nothing but the plain temperature before them."""
_MAX_XTC_THRESHOLD: Final = 0.5
"""Above it, llama.cpp switches xtc off."""
SERVER_ORDER: Final = tuple(name for name in SAMPLERS if name not in DRAWING)
PLAIN: Final[Mapping[str, int | float]] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
}
"""The parameters that every request has, with the values that have no effect."""
PLAIN_ORDER: Final = ("top_k", "top_p", "min_p", "temperature")
"""The samplers of a request without others."""
EXTRAS: Final = tuple(name for name in PARAMETERS if name not in PLAIN)
BESIDE: Final = ("logit_bias", "ignore_eos", "grammar", "json_schema")
"""What applies beside the samplers, whichever they are."""
_BINDING: Final = frozenset({"logit_bias", "grammar", "json_schema"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What a token is drawn with besides the four parameters of `PLAIN`."""

    samplers: tuple[str, ...] = ()
    """In the order in which they apply; none where they are those of `PLAIN_ORDER`."""
    values: tuple[tuple[str, str], ...] = ()
    """Each further parameter with its value as JSON, in the order of `EXTRAS` and `BESIDE`."""

    def __post_init__(self) -> None:
        data = {name: json.loads(value) for name, value in self.values}
        if self.samplers:
            data["samplers"] = list(self.samplers)
        if (self.samplers, self.values) != _read(data, ""):
            raise ValueError("sampling must be in the form in which it is written")

    @classmethod
    def parse(cls, data: object, place: str = "") -> "Sampling | None":
        """Return the sampling, or None where nothing differs from the plain one.

        Raises:
            InvalidJson: a key is unknown or missing, or a value is out of its range or would have
                no effect.
        """
        samplers, values = _read(data, place)
        return cls(samplers=samplers, values=values) if samplers or values else None

    def to_data(self) -> dict[str, Any]:
        """Return it as plain JSON data, which `parse` reads."""
        order = {"samplers": list(self.samplers)} if self.samplers else {}
        return {**order, **{name: json.loads(value) for name, value in self.values}}

    def facts(self) -> dict[str, str]:
        """Return it as flat facts."""
        order = {"samplers": ", ".join(self.samplers)} if self.samplers else {}
        return {**order, **dict(self.values)}

    @property
    def order(self) -> tuple[str, ...]:
        """The samplers that apply, in order."""
        return self.samplers or PLAIN_ORDER

    def value(self, name: str) -> Any:
        """Return a further parameter, or its default: the one of llama-server, or None."""
        for other, value in self.values:
            if other == name:
                return json.loads(value)
        return PARAMETERS[name].default if name in PARAMETERS else None

    def require_effect(self, values: Mapping[str, Any], place: str = "") -> None:
        """Raise `InvalidJson` for a parameter of `PLAIN` that these samplers would ignore."""
        for name, neutral in PLAIN.items():
            if name not in self.order and values[name] != neutral:
                expected = f"{neutral:g}, because {name} is not one of the samplers"
                raise InvalidJson(_at(place, name), expected=expected, found=kind_of(values[name]))
        if values["temperature"] == 0 and self.order[-1] in DRAWING:
            expected = f"more than 0, because {self.order[-1]} draws"
            raise InvalidJson(_at(place, "temperature"), expected=expected, found="0")

    @property
    def is_binding(self) -> bool:
        """Whether it allows only some texts, or prefers some tokens, whatever the model does."""
        return not _BINDING.isdisjoint(name for name, _ in self.values)

    @property
    def draws_when_cold(self) -> bool:
        """Whether the seed has an effect even at temperature 0."""
        # At a probability of 1 it cuts always.
        cuts_at_random: bool = (
            "xtc" in self.order
            and 0 < self.value("xtc_probability") < 1
            and self.value("xtc_threshold") <= _MAX_XTC_THRESHOLD
        )
        is_dynamic: bool = self.value("dynatemp_range") > 0
        return cuts_at_random or is_dynamic


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _read(data: object, place: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    found = exact_table(data, place, keys=(), optional=("samplers", *EXTRAS, *BESIDE))
    samplers = _samplers(found["samplers"], _at(place, "samplers")) if "samplers" in found else ()
    needed = {name for sampler in samplers for name in SAMPLERS[sampler]}
    values: dict[str, Any] = {}
    for name in EXTRAS:
        if name in found and name not in needed:
            raise without_effect(_at(place, name), name, found[name])
        if name in needed:
            if name not in found:
                expected = f"the key {name!r} (llama-server's default: {shown_default(name)})"
                raise InvalidJson(place, expected=expected, found="none")
            values[name] = PARAMETERS[name].read(found[name], _at(place, name))
    _require_plain_temperature(samplers, values, place)
    for name, read in _BESIDE.items():
        value = read(found[name], _at(place, name)) if name in found else None
        # Neither an empty list, nor false, nor an empty grammar has an effect.
        if value:
            values[name] = value
    if "grammar" in values and "json_schema" in values:
        expected = "no grammar beside json_schema, which becomes one"
        raise InvalidJson(_at(place, "grammar"), expected=expected, found="a string")
    return samplers, tuple((name, _json(value)) for name, value in values.items())


def _require_plain_temperature(
    samplers: tuple[str, ...], values: Mapping[str, Any], place: str
) -> None:
    if samplers and samplers[-1] in _MIROSTATS and values.get("dynatemp_range"):
        expected = f"0 with {samplers[-1]}, where llama-server ignores it"
        found = kind_of(values["dynatemp_range"])
        raise InvalidJson(_at(place, "dynatemp_range"), expected=expected, found=found)


def without_effect(place: str, name: str, value: object) -> InvalidJson:
    """Return the error for a parameter whose sampler does not apply."""
    owners = " or ".join(owner for owner, names in SAMPLERS.items() if name in names)
    expected = f"no such key without {owners} in samplers, as it would have no effect"
    return InvalidJson(place, expected=expected, found=kind_of(value))


def shown_default(name: str) -> str:
    """Return the default of llama-server as JSON, which is TOML too."""
    return _json(PARAMETERS[name].default)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _samplers(value: object, place: str) -> tuple[str, ...]:
    found = array(value, place)
    names = tuple(
        choice(name, f"{place}[{index}]", tuple(SAMPLERS)) for index, name in enumerate(found)
    )
    if not names:
        raise InvalidJson(place, expected="at least one sampler", found="an empty list")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidJson(f"{place}[{index}]", expected="no repeated sampler", found=name)
        if name in DRAWING and index != len(names) - 1:
            expected = f"{name} in the last place, because it draws the token"
            raise InvalidJson(f"{place}[{index}]", expected=expected, found="it before others")
        if names[-1] in _MIROSTATS and name not in {"temperature", names[-1]}:
            expected = f"only temperature before {names[-1]}: llama-server ignores the others"
            raise InvalidJson(f"{place}[{index}]", expected=expected, found=name)
    return names


def _breakers(value: object, place: str) -> list[str]:
    def read(each: object) -> str:
        found = _c_text(each, "")
        size = len(found.encode())
        if not 1 <= size <= _MAX_BREAKER_BYTES:
            expected = f"1 to {_MAX_BREAKER_BYTES} bytes"
            raise InvalidJson("", expected=expected, found=f"{size} bytes")
        return found

    return _few(list_of(read, value, place), place, _MAX_BREAKERS, least=1)


def _few(found: list[Any], place: str, most: int, *, least: int = 0) -> list[Any]:
    if not least <= len(found) <= most:
        raise InvalidJson(
            place, expected=f"{least} to {most} entries", found=f"{len(found)} entries"
        )
    return found


def _c_text(value: object, place: str) -> str:
    found = text(value, place)
    if "\0" in found:
        raise InvalidJson(place, expected="a string", found="a zero byte in it")
    if len(found.encode()) > _MAX_TEXT_BYTES:
        expected = f"at most {_MAX_TEXT_BYTES} bytes"
        raise InvalidJson(place, expected=expected, found="more of them")
    return found


def _biases(value: object, place: str) -> list[list[Any]]:
    biases = _few(list_of(_bias, value, place), place, _MAX_BIASES)
    ids = [token for token, _ in biases]
    for index, token in enumerate(ids):
        if token in ids[:index]:
            # llama.cpp adds it twice or once, depending on the samplers.
            expected = "one entry for each token"
            raise InvalidJson(f"{place}[{index}]", expected=expected, found=f"a second of {token}")
    return biases


def _bias(value: object) -> list[Any]:
    match array(value):
        case [token, bias]:
            token_id = integer(token, "[0]", low=0, high=_MAX_INT32)
        case pair:
            expected = "a token id, and a number or false"
            raise InvalidJson("", expected=expected, found=f"a list of {len(pair)}")
    if bias is False:
        return [token_id, False]
    if bias is True:
        raise InvalidJson("[1]", expected="a finite number or false", found="true")
    return [token_id, number(bias, "[1]", low=-_MAX_BIAS, high=_MAX_BIAS) + 0.0]


def _schema_text(value: object, place: str) -> str:
    """Return a JSON Schema, an object or its text, as a text; the order of its keys counts."""
    try:
        schema = json.loads(value, object_pairs_hook=_unique) if isinstance(value, str) else value
        written = json.dumps(table(schema, place), ensure_ascii=False, allow_nan=False)
    except InvalidJson:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        found = "a string that is none" if isinstance(value, str) else "values that JSON lacks"
        raise InvalidJson(place, expected="a JSON Schema as an object", found=found) from error
    return _c_text(written, place)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a repeated key")
    return found


_BESIDE: Final[Mapping[str, Callable[[object, str], object]]] = {
    "logit_bias": _biases,
    "ignore_eos": boolean,
    "grammar": _c_text,
    "json_schema": _schema_text,
}
