"""The sessions of a baseline: its calibration draws, which a history keeps too."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.documents import max_bytes_of
from repro_gate.adapters.files.snapshots import BASELINE_SCHEMA, parse_baseline
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.adapters.history.lines import FoundSession
from repro_gate.adapters.logs.draws import to_line
from repro_gate.core.history import SessionCell, SessionHeader, SessionKind, date_of
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.baseline_format import SCHEMA
from repro_gate.core.logprobs.draw import Draw
from repro_gate.core.logprobs.sessions import time_of
from repro_gate.core.text import digest_of
from repro_gate.ports import Purpose

_KEY_DIGITS: Final = 16
_TOOL: Final = "baseline-v1"
"""A baseline does not record which version made the draws."""


def is_baseline(file: Path) -> bool:
    """Return whether a JSON file may be a baseline; raises `InputInvalid` for an odd file."""
    content = read_regular_file(file, max_bytes=max_bytes_of(BASELINE_SCHEMA), may_be_link=False)
    return f'"{SCHEMA}"'.encode() in content


def calibration_sessions(file: Path) -> Iterator[FoundSession]:
    """Yield the sessions of a baseline file `SOURCE/CELL-ID.json`; raises `InputInvalid`."""
    content = read_regular_file(file, max_bytes=max_bytes_of(BASELINE_SCHEMA), may_be_link=False)
    baseline = parse_baseline(content, file, file.parent.name, file.stem)
    first = 0
    for session in baseline.all_sessions:
        draws = baseline.made[first : first + session.draws]
        first += session.draws
        yield _session_of(file, baseline, session.started_at, draws)


def _session_of(
    file: Path, baseline: Baseline, started_at: str, draws: Sequence[Draw]
) -> FoundSession:
    started_at = time_of(started_at).astimezone(UTC).isoformat()
    definition, encoding = digest_of(dict(baseline.definition)), baseline.encoding
    # Without what changes when another session joins the baseline.
    identity = f"{baseline.source}\n{baseline.id}\n{definition}\n{started_at}"
    digits = hashlib.sha256(identity.encode()).hexdigest()[:_KEY_DIGITS]
    cell = SessionCell(
        id=baseline.id,
        policy=baseline.definition["policy"],
        item=baseline.definition["item"],
        definition=definition,
        # Where tokens are generated, the encoding has those that are compared.
        tokens=None
        if "kind" in baseline.definition
        else len(encoding.prompt) + len(encoding.response),
    )
    header = SessionHeader(
        key=f"{date_of(started_at)}-{digits}",
        kind=SessionKind.CALIBRATION,
        suite=None,
        epoch=None,
        started_at=started_at,
        tool=_TOOL,
        cells=(cell,),
    )
    lines = [
        to_line((baseline.id, Purpose.CALIBRATION, number), draw)
        for number, draw in enumerate(draws, start=1)
    ]
    return FoundSession(source=file, header=header, draws=lambda: iter(lines), closed_at=started_at)
