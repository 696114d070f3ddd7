"""The tables of `index.sqlite`, and the steps from each version to the next."""

from typing import Final

APPLICATION_ID: Final = 0x72707467
"""Marks a file as ours, as SQLite suggests."""
_APPEND_ONLY: Final = ("session", "cell", "answer", "vector", "draw", "point")
_TABLES: Final = """
CREATE TABLE session (
    session_id INTEGER PRIMARY KEY,
    place TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('night', 'check', 'calibration')),
    suite TEXT,
    epoch TEXT,
    key TEXT NOT NULL,
    started_at TEXT NOT NULL,
    closed_at TEXT NOT NULL,
    tool TEXT NOT NULL,
    draws INTEGER NOT NULL,
    sha256 BLOB NOT NULL
) STRICT;
CREATE TABLE cell (
    cell_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    content TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE answer (
    answer_id INTEGER PRIMARY KEY,
    content TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE vector (
    vector_id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    logprobs BLOB NOT NULL
) STRICT;
CREATE TABLE draw (
    session_id INTEGER NOT NULL REFERENCES session,
    cell_id INTEGER NOT NULL REFERENCES cell,
    line INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    number INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('draw', 'invalid', 'missed')),
    total REAL,
    vector_id INTEGER REFERENCES vector,
    at_ms INTEGER,
    latency_us INTEGER,
    request_id TEXT,
    answer_id INTEGER REFERENCES answer,
    attempts INTEGER,
    prompt_tokens INTEGER,
    cached_tokens INTEGER,
    problem TEXT,
    PRIMARY KEY (session_id, cell_id, line)
) STRICT, WITHOUT ROWID;
CREATE TABLE point (
    session_id INTEGER NOT NULL REFERENCES session,
    cell_id INTEGER NOT NULL REFERENCES cell,
    totals BLOB NOT NULL,
    invalid INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    answer_id INTEGER NOT NULL REFERENCES answer,
    latency_ms REAL,
    usd REAL,
    cached_tokens INTEGER,
    PRIMARY KEY (session_id, cell_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX cell_by_name ON cell (name);
CREATE INDEX draw_by_cell ON draw (cell_id, session_id);
CREATE INDEX point_by_cell ON point (cell_id, session_id);
CREATE INDEX session_by_suite ON session (suite, epoch, started_at);
"""


def _append_only(table: str) -> str:
    return "".join(
        f"CREATE TRIGGER {table}_no_{action} BEFORE {action.upper()} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table}s are append-only'); END;\n"
        for action in ("update", "delete")
    )


MIGRATIONS: Final = (_TABLES + "".join(map(_append_only, _APPEND_ONLY)),)
"""The step from each version to the next, the first one from an empty file; rows never change."""
VERSION: Final = len(MIGRATIONS)
