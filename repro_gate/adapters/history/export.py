"""The draws of a history as a table, one row for each: CSV, JSON Lines or Parquet."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from importlib import import_module
from itertools import islice
from typing import Any, BinaryIO, Final, TypeAlias, assert_never

from repro_gate.core.history import KeptDraw, Session
from repro_gate.core.logprobs.draw import Draw, InvalidDraw, MissedDraw
from repro_gate.core.text import escape_text
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports.history import HistoryReader

Values: TypeAlias = Mapping[str, Any]

_TYPES: Final[Mapping[str, str]] = {
    "kind": "string",
    "suite": "string",
    "epoch": "string",
    "session": "string",
    "started_at": "string",
    "is_closed": "bool",
    "cell": "string",
    "policy": "string",
    "item": "string",
    "definition": "string",
    "verdict": "string",
    "purpose": "string",
    "number": "int64",
    "outcome": "string",
    "total": "double",
    "is_far": "bool",
    "at": "string",
    "latency_ms": "double",
    "request_id": "string",
    "model": "string",
    "backend": "string",
    "fingerprint": "string",
    "attempts": "int64",
    "tokens": "int64",
    "cached_tokens": "int64",
    "usd": "double",
    "position": "int64",
    "reason": "string",
    "remedy": "string",
    "logprobs": "list<double>",
}
"""The columns with their types; each may be empty."""
COLUMNS: Final = tuple(_TYPES)
_FORMULA: Final = ("=", "+", "-", "@")
"""What spreadsheets take for the start of a formula."""
_ROWS: Final = 10_000
"""Of a group in a Parquet file."""


class ExportFormat(StrEnum):
    """The format of an export."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def rows_of(
    history: HistoryReader, *, suite: str | None = None, cells: Collection[str] | None = None
) -> Iterator[Values]:
    """Yield a row for each draw of a suite and of sessions of no suite, oldest session first."""
    for session in history.sessions(suite):
        for draw in history.draws(session, cells=cells):
            yield _row_of(session, draw)


def write_export(rows: Iterable[Values], stream: BinaryIO, wanted: ExportFormat) -> int:
    """Write rows, and return how many; raises OSError.

    Raises:
        MeasurementUnavailable: the library for Parquet is not installed.
    """
    match wanted:
        case ExportFormat.CSV:
            return _write_csv(rows, stream)
        case ExportFormat.JSONL:
            return _write_jsonl(rows, stream)
        case ExportFormat.PARQUET:
            return _write_parquet(rows, stream)
        case _:
            assert_never(wanted)


def _row_of(session: Session, draw: KeptDraw) -> Values:
    facts, cell = draw.facts, draw.cell
    return {
        "kind": session.kind.value,
        "suite": session.suite,
        "epoch": session.epoch,
        "session": session.key,
        "started_at": session.started_at,
        "is_closed": session.is_closed,
        "cell": cell.id,
        "policy": cell.policy,
        "item": cell.item,
        "definition": cell.definition,
        "verdict": cell.verdict,
        "purpose": draw.purpose,
        "number": draw.number,
        "is_far": draw.is_far,
        "tokens": draw.tokens,
        "usd": draw.usd,
        **_outcome_of(draw),
        **(
            {}
            if isinstance(draw.outcome, MissedDraw)
            else {
                "at": facts.at or None,
                "latency_ms": facts.latency_s * 1e3,
                "request_id": facts.request_id or None,
                "model": facts.model or None,
                "backend": facts.backend or None,
                "fingerprint": facts.fingerprint or None,
                "attempts": facts.attempts,
                "cached_tokens": facts.cached_tokens,
            }
        ),
    }


def _outcome_of(draw: KeptDraw) -> Values:
    outcome = draw.outcome
    match outcome:
        case Draw():
            return {"outcome": "draw", "total": outcome.total, "logprobs": list(outcome.logprobs)}
        case InvalidDraw():
            return {"outcome": "invalid", "reason": outcome.reason, "position": outcome.position}
        case MissedDraw():
            return {"outcome": "missed", "reason": outcome.reason, "remedy": outcome.remedy}
        case _:
            assert_never(outcome)


def _write_csv(rows: Iterable[Values], stream: BinaryIO) -> int:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        writer.writerow([_csv_value(row.get(name)) for name in COLUMNS])
        count += 1
    text.detach()
    return count


def _csv_value(value: Any) -> Any:
    """Return a value as CSV has it: numbers with all digits, and text that is no formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    if not isinstance(value, str):
        return value
    shown = escape_text(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _write_jsonl(rows: Iterable[Values], stream: BinaryIO) -> int:
    count = 0
    for row in rows:
        data = {name: row.get(name) for name in COLUMNS}
        stream.write(json.dumps(data, allow_nan=False, separators=(",", ":")).encode() + b"\n")
        count += 1
    return count


def _write_parquet(rows: Iterable[Values], stream: BinaryIO) -> int:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MeasurementUnavailable(
            "a Parquet file needs the package pyarrow, which is not installed",
            remedy="pip install 'repro-gate[parquet]', or use --format csv or jsonl",
        ) from error
    kinds = {
        "string": arrow.string(),
        "bool": arrow.bool_(),
        "int64": arrow.int64(),
        "double": arrow.float64(),
        "list<double>": arrow.list_(arrow.float64()),
    }
    schema = arrow.schema([(name, kinds[kind]) for name, kind in _TYPES.items()])
    rows, count = iter(rows), 0
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        while group := list(islice(rows, _ROWS)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count
