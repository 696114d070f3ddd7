"""`draws.jsonl`: every draw of a check, as it comes, for resuming it and for looking back."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import repro_gate
from repro_gate.adapters.atomic import open_log
from repro_gate.adapters.documents import validate
from repro_gate.adapters.draw_lines import (
    MAX_LINE_BYTES,
    DrawKey,
    from_line,
    json_line,
    json_object,
    to_line,
)
from repro_gate.core.digests import digest_of
from repro_gate.core.draws import Draw, DrawOutcome, MissedDraw
from repro_gate.core.policies import LogprobCell, Tolerance
from repro_gate.errors import InputInvalid
from repro_gate.ports import DrawRequest
from repro_gate.strict_json import InvalidJson

SCHEMA = "repro-gate/draws/v1"
FILE = "draws.jsonl"
_TOO_LONG = ValueError(f"a line of more than {MAX_LINE_BYTES} bytes")


def fingerprint_of(
    cells: Iterable[LogprobCell], *, baselines: Mapping[str, str], tolerance: Tolerance
) -> str:
    """Return what tells a plan from every other one whose draws it must not take over.

    Args:
        cells: what is measured.
        baselines: the digest of the baseline of each cell that has one, by the id of the cell.
        tolerance: when a difference counts.
    """
    digests = {cell.id: [digest_of(cell.definition), baselines.get(cell.id)] for cell in cells}
    return digest_of({"cells": digests, "tolerance": asdict(tolerance)})


class DrawLogFile:
    """The draws of one check, in one file that only grows.

    Each draw is handed to the operating system before `note` returns: killing the process loses
    none, and tears at most the last line.
    """

    def __init__(self, file: Path, *, fingerprint: str, started_at: str, resume: bool) -> None:
        """Open a log afresh, or go on with the one that is there.

        Raises:
            InputInvalid: the log to go on with is another plan's, broken, or no plain file.
            OSError: the file cannot be written.
        """
        self._file = file
        self._places: dict[DrawKey, int] = {}
        """Where the line of each known draw begins; a line itself is read when it is wanted."""
        self._stream: BinaryIO = open_log(file, afresh=not resume)
        try:
            end = self._index(fingerprint)
            self._stream.truncate(end)
            if end == 0:
                self._append(json_line(_header(fingerprint, started_at)))
        except BaseException:
            self._stream.close()
            raise

    def note(self, request: DrawRequest, outcome: DrawOutcome) -> None:
        """Keep a draw; it is there even when the process is killed in the next moment."""
        self._append(to_line(request.key, outcome))

    def known(self, request: DrawRequest) -> DrawOutcome | None:
        """Return the draw that an interrupted check had made, or None.

        Raises:
            InputInvalid: it is about a response of another length.
        """
        place = self._places.get(request.key)
        if place is None:
            return None
        self._stream.seek(place)
        _, outcome = self._parsed(self._stream.readline(), f"byte {place}")
        tokens = len(request.encoding.response)
        if isinstance(outcome, Draw) and len(outcome.logprobs) != tokens:
            expected = f"{tokens} log-probabilities; start the check afresh"
            found = str(len(outcome.logprobs))
            raise InputInvalid.at(self._file, f"byte {place}", expected=expected, found=found)
        return outcome

    def close(self) -> None:
        """Close the file; safe to call more than once."""
        self._stream.close()

    def _append(self, line: bytes) -> None:
        self._stream.seek(0, os.SEEK_END)
        self._stream.write(line)
        self._stream.flush()

    def _index(self, fingerprint: str) -> int:
        """Find the draws that are known, and return where the last whole line ends."""
        lines = self._whole_lines()
        end, header = next(lines, (0, b""))
        if end == 0:
            return 0
        self._require_header(header, fingerprint)
        for number, (after, line) in enumerate(lines, start=2):
            (cell, purpose, count), outcome = self._parsed(line, f"line {number}")
            key = sys.intern(cell), sys.intern(purpose), count
            if not isinstance(outcome, MissedDraw):
                self._places[key] = end
            end = after
        return end

    def _whole_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line with the place after it; a last one that is torn does not count."""
        end = 0
        self._stream.seek(0)
        while line := self._stream.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise self._broken(f"byte {end}", _TOO_LONG)
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, line

    def _require_header(self, line: bytes, fingerprint: str) -> None:
        try:
            header = json_object(line)
        except ValueError as error:
            raise self._broken("line 1", error) from error
        validate(header, schema="draws-v1", file=self._file)
        if header.get("fingerprint") != fingerprint:
            expected = f"the draws of the plan {fingerprint}; start the check afresh"
            found = f"those of the plan {header.get('fingerprint')}"
            raise InputInvalid.at(self._file, "line 1", expected=expected, found=found)

    def _parsed(self, line: bytes, place: str) -> tuple[DrawKey, DrawOutcome]:
        try:
            return from_line(line)
        except (ValueError, OverflowError) as error:
            raise self._broken(place, error) from error

    def _broken(self, place: str, error: Exception) -> InputInvalid:
        expected, found = "a draw as it was recorded", str(error)
        if isinstance(error, InvalidJson):
            place = ": ".join(filter(None, (place, error.place)))
            expected, found = error.expected, error.found
        return InputInvalid.at(self._file, place, expected=expected, found=found)


def _header(fingerprint: str, started_at: str) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "fingerprint": fingerprint,
        "tool": {"name": "repro-gate", "version": repro_gate.__version__},
        "started_at": started_at,
    }
