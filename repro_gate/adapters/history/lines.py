"""The lines of a session file: a header, the draws as `draws.jsonl` has them, and an end.

Schema: `repro_gate/schemas/session-v1.json`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from repro_gate.adapters.files.codec import decode, encode
from repro_gate.adapters.logs.append_only import json_line, json_object
from repro_gate.adapters.logs.draws import from_line
from repro_gate.core.guards import require_at_least, require_sha256
from repro_gate.core.history import SessionHeader, date_of
from repro_gate.core.logprobs.draw import DrawOutcome
from repro_gate.strict_json import InvalidJson, exact_table

SCHEMA: Final = "repro-gate/session/v1"
_SCHEMA_KEY: Final = "schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The last line: the session ended, and its file is whole."""

    closed: str
    """When it ended; ISO 8601, UTC."""
    draws: int
    """The number of lines with draws."""
    sha256: str
    """Over all lines before."""

    def __post_init__(self) -> None:
        date_of(self.closed)
        require_at_least(0, draws=self.draws)
        require_sha256(self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawLine:
    """A line with a draw."""

    line: int
    """Counted from 1."""
    cell: str
    purpose: str
    number: int
    outcome: DrawOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSession:
    """A session of a source, which a history may have already."""

    source: Path
    header: SessionHeader
    draws: Callable[[], Iterator[bytes]]
    """Yields the lines of the draws."""
    closed_at: str | None
    """None when it was killed."""


def header_line(header: SessionHeader) -> bytes:
    """Return the first line of a session."""
    return json_line({_SCHEMA_KEY: SCHEMA, **encode(header, SessionHeader)})


def header_from(line: bytes) -> SessionHeader:
    """Return the header on a first line; raises ValueError, such as `InvalidJson`."""
    data = json_object(line)
    if data.pop(_SCHEMA_KEY, None) != SCHEMA:
        raise InvalidJson(_SCHEMA_KEY, expected=SCHEMA, found="another one or none")
    header: SessionHeader = decode(data, SessionHeader)
    return header


def closed_line(closed: Closed) -> bytes:
    """Return the last line of a session."""
    return json_line(encode(closed, Closed))


def read_line(data: bytes, number: int, known: Callable[[str], bool]) -> DrawLine | Closed:
    """Return what a line after the header has.

    Args:
        data: the line.
        number: counted from 1.
        known: whether the header has a cell.

    Raises:
        ValueError: it is no such line; an `InvalidJson` names the place.
    """
    if data.startswith(b'{"closed"'):
        closed: Closed = decode(_exact(json_object(data)), Closed)
        return closed
    (cell, purpose, count), outcome = from_line(data)
    if not known(cell):
        raise InvalidJson("cell", expected="a cell of the header", found="another one")
    return DrawLine(line=number, cell=cell, purpose=purpose, number=count, outcome=outcome)


def _exact(data: dict[str, Any]) -> dict[str, Any]:
    return exact_table(data, "", keys=("closed", "draws", "sha256"))
