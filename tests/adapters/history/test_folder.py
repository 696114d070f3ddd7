"""A history is its files: the index follows them, whatever happened to it or to a writer."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.history import index as index_module
from repro_gate.adapters.history import schema
from repro_gate.adapters.history.files import SessionLog, opened
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.adapters.history.index import Index
from repro_gate.core.history import SessionKind, summarise
from repro_gate.core.logprobs.draw import DrawFacts, InvalidDraw, MissedDraw
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.fakes.history import (
    FAR,
    draw_of,
    drawn,
    request_of,
    sealed_session,
    session_cell_of,
    session_header_of,
)

CELL = session_cell_of(tokens=50, usd_per_million_tokens=2.0, center=-1.5, bound=8.0)
OUTCOMES = (
    draw_of([-1.0, -0.5]),
    FAR,
    InvalidDraw(reason="other\x1b tokens", position=1, facts=DrawFacts(model="other")),
    MissedDraw(reason="429", remedy="wait"),
)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[HistoryFolder]:
    """Return a history with one closed night."""
    sealed_session(tmp_path, session_header_of(CELL), *drawn(*OUTCOMES))
    with closing(HistoryFolder(tmp_path)) as folder:
        yield folder


def add_night(history: HistoryFolder, date: str, *totals: float) -> None:
    """Add a closed night."""
    header = session_header_of(CELL, date=date)
    sealed_session(history.folder, header, *drawn(*(draw_of([total]) for total in totals)))


def integrity_of(folder: Path) -> list[tuple[Any, ...]]:
    """Return what SQLite finds wrong with an index."""
    with closing(sqlite3.connect(folder / "index.sqlite")) as database:
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        return database.execute("PRAGMA integrity_check").fetchall()


def keys_in(folder: Path) -> list[str]:
    """Return the keys of the sessions that a new reader finds."""
    with closing(HistoryFolder(folder)) as history:
        return [session.key for session in history.sessions()]


def test_a_session_is_found_with_its_points(history: HistoryFolder) -> None:
    """What the index has of a cell is the summary of its draws."""
    (session,) = history.sessions("hosted")
    ((of, point),) = history.points("hosted")

    assert of == session
    assert (session.key, session.is_closed) == ("2026-01-02-7-1", True)
    assert point == summarise(CELL, OUTCOMES)
    assert point.far == (-156.5,)


def test_a_draw_keeps_its_call(history: HistoryFolder) -> None:
    """A far draw is found again with request id, time, backend, model and tokens."""
    (session,) = history.sessions()
    plain, far, invalid, missed = history.draws(session)

    assert [draw.is_far for draw in (plain, far, invalid, missed)] == [False, True, False, False]
    assert far.facts.request_id == "req-1"
    assert far.facts.at == "2026-01-02T03:04:06.250+00:00"
    assert (far.facts.backend, far.facts.cached_tokens, far.tokens) == ("h2", 30, 50)
    assert far.usd == 50 * 2 / 1e6
    assert invalid.outcome == OUTCOMES[2]
    assert missed.outcome == OUTCOMES[3]
    assert plain.outcome == OUTCOMES[0]


def test_points_are_in_order(history: HistoryFolder) -> None:
    """Oldest session first; control draws are none of the cell's, and a cell may have none."""
    add_night(history, "2026-01-01", -1.25)
    check = {"kind": SessionKind.CHECK, "epoch": None}
    control = session_header_of(CELL, session_cell_of("dog"), date="2026-01-04", **check)
    sealed_session(history.folder, control, *drawn(draw_of(), purpose="control"))

    found = [
        (session.key[:10], point.cell.item, point.totals) for session, point in history.points()
    ]

    assert found == [
        ("2026-01-01", "fox", (-1.25,)),
        ("2026-01-02", "fox", (-1.5, -156.5)),
        ("2026-01-04", "dog", ()),
        ("2026-01-04", "fox", ()),
    ]


def test_a_killed_session_is_visible(history: HistoryFolder) -> None:
    """Its draws are there, and its session is not closed."""
    header = session_header_of(session_cell_of(), date="2026-01-01")
    with closing(SessionLog(history.folder, header, resume=False)) as log:
        log.note(request_of(), FAR)

    session, closed = history.sessions()
    assert (session.is_closed, closed.is_closed) == (False, True)
    assert [draw.outcome for draw in history.draws(session)] == [FAR]
    assert list(history.draws(session, cells=["other"])) == []
    assert [of.key for of, _ in history.points()] == [header.key, closed.key]
    assert [of.key for of, _ in history.points(cells=["other"])] == []
    assert [each.key for each in history.sessions("other")] == []


def test_a_session_without_a_suite_is_of_every_suite(history: HistoryFolder) -> None:
    """Such as a baseline, which several suites may use."""
    header = session_header_of(CELL, kind=SessionKind.CALIBRATION, suite=None, epoch=None)
    sealed_session(history.folder, header, *drawn(draw_of(), purpose="calibration"))

    kinds = [session.kind.value for session in history.sessions("other")]

    assert kinds == ["calibration"]
    assert len(history.sessions("hosted")) == 2


def test_cells_are_chosen_by_their_ids(history: HistoryFolder) -> None:
    """Few by the index, and many by reading all."""
    dog = session_header_of(CELL, session_cell_of("dog"), date="2026-01-03")
    sealed_session(history.folder, dog, *drawn(draw_of(), cell="base--dog"))
    many = [f"base--x{number}" for number in range(2000)]

    for cells in (["base--dog"], [*many, "base--dog"]):
        assert [point.cell.item for _, point in history.points(cells=cells)] == ["dog"]
        session = history.sessions()[-1]
        assert len(list(history.draws(session, cells=cells))) == 1


def test_new_files_are_added_once(history: HistoryFolder) -> None:
    """A refresh adds what is new, and nothing twice."""
    history.refresh()
    add_night(history, "2026-01-03", -1.5)
    for _ in range(3):
        history.refresh()

    assert len(history.sessions()) == 2
    assert integrity_of(history.folder) == [("ok",)]


def test_a_history_that_is_missing_is_empty(tmp_path: Path) -> None:
    """Reading makes no folder."""
    with closing(HistoryFolder(tmp_path / "x")) as history:
        assert history.sessions() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_history(tmp_path: Path) -> None:
    """Nothing could be stored in it, so it is not empty either."""
    (tmp_path / "x").touch()

    with (
        closing(HistoryFolder(tmp_path / "x")) as history,
        pytest.raises(InputInvalid, match="x: expected a folder of sessions, found a file"),
    ):
        history.sessions()


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def _overwrite(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_text("no database at all, but long enough to be one"),
        lambda file: file.write_bytes(b""),
        _truncate,
        _overwrite,
    ],
    ids=["deleted", "text", "empty", "truncated", "overwritten"],
)
def test_a_damaged_index_is_rebuilt(
    history: HistoryFolder, damage: Callable[[Path], object]
) -> None:
    """The files are the truth."""
    points = list(history.points())
    history.close()
    damage(history.folder / "index.sqlite")

    with closing(HistoryFolder(history.folder)) as again:
        assert list(again.points()) == points
        assert len(list(again.draws(again.sessions()[0]))) == 4
    assert integrity_of(history.folder) == [("ok",)]


def test_a_session_whose_file_is_gone_is_gone(history: HistoryFolder) -> None:
    """The index has nothing that the files do not have."""
    add_night(history, "2026-01-03", -1.5)
    history.refresh()
    next(history.folder.glob("nights/*/*/2026-01-02*")).unlink()

    assert keys_in(history.folder) == ["2026-01-03-7-1"]


def test_a_file_in_the_place_of_another_is_refused(history: HistoryFolder) -> None:
    """A renamed file would be another session."""
    (file,) = history.folder.glob("nights/*/*/*")
    file.rename(file.with_name("2026-01-05-7-1.jsonl.gz"))

    with pytest.raises(InputInvalid, match=r"line 1: expected nights/.*-05-7-1, found .*-02-7-1"):
        history.sessions()


def test_a_broken_file_leaves_the_index_whole(history: HistoryFolder) -> None:
    """All sessions before it stay, and it is in the message each time."""
    history.refresh()
    add_night(history, "2026-01-03", -1.5)
    file = next(history.folder.glob("nights/*/*/2026-01-03*"))
    content = file.read_bytes()
    file.write_bytes(content[:-10])

    for _ in range(2):
        with pytest.raises(InputInvalid, match="2026-01-03-7-1"):
            history.refresh()
    assert integrity_of(history.folder) == [("ok",)]
    file.write_bytes(content)
    assert len(keys_in(history.folder)) == 2


@pytest.mark.parametrize("at", ["yesterday", "9999-12-31T23:59:59-23:00"])
def test_a_time_that_is_none_is_refused(history: HistoryFolder, at: str) -> None:
    """The message has file and line."""
    odd = replace(draw_of(), facts=DrawFacts(at=at))
    sealed_session(history.folder, session_header_of(CELL, date="2026-01-03"), *drawn(odd))

    with pytest.raises(InputInvalid, match=r"gz: line 2: facts\.at: expected a time"):
        history.sessions()


def test_a_number_that_no_index_can_hold_is_refused(history: HistoryFolder) -> None:
    """The message has the file, which can be removed."""
    odd = replace(draw_of(), facts=DrawFacts(latency_s=1e15))
    sealed_session(history.folder, session_header_of(CELL, date="2026-01-03"), *drawn(odd))

    with pytest.raises(InputInvalid, match=r"2026-01-03-7-1\.jsonl\.gz: expected numbers that"):
        history.sessions()


def test_a_newer_index_is_refused(history: HistoryFolder) -> None:
    """It is not rebuilt: a newer version may be in use beside this one."""
    history.refresh()
    history.close()
    with closing(sqlite3.connect(history.folder / "index.sqlite")) as database:
        database.execute("PRAGMA user_version = 7")

    with pytest.raises(InputInvalid, match="user_version: expected at most version 1; update"):
        history.sessions()


def test_an_older_index_is_migrated(
    history: HistoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward, keeping its rows."""
    points = list(history.points())
    history.close()
    newer = (*schema.MIGRATIONS, "ALTER TABLE session ADD COLUMN region TEXT;\n")
    monkeypatch.setattr(index_module, "MIGRATIONS", newer)
    monkeypatch.setattr(index_module, "VERSION", 2)
    with closing(Index(history.folder / "index.sqlite")) as index:
        assert list(index.points(None, None)) == points

    monkeypatch.undo()
    with pytest.raises(InputInvalid, match="found 2"):
        history.sessions()


def test_the_database_of_another_program_is_left_alone(history: HistoryFolder) -> None:
    """It is refused, and not deleted."""
    with closing(sqlite3.connect(history.folder / "index.sqlite")) as database:
        database.execute("CREATE TABLE x (y)")

    with pytest.raises(InputInvalid, match="a database of another program"):
        history.sessions()
    assert (history.folder / "index.sqlite").exists()


@pytest.mark.parametrize("table", ["session", "cell", "answer", "vector", "draw", "point"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET rowid = rowid"])
def test_rows_are_append_only(history: HistoryFolder, table: str, change: str) -> None:
    """A trigger refuses every change."""
    history.refresh()
    column = "line = line" if table == "draw" else "invalid = invalid"
    without_rowid = (
        change.replace("rowid = rowid", column) if table in {"draw", "point"} else change
    )

    with (
        closing(sqlite3.connect(history.folder / "index.sqlite")) as database,
        pytest.raises(sqlite3.IntegrityError, match=f"{table}s are append-only"),
    ):
        database.execute(without_rowid.format(table))


def test_equal_vectors_are_stored_once(history: HistoryFolder) -> None:
    """A service that repeats itself costs few bytes."""
    add_night(history, "2026-01-03", *[-1.5] * 50, -2.5)
    history.refresh()

    with closing(sqlite3.connect(history.folder / "index.sqlite")) as database:
        (count,) = database.execute("SELECT count(*) FROM vector").fetchone()
    assert count == 4


def test_an_old_sqlite_is_named(history: HistoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 may be built with one that has no strict tables."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))

    with pytest.raises(MeasurementUnavailable, match=r"needs SQLite 3\.37, and this Python has"):
        history.sessions()


def test_a_folder_that_cannot_be_written_is_read(
    history: HistoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is in memory then, as for a mounted artifact."""
    usual = os.open

    def refused(path: Path, *rest: int) -> int:
        if path.name == "index.lock":
            raise PermissionError(13, "Permission denied")
        return usual(path, *rest)

    monkeypatch.setattr(os, "open", refused)
    assert [session.key for session in history.sessions()] == ["2026-01-02-7-1"]
    assert not (history.folder / "index.sqlite").exists()


def test_a_full_disk_names_the_index(history: HistoryFolder) -> None:
    """Nothing of the session is in it, and it is whole."""
    history.refresh()
    long = draw_of([-n / 7 for n in range(20_000)])
    header = session_header_of(CELL, date="2026-01-03")
    file = sealed_session(history.folder, header, *drawn(long))
    with closing(Index(history.folder / "index.sqlite")) as index:
        database: sqlite3.Connection = vars(index)["_database"]
        database.execute("PRAGMA max_page_count = 40")
        with (
            pytest.raises(OSError, match=r"full: .*index\.sqlite"),
            index.writing(),
            opened(file) as session,
        ):
            index.add("x", session)
        assert len(index.sessions(None)) == 1
    assert integrity_of(history.folder) == [("ok",)]
    assert len(keys_in(history.folder)) == 2


def test_a_busy_index_is_named(history: HistoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, one of two writers gives up with a remedy."""
    history.refresh()
    monkeypatch.setattr(index_module, "_BUSY_MS", 10)
    file = history.folder / "index.sqlite"
    with (
        closing(Index(file)) as one,
        closing(Index(file)) as other,
        one.writing(),
        pytest.raises(MeasurementUnavailable, match="another command is writing"),
        other.writing(),
    ):
        pass


_REFRESH = """
import sys
from pathlib import Path
from repro_gate.adapters.history.folder import HistoryFolder
history = HistoryFolder(Path(sys.argv[1]))
history.refresh()
print(len(history.sessions()))
"""


def test_two_writers_lose_nothing(history: HistoryFolder) -> None:
    """Several processes build one index at the same time."""
    for day in range(3, 29):
        add_night(history, f"2026-01-{day:02}", -1.5, -2.5)
    command = [sys.executable, "-c", _REFRESH, str(history.folder)]

    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    printed = [process.communicate()[0] for process in processes]

    assert printed == [b"27\n"] * 3
    assert integrity_of(history.folder) == [("ok",)]


_ADD_SLOWLY = """
import sys
from pathlib import Path
from repro_gate.adapters.history.files import opened
from repro_gate.adapters.history.index import Index
folder = Path(sys.argv[1])
index = Index(folder / "index.sqlite")
with index.writing():
    for file in sorted(folder.glob("nights/*/*/*")):
        with opened(file) as session:
            index.add(file.name, session)
        print(file.name, flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_leaves_no_half_session(history: HistoryFolder) -> None:
    """SIGKILL within a transaction: none of its rows are there, and the next reader adds all."""
    add_night(history, "2026-01-03", -1.5)
    process = subprocess.Popen(
        [sys.executable, "-c", _ADD_SLOWLY, str(history.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert [len(process.stdout.readline()) > 1 for _ in range(2)] == [True, True]
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()

    with closing(sqlite3.connect(history.folder / "index.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM draw").fetchone() == (0,)
    assert integrity_of(history.folder) == [("ok",)]
    assert len(keys_in(history.folder)) == 2
