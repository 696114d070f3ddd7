"""Sessions, cells and draws as rows of `index.sqlite`, and back."""

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias, assert_never

from repro_gate.adapters.files.codec import decode, encode
from repro_gate.core.history import (
    CellSession,
    KeptDraw,
    Session,
    SessionCell,
    SessionKind,
)
from repro_gate.core.logprobs.draw import (
    BACKENDS,
    FINGERPRINT,
    USAGE_CACHED,
    USAGE_PROMPT,
    Draw,
    DrawFacts,
    DrawOutcome,
    InvalidDraw,
    MissedDraw,
)
from repro_gate.core.logprobs.sessions import time_of

Row: TypeAlias = Sequence[Any]

_DOUBLE_BYTES: Final = 8
_DIGEST_BYTES: Final = 16
_ANSWERED_FROM: Final = BACKENDS[-1]

SESSION_COLUMNS: Final = "kind, suite, epoch, key, started_at, tool"
POINT_COLUMNS: Final = (
    "cell.content, point.totals, point.invalid, point.missed, answer.content, point.latency_ms, "
    "point.usd, point.cached_tokens"
)
DRAW_COLUMNS: Final = (
    "cell.content, draw.purpose, draw.number, draw.line, draw.outcome, vector.logprobs, "
    "draw.at_ms, draw.latency_us, draw.request_id, answer.content, draw.attempts, "
    "draw.prompt_tokens, draw.cached_tokens, draw.problem"
)


def text_of(value: object) -> str:
    """Return JSON data as a text that is equal only for equal data."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def cell_text(cell: SessionCell) -> str:
    """Return a cell as a text."""
    return text_of(encode(cell, SessionCell))


@lru_cache(maxsize=1 << 16)
def cell_from(content: str) -> SessionCell:
    """Return the cell of a text."""
    cell: SessionCell = decode(json.loads(content), SessionCell)
    return cell


def doubles(values: Iterable[float]) -> bytes:
    """Return numbers to the last bit, 8 bytes each, little-endian."""
    values = tuple(values)
    return struct.pack(f"<{len(values)}d", *values)


def floats_from(data: bytes) -> tuple[float, ...]:
    """Reverse `doubles`."""
    return struct.unpack(f"<{len(data) // _DOUBLE_BYTES}d", data)


def digest_of_vector(data: bytes) -> bytes:
    """Return what identifies a vector."""
    return hashlib.sha256(data).digest()[:_DIGEST_BYTES]


def answers_text(point: CellSession) -> str:
    """Return who answered the draws of a cell, as a text."""
    return text_of([point.models, point.fingerprints, point.backends])


def answer_text(facts: DrawFacts) -> str:
    """Return who answered a draw, as a text."""
    return text_of([facts.model, facts.backend, facts.fingerprint])


def draw_values(outcome: DrawOutcome) -> tuple[Any, ...]:
    """Return outcome, total, time, latency, request id, attempts, tokens and problem of a draw.

    Raises:
        ValueError: its time is not ISO 8601.
    """
    match outcome:
        case Draw(facts=facts):
            return "draw", outcome.total, *_call_values(facts), None
        case InvalidDraw(facts=facts):
            problem = text_of([outcome.reason, outcome.position])
            return "invalid", None, *_call_values(facts), problem
        case MissedDraw():
            problem = text_of([outcome.reason, outcome.remedy])
            return "missed", None, None, None, None, None, None, None, problem
        case _:
            assert_never(outcome)


def _call_values(facts: DrawFacts) -> tuple[Any, ...]:
    return (
        _milliseconds(facts.at),
        round(facts.latency_s * 1e6),
        facts.request_id,
        facts.attempts,
        facts.prompt_tokens,
        facts.cached_tokens,
    )


def _milliseconds(at: str) -> int | None:
    if not at:
        return None
    found = round(time_of(at).timestamp() * 1e3)
    # At the ends of the calendar a time may have none in UTC.
    _time(found)
    return found


def session_from(row: Row) -> Session:
    """Return the closed session of a row of `SESSION_COLUMNS`."""
    kind, suite, epoch, key, started_at, tool = row
    return Session(
        key=key,
        kind=SessionKind(kind),
        suite=suite,
        epoch=epoch,
        started_at=started_at,
        tool=tool,
        is_closed=True,
    )


def point_from(row: Row) -> CellSession:
    """Return the summary of a row of `POINT_COLUMNS`."""
    cell, totals, invalid, missed, answers, latency_ms, usd, cached_tokens = row
    models, fingerprints, backends = _answers_from(answers)
    return CellSession(
        cell=cell_from(cell),
        totals=floats_from(totals),
        invalid=invalid,
        missed=missed,
        models=models,
        fingerprints=fingerprints,
        backends=backends,
        latency_ms=latency_ms,
        usd=usd,
        cached_tokens=cached_tokens,
    )


@lru_cache(maxsize=1 << 12)
def _answers_from(content: str) -> list[tuple[str, ...]]:
    return list(map(tuple, json.loads(content)))


def draw_from(row: Row) -> KeptDraw:
    """Return the draw of a row of `DRAW_COLUMNS`."""
    cell, purpose, number, line, outcome, logprobs, *call, problem = row
    return KeptDraw(
        cell=cell_from(cell),
        purpose=purpose,
        number=number,
        line=line,
        outcome=_outcome_from(outcome, logprobs, call, problem),
    )


def _outcome_from(outcome: str, logprobs: bytes, call: Row, problem: str | None) -> DrawOutcome:
    reason, detail = json.loads(problem) if problem else ("", None)
    match outcome:
        case "draw":
            return Draw(logprobs=floats_from(logprobs), facts=_facts_from(call))
        case "invalid":
            return InvalidDraw(reason=reason, position=detail, facts=_facts_from(call))
        case _:
            return MissedDraw(reason=reason, remedy=detail)


def _facts_from(call: Row) -> DrawFacts:
    at_ms, latency_us, request_id, answer, attempts, prompt_tokens, cached_tokens = call
    model, backend, fingerprint = json.loads(answer)
    kept = {
        _ANSWERED_FROM: backend,
        FINGERPRINT: fingerprint,
        USAGE_PROMPT: prompt_tokens,
        USAGE_CACHED: cached_tokens,
    }
    return DrawFacts(
        at="" if at_ms is None else _time(at_ms),
        model=model,
        request_id=request_id,
        latency_s=latency_us / 1e6,
        attempts=attempts,
        headers={name: str(value) for name, value in kept.items() if value not in {"", None}}
        or None,
    )


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1e3, UTC).isoformat(timespec="milliseconds")
