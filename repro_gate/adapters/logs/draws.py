"""`draws.jsonl`: every draw of a check as it is made, to resume the check or to look back.

Lines are read by hand rather than by the schema, `repro_gate/schemas/draws-v1.json`: a resumed log
may have a hundred thousand of them.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias, assert_never

import repro_gate
from repro_gate.adapters.files.documents import validate
from repro_gate.adapters.logs.append_only import AppendLog, json_line, json_object
from repro_gate.core.logprobs.baseline_format import (
    beside_to_data,
    facts_from_data,
    facts_to_data,
    logprobs_from,
    others_from,
    rounded,
)
from repro_gate.core.logprobs.draw import Draw, DrawFacts, DrawOutcome, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell, Tolerance
from repro_gate.core.text import digest_of, escape_text, unescape_text
from repro_gate.errors import InputInvalid
from repro_gate.ports import DrawRequest, Purpose
from repro_gate.strict_json import (
    choice,
    exact_table,
    integer,
    list_of,
    number,
    string,
    table,
)

SCHEMA = "repro-gate/draws/v1"
FILE = "draws.jsonl"
DrawKey: TypeAlias = tuple[str, str, int]
"""Cell, purpose and number; see `DrawRequest.key`."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "draw": ("cell", "purpose", "number", "outcome", "total", "logprobs", "facts"),
    "invalid": ("cell", "purpose", "number", "outcome", "reason", "position", "facts"),
    "missed": ("cell", "purpose", "number", "outcome", "reason", "remedy"),
}
_BESIDE: Final = ("other_tokens", "other_logprobs", "fork")
"""Keys of a draw of a kind that generates."""
"""By the outcome of the draw."""
_PURPOSES: Final = tuple(Purpose)
_FACTS: Final = ("at", "model", "request_id", "latency_s", "attempts", "headers")


def fingerprint_of(
    cells: Iterable[LogprobCell], *, baselines: Mapping[str, str], tolerance: Tolerance
) -> str:
    """Return a digest that is equal only for plans that may share draws.

    Args:
        cells: the cells to measure.
        baselines: digests of the baselines, by cell id.
        tolerance: the tolerance of the suite.
    """
    digests = {cell.id: [digest_of(cell.definition), baselines.get(cell.id)] for cell in cells}
    return digest_of({"cells": digests, "tolerance": asdict(tolerance)})


class DrawLines:
    """Draws in an append-only file after a header.

    Each draw is handed to the operating system before `note` returns: killing the process loses
    no draw, and can only tear the last line.
    """

    def __init__(
        self, file: Path, *, header: bytes, require: Callable[[bytes], None], resume: bool
    ) -> None:
        """Start a new log, or resume the existing one.

        Args:
            file: the log.
            header: the first line of a new log.
            require: raises ValueError or `InputInvalid` for the header of a log to resume.
            resume: keep the draws of an existing log.

        Raises:
            InputInvalid: the log to resume has another header, is broken, or is not a regular
                file.
            OSError: the file cannot be written.
        """
        self._file = file
        self._offsets: dict[DrawKey, int] = {}
        """Where the line of each known draw starts; lines are read again when needed."""
        self._log = AppendLog(file, resume=resume, content="a draw")
        try:
            if not self._index(require):
                self._log.append(header)
        except BaseException:
            self._log.close()
            raise

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Append a draw."""
        self._log.append(to_line(request.key, outcome))
        self._log.sync()

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Return the draw of an interrupted check, or None.

        Raises:
            InputInvalid: it is about a response of another length.
        """
        offset = self._offsets.get(request.key)
        if offset is None:
            return None
        _, outcome = self._parsed(self._log.line_at(offset), f"byte {offset}")
        tokens = len(request.encoding.response)
        if isinstance(outcome, Draw) and len(outcome.logprobs) != tokens:
            expected = f"{tokens} log-probabilities; start the check again without --resume"
            found = str(len(outcome.logprobs))
            raise InputInvalid.at(self._file, f"byte {offset}", expected=expected, found=found)
        return outcome

    def close(self) -> None:
        """Close the file; safe to call more than once."""
        self._log.close()

    def _index(self, require: Callable[[bytes], None]) -> bool:
        """Index the known draws, and return whether there is a header."""
        has_header = False
        for line in self._log.lines():
            if not has_header:
                self._require_header(line.data, require)
                has_header = True
                continue
            (cell, purpose, count), outcome = self._parsed(line.data, line.place)
            key = sys.intern(cell), sys.intern(purpose), count
            if not isinstance(outcome, MissedDraw):
                self._offsets[key] = line.offset
        return has_header

    def _require_header(self, line: bytes, require: Callable[[bytes], None]) -> None:
        try:
            require(line)
        except ValueError as error:
            raise self._log.invalid("line 1", error) from error

    def _parsed(self, line: bytes, place: str) -> tuple[DrawKey, DrawOutcome]:
        try:
            return from_line(line)
        except (ValueError, OverflowError) as error:
            raise self._log.invalid(place, error) from error


class DrawLogFile(DrawLines):
    """The draws of one check."""

    def __init__(self, file: Path, *, fingerprint: str, started_at: str, resume: bool) -> None:
        """Start a new log, or resume the existing one of the same plan; see `DrawLines`."""

        def require(line: bytes) -> None:
            header = read_header(line, file)
            if header.get("fingerprint") != fingerprint:
                expected = (
                    f"the draws of the plan {fingerprint}; start the check again without --resume"
                )
                found = f"those of the plan {header.get('fingerprint')}"
                raise InputInvalid.at(file, "line 1", expected=expected, found=found)

        header = json_line(_header(fingerprint, started_at))
        super().__init__(file, header=header, require=require, resume=resume)


def read_header(line: bytes, file: Path) -> dict[str, Any]:
    """Return the first line of a draw log; raises ValueError or `InputInvalid`."""
    header = json_object(line)
    validate(header, schema="draws-v1", file=file)
    return header


def _header(fingerprint: str, started_at: str) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "fingerprint": fingerprint,
        "tool": {"name": "repro-gate", "version": repro_gate.__version__},
        "started_at": started_at,
    }


def to_line(key: DrawKey, outcome: DrawOutcome) -> bytes:
    """Return a draw as a line of ASCII."""
    cell, purpose, number = key
    named = {"cell": cell, "purpose": purpose, "number": number}
    return json_line({**named, **_outcome_to_data(outcome)})


def from_line(line: bytes) -> tuple[DrawKey, DrawOutcome]:
    """Return the draw on a line.

    Raises:
        ValueError: there is none; an `InvalidJson` names the place.
    """
    data = json_object(line)
    outcome = choice(data.get("outcome"), "outcome", _KEYS)
    exact_table(data, "", keys=_KEYS[outcome], optional=_BESIDE if outcome == "draw" else ())
    key = (
        string(data["cell"], "cell"),
        choice(data["purpose"], "purpose", _PURPOSES),
        integer(data["number"], "number", low=1),
    )
    match outcome:
        case "draw":
            logprobs = logprobs_from("logprobs", list_of(number, data["logprobs"], "logprobs"))
            return key, Draw(logprobs=logprobs, facts=_facts(data["facts"]), **_beside(data))
        case "invalid":
            position = data["position"]
            return key, InvalidDraw(
                reason=unescape_text(string(data["reason"], "reason")),
                position=None if position is None else integer(position, "position", low=0),
                facts=_facts(data["facts"]),
            )
        case _:
            remedy = data["remedy"]
            return key, MissedDraw(
                reason=unescape_text(string(data["reason"], "reason")),
                remedy=None if remedy is None else unescape_text(string(remedy, "remedy")),
            )


def _outcome_to_data(outcome: DrawOutcome) -> dict[str, Any]:
    match outcome:
        case Draw():
            return {
                "outcome": "draw",
                "total": rounded(outcome.total),
                "logprobs": list(outcome.logprobs),
                **beside_to_data(outcome),
                "facts": facts_to_data(outcome.facts),
            }
        case InvalidDraw():
            return {
                "outcome": "invalid",
                "reason": escape_text(outcome.reason),
                "position": outcome.position,
                "facts": facts_to_data(outcome.facts),
            }
        case MissedDraw():
            remedy = None if outcome.remedy is None else escape_text(outcome.remedy)
            return {"outcome": "missed", "reason": escape_text(outcome.reason), "remedy": remedy}
        case _:
            assert_never(outcome)


def _beside(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a draw has beside the values of the response."""
    if not data.keys() & set(_BESIDE):
        return {}
    if "fork" in data:
        integer(data["fork"], "fork", low=0)
    for name, read in (("other_tokens", string), ("other_logprobs", number)):
        list_of(read, data.get(name, []), name)
    return {"others": others_from("", data), "fork": data.get("fork")}


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
