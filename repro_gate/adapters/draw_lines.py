"""The lines of a draw log: which draw it is, and what came of it.

Read by hand rather than by the schema, `repro_gate/schemas/draws-v1.json`: a resumed log may have
a hundred thousand lines.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, assert_never

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
from repro_gate.strict_json import choice, exact_table, integer, list_of, number, string, table

DrawKey: TypeAlias = tuple[str, str, int]
"""Cell, purpose and number; see `DrawRequest.key`."""

MAX_LINE_BYTES: Final = ANSWER_LIMITS.max_bytes
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "draw": ("cell", "purpose", "number", "outcome", "total", "logprobs", "facts"),
    "invalid": ("cell", "purpose", "number", "outcome", "reason", "position", "facts"),
    "missed": ("cell", "purpose", "number", "outcome", "reason", "remedy"),
}
"""By the outcome of the draw."""
_PURPOSES: Final = tuple(Purpose)
_FACTS: Final = ("at", "model", "request_id", "latency_s", "attempts", "headers")


def to_line(key: DrawKey, outcome: DrawOutcome) -> bytes:
    """Return a draw as one line of ASCII."""
    cell, purpose, number = key
    named = {"cell": cell, "purpose": purpose, "number": number}
    return json_line({**named, **_outcome_to_data(outcome)})


def json_line(data: Mapping[str, Any]) -> bytes:
    """Return JSON data as one line of ASCII."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def from_line(line: bytes) -> tuple[DrawKey, DrawOutcome]:
    """Return the draw on a line.

    Raises:
        ValueError: there is none; an `InvalidJson` names the place.
    """
    data = json_object(line)
    outcome = choice(data.get("outcome"), "outcome", _KEYS)
    exact_table(data, "", keys=_KEYS[outcome])
    key = (
        string(data["cell"], "cell"),
        choice(data["purpose"], "purpose", _PURPOSES),
        integer(data["number"], "number", low=1),
    )
    match outcome:
        case "draw":
            logprobs = logprobs_from("logprobs", list_of(number, data["logprobs"], "logprobs"))
            return key, Draw(logprobs=logprobs, facts=_facts(data["facts"]))
        case "invalid":
            position = data["position"]
            return key, InvalidDraw(
                reason=unprinted(string(data["reason"], "reason")),
                position=None if position is None else integer(position, "position", low=0),
                facts=_facts(data["facts"]),
            )
        case _:
            remedy = data["remedy"]
            return key, MissedDraw(
                reason=unprinted(string(data["reason"], "reason")),
                remedy=None if remedy is None else unprinted(string(remedy, "remedy")),
            )


def json_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line; raises ValueError."""
    return table(json_line_of(line, ANSWER_LIMITS))


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
    facts = exact_table(value, "facts", keys=_FACTS)
    for name in ("at", "model", "request_id"):
        string(facts[name], f"facts.{name}")
    integer(facts["attempts"], "facts.attempts", low=1)
    number(facts["latency_s"], "facts.latency_s", low=0)
    if facts["headers"] is not None:
        headers = table(facts["headers"], "facts.headers")
        list_of(string, list(headers.values()), "facts.headers")
    return facts_from_data(facts)
