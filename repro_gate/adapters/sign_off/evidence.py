"""Read what an evidence folder contains, as untrusted downloads, and the recipient's artifacts.

Each file is read once: what is parsed are the bytes whose digest was compared.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.results import MAX_SHARD_BYTES, parse_result
from repro_gate.adapters.files.untrusted_files import (
    open_regular_file,
    read_regular_file,
    require_no_link,
)
from repro_gate.adapters.sign_off.envelope import MAX_BYTES, parse_envelope
from repro_gate.adapters.sign_off.keys import PublicKey
from repro_gate.core.report import FinishedCheck
from repro_gate.core.sign_off.measured import ReportFile
from repro_gate.core.sign_off.policy import Signers
from repro_gate.core.sign_off.statement import (
    Entry,
    Kind,
    Statement,
    Waiver,
    is_file_name,
    waiver_from,
)
from repro_gate.core.sign_off.verification import Evidence, WaiverFile
from repro_gate.errors import InputInvalid
from repro_gate.strict_json import InvalidJson

EVIDENCE: Final = "evidence.dsse.json"
WAIVERS: Final = "waivers"
_MAX_FILES: Final = 100
"""Of each kind."""


def names_of(signers: Signers, signed_by: Iterable[PublicKey]) -> frozenset[str]:
    """Return the names of the keys of a policy that signed."""
    raw = {key.raw for key in signed_by}
    return frozenset(key.name for key in signers.keys if key.key in raw)


def public_keys_of(signers: Signers) -> list[PublicKey]:
    """Return the keys of a policy."""
    return [PublicKey(key.key) for key in signers.keys]


def read_evidence(folder: Path, statement: Statement, *, waivers: Signers | None) -> Evidence:
    """Read the files that a statement names; raises `InputInvalid`.

    Args:
        folder: the evidence folder.
        statement: its signatures were verified.
        waivers: who may sign waivers.
    """
    changed: dict[str, str] = {}
    reports: list[ReportFile] = []
    signed_waivers: list[WaiverFile] = []
    for entry in _few(folder, statement, Kind.REPORT):
        data = _bytes(folder, entry, within="", max_bytes=MAX_SHARD_BYTES)
        if _is_unchanged(entry, data, changed):
            reports.append(report_file(data, Path(entry.name)))
    for entry in _few(folder, statement, Kind.WAIVER):
        data = _bytes(folder, entry, within=f"{WAIVERS}/", max_bytes=MAX_BYTES)
        if _is_unchanged(entry, data, changed):
            signed_waivers.append(waiver_file(data, entry.name, waivers))
    return Evidence(
        statement=statement,
        reports=tuple(reports),
        waivers=tuple(signed_waivers),
        changed=changed,
    )


def report_file(data: bytes, file: Path) -> ReportFile:
    """Return a report with its digest; raises `InputInvalid` for one of an unfinished check."""
    result = parse_result(data, file, max_bytes=MAX_SHARD_BYTES)
    if not isinstance(result, FinishedCheck):
        expected, found = "the report of a finished check", "one that did not start"
        raise InputInvalid.at(file, "result", expected=expected, found=found)
    try:
        return ReportFile(name=file.name, sha256=_sha256(data), report=result.report)
    except ValueError as error:
        place, expected = "result.report.started_at", "a time"
        raise InputInvalid.at(file, place, expected=expected, found=str(error)) from error


def waiver_file(data: bytes, name: str, signers: Signers | None = None) -> WaiverFile:
    """Return a waiver with its digest, and who of these signed it; raises `InputInvalid`."""
    envelope = parse_envelope(data, Path(name))
    signed_by = envelope.signers_of(public_keys_of(signers)) if signers else ()
    content = envelope.data()
    waiver: Waiver | InvalidJson
    try:
        waiver = waiver_from(content)
    except InvalidJson as error:
        waiver = error
    return WaiverFile(
        name=name,
        sha256=_sha256(data),
        signers=names_of(signers, signed_by) if signers else frozenset(),
        waiver=waiver,
    )


def digests_of(files: Iterable[Path]) -> Mapping[str, str]:
    """Return the sha256 of artifacts by file name.

    Raises:
        InputInvalid: one is not a regular file, changes while it is read, or has the name of
            another.
    """
    found: dict[str, str] = {}
    for file in files:
        if file.name in found:
            raise InputInvalid.at(file, "", expected="each file name once", found="it twice")
        with open_regular_file(file, may_be_link=False) as stream:
            before = os.fstat(stream.fileno())
            found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
            after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise InputInvalid.at(file, "", expected="a file that rests", found="one that changes")
    return found


def _few(folder: Path, statement: Statement, kind: Kind) -> tuple[Entry, ...]:
    found = statement.of_kind(kind)
    if len(found) > _MAX_FILES:
        expected = f"at most {_MAX_FILES} entries of kind {kind.value}"
        raise InputInvalid.at(folder / EVIDENCE, "", expected=expected, found=str(len(found)))
    return found


def _bytes(folder: Path, entry: Entry, *, within: str, max_bytes: int) -> bytes:
    """Return the content of a file of the evidence folder, never of one outside."""
    name = entry.name.removeprefix(within)
    if not entry.name.startswith(within) or not is_file_name(name):
        expected = f"a plain file name in {within or 'the evidence folder'}"
        raise InputInvalid.at(folder / EVIDENCE, "", expected=expected, found=entry.name)
    place = folder / within
    require_no_link(place)
    return read_regular_file(place / name, max_bytes=max_bytes, may_be_link=False)


def _is_unchanged(entry: Entry, data: bytes, changed: dict[str, str]) -> bool:
    digest = _sha256(data)
    if digest != entry.sha256:
        changed[entry.name] = digest
    return digest == entry.sha256


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
