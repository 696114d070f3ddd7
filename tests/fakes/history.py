"""Sessions of a history."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from repro_gate.adapters.history.files import file_of, make_folders, place_of, write_sealed
from repro_gate.adapters.history.lines import header_line
from repro_gate.adapters.logs.append_only import json_line
from repro_gate.adapters.logs.draws import to_line
from repro_gate.core.history import SessionCell, SessionHeader, SessionKind
from repro_gate.core.logprobs.draw import Draw, DrawFacts, DrawOutcome
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.ports import DrawRequest, Purpose
from tests.fakes.scoring import MODEL, encoding_of, item_of, policy_of

EPOCH = "e0" * 32
BACKEND = "fireworks-backend-host"
CACHED = "fireworks-cached-prompt-tokens"
CLOSED_AT = "2026-01-02T03:30:00+00:00"
SESSION_SCHEMA = json.loads(files("repro_gate.schemas").joinpath("session-v1.json").read_text())


def session_cell_of(item: str = "fox", **changes: Any) -> SessionCell:
    """Return a cell of a session."""
    return SessionCell(id=f"base--{item}", policy="base", item=item, **changes)


def session_header_of(*cells: SessionCell, date: str = "2026-01-02", **changes: Any) -> Any:
    """Return the header of a night, with these changes."""
    facts: dict[str, Any] = {
        "key": f"{date}-7-1",
        "kind": SessionKind.NIGHT,
        "suite": "hosted",
        "epoch": EPOCH,
        "started_at": f"{date}T03:04:05+00:00",
        "tool": "0.1.0",
        "cells": cells or (session_cell_of(),),
    }
    return SessionHeader(**{**facts, **changes})


def draw_of(logprobs: Sequence[float] = (-1.0, -0.5), **headers: str) -> Draw:
    """Return a draw with the facts of a call."""
    facts = DrawFacts(
        at="2026-01-02T03:04:06.250+00:00",
        model=MODEL,
        request_id="req-1",
        latency_s=0.25,
        headers={name.replace("_", "-"): value for name, value in headers.items()} or None,
    )
    return Draw(logprobs=tuple(logprobs), facts=facts)


FAR = draw_of([-156.5], fireworks_backend_host="h2", fireworks_cached_prompt_tokens="30")
"""The draw of the finding that the project grew from."""


def log_of(started_at: str) -> bytes:
    """Return the first line of the draw log of a check."""
    header = {
        "schema": "repro-gate/draws/v1",
        "fingerprint": "0a" * 32,
        "tool": {"name": "repro-gate", "version": "0.1.0"},
        "started_at": started_at,
    }
    return json_line(header)


def request_of(number: int = 1, *, item: str = "fox") -> DrawRequest:
    """Return the request of a draw for a watch."""
    cell = LogprobCell(policy=policy_of(), item=item_of(item))
    return DrawRequest(
        cell=cell, encoding=encoding_of(cell, 1), purpose=Purpose.WATCH, number=number
    )


def drawn(*outcomes: DrawOutcome, cell: str = "base--fox", purpose: str = "watch") -> list[bytes]:
    """Return draws of one cell as lines."""
    return [
        to_line((cell, purpose, number), outcome)
        for number, outcome in enumerate(outcomes, start=1)
    ]


def sealed_session(history: Path, header: SessionHeader, *lines: bytes) -> Path:
    """Write a closed session, and return its file."""
    sealed = file_of(history, place_of(header), ".jsonl.gz")
    make_folders(history, sealed)
    write_sealed(sealed, header_line(header), lines, CLOSED_AT)
    return sealed
