"""The lines of a draw log: which draw it is, and what came of it.

Read by hand rather than by the schema, `repro_gate/schemas/draws-v1.json`: a resumed log may have
a hundred thousand lines.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeGuard, assert_never

from repro_gate.adapters.parsing import ANSWER_LIMITS, json_line_of
from repro_gate.core.draw_format import (
    facts_from_data,
    facts_to_data,
    logprobs_from,
    rounded,
)
from repro_gate.core.draws import Draw, DrawFacts, DrawOutcome, InvalidDraw, MissedDraw
from repro_gate.core.text import printable, unprinted
from repro_gate.ports import Purpose

DrawKey: TypeAlias = tuple[str, str, int]
"""Cell, purpose and number; see `DrawRequest.key`."""

MAX_LINE_BYTES: Final = ANSWER_LIMITS.max_bytes
_NAMED: Final = frozenset({"cell", "purpose", "number", "outcome"})
_MORE: Final[Mapping[str, frozenset[str]]] = {
    "draw": frozenset({"total", "logprobs", "facts"}),
    "invalid": frozenset({"reason", "position", "facts"}),
    "missed": frozenset({"reason", "remedy"}),
}
"""The other keys of a line, by its outcome."""
_FACTS: Final = frozenset({"at", "model", "request_id", "latency_s", "attempts", "headers"})


def to_line(key: DrawKey, outcome: DrawOutcome) -> bytes:
    """Return a draw as one line of ASCII."""
    cell, purpose, number = key
    named = {"cell": cell, "purpose": purpose, "number": number}
    return json_line({**named, **_outcome_to_data(outcome)})


def json_line(data: Mapping[str, Any]) -> bytes:
    """Return JSON data as one line of ASCII."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def from_line(line: bytes) -> tuple[DrawKey, DrawOutcome]:
    """Return the draw that a line tells of; raises ValueError when it tells of none."""
    data = json_object(line)
    kind = data.get("outcome")
    if not isinstance(kind, str) or kind not in _MORE:
        raise ValueError(f"'outcome' is none of {', '.join(_MORE)}")
    if data.keys() != _NAMED | _MORE[kind]:
        raise ValueError(f"the keys are not those of the outcome {kind}")
    key = _text(data, "cell"), Purpose(data["purpose"]).value, _whole(data, "number", least=1)
    match kind:
        case "draw":
            logprobs = logprobs_from("logprobs", _numbers(data["logprobs"]))
            return key, Draw(logprobs=logprobs, facts=_facts(data["facts"]))
        case "invalid":
            position = None if data["position"] is None else _whole(data, "position", least=0)
            reason = unprinted(_text(data, "reason"))
            return key, InvalidDraw(reason=reason, position=position, facts=_facts(data["facts"]))
        case _:
            remedy = None if data["remedy"] is None else unprinted(_text(data, "remedy"))
            return key, MissedDraw(reason=unprinted(_text(data, "reason")), remedy=remedy)


def json_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line; raises ValueError."""
    return _object(json_line_of(line, ANSWER_LIMITS), "the line")


def _outcome_to_data(outcome: DrawOutcome) -> dict[str, Any]:
    match outcome:
        case Draw():
            return {
                "outcome": "draw",
                "total": rounded(outcome.total),
                "logprobs": list(outcome.logprobs),
                "facts": facts_to_data(outcome.facts),
            }
        case InvalidDraw():
            return {
                "outcome": "invalid",
                "reason": printable(outcome.reason),
                "position": outcome.position,
                "facts": facts_to_data(outcome.facts),
            }
        case MissedDraw():
            remedy = None if outcome.remedy is None else printable(outcome.remedy)
            return {"outcome": "missed", "reason": printable(outcome.reason), "remedy": remedy}
        case _:
            assert_never(outcome)


def _facts(value: Any) -> DrawFacts:
    data = _object(value, "'facts'")
    if data.keys() != _FACTS:
        raise ValueError("'facts' are not those of a call")
    for name in ("at", "model", "request_id"):
        _text(data, name)
    _whole(data, "attempts", least=1)
    _numbers([data["latency_s"]])
    if data["headers"] is not None:
        headers = _object(data["headers"], "'headers'")
        for name in headers:
            _text(headers, name)
    return facts_from_data(data)


def _object(value: Any, place: str) -> dict[str, Any]:
    if not _is_object(value):
        raise ValueError(f"{place} is no JSON object")
    return value


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data[name]
    if type(value) is not str:
        raise ValueError(f"'{name}' is no text")
    return value


def _whole(data: Mapping[str, Any], name: str, *, least: int) -> int:
    value = data[name]
    if type(value) is not int or value < least:
        raise ValueError(f"'{name}' is no whole number from {least} on")
    return value


def _numbers(values: Any) -> list[float]:
    if not _is_list(values) or {*map(type, values)} - {int, float}:
        raise ValueError("there is no list of numbers")
    return values


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
