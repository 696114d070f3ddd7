"""Sessions of a history."""

from collections.abc import Sequence
from typing import Any

from repro_gate.core.history import SessionCell, SessionHeader, SessionKind
from repro_gate.core.logprobs.draw import Draw, DrawFacts
from tests.fakes.scoring import MODEL

EPOCH = "e0" * 32
BACKEND = "fireworks-backend-host"
CACHED = "fireworks-cached-prompt-tokens"


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
