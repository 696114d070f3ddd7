"""What a history costs: bytes and time per draw in files and in the index, and how fast it reads.

    python -m benchmarks.history [--nights N] [--draws M] [--kind repeating|never] [--rows]

Writes N nights of 20 cells with M draws each, for a service that repeats 90 % of its answers and
for one that never does, adds them to the index, and reads them. Seconds are of the processor, so
that a busy machine prints the same. With `--rows` the rows of the index are written without session
files: ten million draws with `--nights 100000 --rows`.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro_gate.adapters.history.files import SEALED, file_of, make_folders, place_of, write_sealed
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.adapters.history.index import FILE, Index
from repro_gate.adapters.history.lines import header_line
from repro_gate.adapters.history.rows import cell_text, digest_of_vector, doubles, text_of
from repro_gate.adapters.logs.draws import to_line
from repro_gate.core.history import SessionCell, SessionHeader, SessionKind
from repro_gate.core.logprobs.draw import Draw, DrawFacts

CELLS = 20
TOKENS = 40
_START = datetime(1970, 1, 1, 3, tzinfo=UTC)
_EPOCH = "e0" * 32
_SHARES = {"repeating": 0.9, "never": 0.0}
_INSERT_DRAW = f"INSERT INTO draw VALUES ({', '.join('?' * 16)})"
_INSERT_POINT = f"INSERT INTO point VALUES ({', '.join('?' * 9)})"
_INSERT_SESSION = f"INSERT INTO session VALUES ({', '.join('?' * 11)})"
_USUAL = -np.random.default_rng(1).exponential(1.0, (CELLS, TOKENS)).round(6)


def main(arguments: list[str] | None = None) -> None:
    """Write and read a history of each kind, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--draws", type=int, default=5, help="of each cell and night")
    parser.add_argument("--kind", choices=list(_SHARES), action="append")
    parser.add_argument("--rows", action="store_true")
    options = parser.parse_args(arguments)
    for kind in options.kind or _SHARES:
        with tempfile.TemporaryDirectory() as name:
            folder, count = Path(name), options.nights * CELLS * options.draws
            print(f"{kind}: {options.nights:,} nights, {count:,} draws of {TOKENS} tokens")
            write = _write_rows if options.rows else _write_files
            write(folder, _SHARES[kind], nights=options.nights, draws=options.draws)
            _read(folder, rows_only=options.rows)
        sys.stdout.flush()


def _write_files(folder: Path, share: float, *, nights: int, draws: int) -> None:
    """Write the session files, and add them to the index."""
    generator, count = np.random.default_rng(2), nights * CELLS * draws
    start = time.process_time()
    for night in range(nights):
        header = _header(night)
        sealed = file_of(folder, place_of(header), SEALED)
        if night == 0:
            make_folders(folder, sealed)
        lines = _lines(generator, share, draws=draws, at=header.started_at)
        write_sealed(sealed, header_line(header), lines, header.started_at)
    written = time.process_time() - start
    size = sum(file.stat().st_size for file in folder.rglob(f"*{SEALED}"))
    print(f"  files  {size / count:6.1f} bytes/draw  {count / written:9,.0f} draws/s")
    start = time.process_time()
    with closing(HistoryFolder(folder)) as history:
        history.refresh()
    _print_index(folder, count, time.process_time() - start)


def _print_index(folder: Path, count: int, seconds: float) -> None:
    size = (folder / FILE).stat().st_size
    print(
        f"  index  {size / count:6.1f} bytes/draw  {count / seconds:9,.0f} draws/s  "
        f"{size / 2**30:.3f} GiB"
    )


def _header(night: int) -> SessionHeader:
    started_at = (_START + timedelta(hours=night)).isoformat()
    return SessionHeader(
        key=f"{started_at[:10]}-{night}-1",
        kind=SessionKind.NIGHT,
        suite="hosted",
        epoch=_EPOCH,
        started_at=started_at,
        tool="0.1.0",
        cells=tuple(map(_cell, range(CELLS))),
    )


def _cell(number: int) -> SessionCell:
    return SessionCell(
        id=f"base--item{number}",
        policy="base",
        item=f"item{number}",
        definition="d0" * 32,
        tokens=100,
        usd_per_million_tokens=0.9,
        center=float(_USUAL[number].sum()),
        bound=8.0,
    )


def _vector(generator: np.random.Generator, cell: int, share: float) -> NDArray[np.float64]:
    usual: NDArray[np.float64] = _USUAL[cell]
    if generator.random() < share:
        return usual
    shifts: NDArray[np.float64] = generator.normal(0, 0.2, TOKENS).round(6)
    return np.minimum(usual + shifts, 0.0)


def _lines(generator: np.random.Generator, share: float, *, draws: int, at: str) -> Iterator[bytes]:
    for cell in range(CELLS):
        for number in range(1, draws + 1):
            facts = DrawFacts(
                at=at,
                model="accounts/fireworks/models/x",
                request_id=generator.bytes(16).hex(),
                latency_s=round(float(generator.uniform(0.2, 0.9)), 4),
                headers={
                    "fireworks-backend-host": f"host-{generator.integers(4)}",
                    "fireworks-cached-prompt-tokens": "32",
                },
            )
            draw = Draw(logprobs=tuple(_vector(generator, cell, share).tolist()), facts=facts)
            yield to_line((f"base--item{cell}", "watch", number), draw)


def _write_rows(folder: Path, share: float, *, nights: int, draws: int) -> None:
    """Write the rows that the index would have, by the statements of the index."""
    Index(folder / FILE).close()
    start = time.process_time()
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as database:
        rows = _Rows(database, share, draws)
        for first in range(0, nights, 100):
            database.execute("BEGIN IMMEDIATE")
            for night in range(first, min(first + 100, nights)):
                rows.add(night)
            database.execute("COMMIT")
    _print_index(folder, nights * CELLS * draws, time.process_time() - start)


class _Rows:
    """The rows of nights, with one number for equal vectors."""

    def __init__(self, database: sqlite3.Connection, share: float, draws: int) -> None:
        self._database, self._share, self._draws = database, share, draws
        self._generator = np.random.default_rng(2)
        self._vectors = 0
        cells = [
            (number + 1, f"base--item{number}", cell_text(_cell(number))) for number in range(CELLS)
        ]
        answers = [
            (number + 1, text_of([["m"], [], [f"host-{number}"]])) for number in range(4)
        ] + [(number + 5, text_of(["m", f"host-{number}", ""])) for number in range(4)]
        database.executemany("INSERT INTO cell VALUES (?, ?, ?)", cells)
        database.executemany("INSERT INTO answer VALUES (?, ?)", answers)
        self._usual = [self._add_vector(doubles(_USUAL[cell].tolist())) for cell in range(CELLS)]

    def add(self, night: int) -> None:
        """Add one night."""
        started = _START + timedelta(hours=night)
        key, at_ms = f"{started.date()}-{night}-1", int(started.timestamp() * 1e3)
        draws: list[tuple[Any, ...]] = []
        points: list[tuple[Any, ...]] = []
        for cell in range(CELLS):
            totals = [
                self._draw(draws, night, cell, number, at_ms) for number in range(self._draws)
            ]
            points.append((night + 1, cell + 1, doubles(totals), 0, 0, 1, 500.0, 0.00045, 160))
        self._database.execute("PRAGMA defer_foreign_keys = ON")
        self._database.executemany(_INSERT_DRAW, draws)
        self._database.executemany(_INSERT_POINT, points)
        place = f"nights/hosted/{_EPOCH[:16]}/{key}"
        self._database.execute(
            _INSERT_SESSION,
            (
                *(night + 1, place, "night", "hosted", _EPOCH, key, started.isoformat()),
                *(started.isoformat(), "0.1.0", len(draws), self._generator.bytes(32)),
            ),
        )

    def _draw(
        self, draws: list[tuple[Any, ...]], night: int, cell: int, number: int, at_ms: int
    ) -> float:
        generator = self._generator
        values = _vector(generator, cell, self._share)
        is_usual = values is _USUAL[cell] or np.shares_memory(values, _USUAL)
        vector = self._usual[cell] if is_usual else self._add_vector(values.tobytes())
        total = float(values.sum())
        line = cell * self._draws + number + 2
        request_id = generator.bytes(16).hex()
        draws.append(
            (
                *(night + 1, cell + 1, line, "watch", number + 1, "draw", total, vector, at_ms),
                *(500_000 + number, request_id, 5 + number % 4, 1, 100, 32, None),
            )
        )
        return total

    def _add_vector(self, data: bytes) -> int:
        self._vectors += 1
        row = self._vectors, digest_of_vector(data), data
        self._database.execute("INSERT INTO vector VALUES (?, ?, ?)", row)
        return self._vectors


def _read(folder: Path, *, rows_only: bool) -> None:
    cells = [f"base--item{CELLS // 2}"]
    with closing(Index(folder / FILE)) as index:
        sessions = _seconds(lambda: len(index.sessions("hosted")))
        one = _seconds(lambda: sum(1 for _ in index.points("hosted", cells)))
        whole = _seconds(lambda: sum(1 for _ in index.points("hosted", None)))
        places = sorted(index.places())
        night = _seconds(lambda: sum(1 for _ in index.draws(places[-1], None)))
    print(f"  one cell over all nights {one * 1e3:.0f} ms; draws of a night {night * 1e3:.1f} ms")
    print(f"  all sessions {sessions * 1e3:.0f} ms; all cells of all nights {whole:.1f} s")
    if not rows_only:
        with closing(HistoryFolder(folder)) as history:
            print(f"  open a history {_seconds(history.refresh) * 1e3:.0f} ms")


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
