"""An export has every draw with all digits, and nothing that a program would run."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from repro_gate.adapters.history.export import COLUMNS, ExportFormat, rows_of, write_export
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.core.history import SessionKind
from repro_gate.core.logprobs.draw import Draw, DrawFacts, InvalidDraw, MissedDraw
from repro_gate.errors import MeasurementUnavailable
from tests.fakes.history import (
    CLOSED_AT,
    EPOCH,
    FAR,
    drawn,
    sealed_session,
    session_cell_of,
    session_header_of,
)

HOSTILE = '=HYPERLINK("http://evil")\n\x1b[2J,\''
THIRD = (-0.1 - 2**-50, -1 / 3)
CELL = session_cell_of(tokens=50, usd_per_million_tokens=2.0, center=-1.5, bound=8.0)
OUTCOMES = (
    FAR,
    Draw(logprobs=THIRD, facts=DrawFacts(at=CLOSED_AT, model=HOSTILE, request_id="@x")),
    InvalidDraw(reason="-1+1", position=3, facts=DrawFacts(model="+m")),
    MissedDraw(reason=HOSTILE, remedy="wait"),
)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[HistoryFolder]:
    """Return a history of a night and a baseline."""
    sealed_session(tmp_path, session_header_of(CELL), *drawn(*OUTCOMES))
    calibration = session_header_of(
        session_cell_of("dog"),
        date="2026-01-03",
        kind=SessionKind.CALIBRATION,
        suite=None,
        epoch=None,
    )
    sealed_session(tmp_path, calibration, *drawn(FAR, cell="base--dog", purpose="calibration"))
    with closing(HistoryFolder(tmp_path)) as folder:
        yield folder


def exported(history: HistoryFolder, wanted: ExportFormat, **choice: Any) -> bytes:
    """Return an export."""
    stream = io.BytesIO()
    count = write_export(rows_of(history, **choice), stream, wanted)
    assert count == len(list(rows_of(history, **choice)))
    return stream.getvalue()


def from_csv(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def from_jsonl(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file."""
    return list(map(json.loads, data.splitlines()))


def from_parquet(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file."""
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


@pytest.mark.parametrize(
    ("wanted", "read"),
    [
        (ExportFormat.CSV, from_csv),
        (ExportFormat.JSONL, from_jsonl),
        (ExportFormat.PARQUET, from_parquet),
    ],
)
def test_every_draw_is_a_row_with_all_digits(
    history: HistoryFolder, wanted: ExportFormat, read: Callable[[bytes], list[dict[str, Any]]]
) -> None:
    """The sums and log-probabilities that are read are those that were drawn, to the last bit."""
    rows = read(exported(history, wanted))

    assert all(tuple(row) == COLUMNS for row in rows)
    assert [row["outcome"] for row in rows] == ["draw", "draw", "invalid", "missed", "draw"]
    assert float(rows[1]["total"]) == OUTCOMES[1].total
    values = rows[1]["logprobs"]
    assert tuple(json.loads(values) if isinstance(values, str) else values) == THIRD


def test_the_draw_of_the_finding_is_found_again(history: HistoryFolder) -> None:
    """A draw of -156.5 has its request id, time, backend and tokens."""
    row = from_jsonl(exported(history, ExportFormat.JSONL, suite="hosted"))[0]

    assert {name: row[name] for name in row if row[name] is not None} == {
        "kind": "night",
        "suite": "hosted",
        "epoch": EPOCH,
        "session": "2026-01-02-7-1",
        "started_at": "2026-01-02T03:04:05+00:00",
        "is_closed": True,
        "cell": "base--fox",
        "policy": "base",
        "item": "fox",
        "purpose": "watch",
        "number": 1,
        "outcome": "draw",
        "total": -156.5,
        "is_far": True,
        "at": "2026-01-02T03:04:06.250+00:00",
        "latency_ms": 250.0,
        "request_id": "req-1",
        "model": "accounts/test/models/tiny",
        "backend": "h2",
        "attempts": 1,
        "tokens": 50,
        "cached_tokens": 30,
        "usd": 0.0001,
        "logprobs": [-156.5],
    }


def test_no_cell_of_csv_is_a_formula(history: HistoryFolder) -> None:
    """Untrusted text is one printable line that a spreadsheet shows as text; numbers stay."""
    data = exported(history, ExportFormat.CSV)
    rows = from_csv(data)

    assert b"\x1b" not in data
    assert rows[1]["model"] == "'=HYPERLINK(\"http://evil\")\\n\\x1b[2J,'"
    assert (rows[1]["request_id"], rows[2]["reason"], rows[2]["model"]) == ("'@x", "'-1+1", "'+m")
    assert rows[0]["total"] == "-156.5"
    texts = [value for row in rows for name, value in row.items() if name != "total"]
    assert not [value for value in texts if value.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_cells_can_be_chosen(history: HistoryFolder) -> None:
    """Others have no row."""
    rows = list(rows_of(history, cells={"base--dog"}))

    assert [(row["cell"], row["kind"], row["suite"]) for row in rows] == [
        ("base--dog", "calibration", None)
    ]


def test_parquet_needs_its_library(history: HistoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MeasurementUnavailable, match="needs the package pyarrow") as caught:
        exported(history, ExportFormat.PARQUET)
    assert caught.value.remedy.startswith("pip install 'repro-gate[parquet]'")
