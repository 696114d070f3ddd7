"""Read what an evidence folder contains, as untrusted downloads, and the recipient's artifacts.

Each file is read once: what is parsed are the bytes whose digest was compared.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.results import MAX_SHARD_BYTES, parse_result, require_finished
from repro_gate.adapters.files.untrusted_files import (
    open_regular_file,
    read_regular_file,
    require_no_link,
)
from repro_gate.adapters.sign_off.envelope import MAX_BYTES, Envelope, parse_envelope
from repro_gate.adapters.sign_off.keys import PublicKey
from repro_gate.core.sign_off.measured import ReportFile
from repro_gate.core.sign_off.policy import Signers
from repro_gate.core.sign_off.statement import (
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
_PLACES: Final = {Kind.REPORT: ("", MAX_SHARD_BYTES), Kind.WAIVER: (f"{WAIVERS}/", MAX_BYTES)}
"""Where the files of a kind are in the folder, and how large each may be."""
_MAX_FILES: Final = 100
"""Of each kind."""


def signers_in(envelope: Envelope, signers: Signers | None) -> frozenset[str]:
    """Return the names of the keys of a policy that signed an envelope."""
    names = {PublicKey(key.key): key.name for key in signers.keys} if signers else {}
    return frozenset(names[key] for key in envelope.signers_of(names))


def read_evidence(folder: Path, statement: Statement, *, waivers: Signers | None) -> Evidence:
    """Read the files that a statement names; raises `InputInvalid`.

    Args:
        folder: the evidence folder.
        statement: its signatures were verified.
        waivers: who may sign waivers.
    """
    changed: dict[str, str] = {}
    reports = _files(folder, statement, Kind.REPORT, changed)
    signed_waivers = _files(folder, statement, Kind.WAIVER, changed)
    return Evidence(
        statement=statement,
        reports=tuple(report_file(data, Path(name)) for name, data in reports),
        waivers=tuple(waiver_file(data, name, waivers) for name, data in signed_waivers),
        changed=changed,
    )


def report_file(data: bytes, file: Path) -> ReportFile:
    """Return a report with its digest; raises `InputInvalid` for one of an unfinished check."""
    result = require_finished(parse_result(data, file, max_bytes=MAX_SHARD_BYTES), file)
    try:
        return ReportFile(name=file.name, sha256=_sha256(data), report=result.report)
    except ValueError as error:
        place, expected = "result.report.started_at", "a time"
        raise InputInvalid.at(file, place, expected=expected, found=str(error)) from error


def waiver_file(data: bytes, name: str, signers: Signers | None = None) -> WaiverFile:
    """Return a waiver with its digest, and who of these signed it; raises `InputInvalid`."""
    envelope = parse_envelope(data, Path(name))
    content = envelope.data()
    waiver: Waiver | InvalidJson
    try:
        waiver = waiver_from(content)
    except InvalidJson as error:
        waiver = error
    return WaiverFile(
        name=name,
        sha256=_sha256(data),
        signers=signers_in(envelope, signers),
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


def _files(
    folder: Path, statement: Statement, kind: Kind, changed: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of one kind, never one outside the folder, with their names.

    Those that are not as they were signed are added to `changed`.
    """
    within, max_bytes = _PLACES[kind]
    entries = statement.of_kind(kind)
    if len(entries) > _MAX_FILES:
        expected = f"at most {_MAX_FILES} entries of kind {kind.value}"
        raise InputInvalid.at(folder / EVIDENCE, "", expected=expected, found=str(len(entries)))
    for entry in entries:
        name = entry.name.removeprefix(within)
        if not entry.name.startswith(within) or not is_file_name(name):
            expected = f"a plain file name in {within or 'the evidence folder'}"
            raise InputInvalid.at(folder / EVIDENCE, "", expected=expected, found=entry.name)
        require_no_link(folder / within)
        file = folder / within / name
        if not os.path.lexists(file):
            expected = f"a file beside {EVIDENCE} (copy its whole folder)"
            raise InputInvalid.at(file, "", expected=expected, found="none")
        data = read_regular_file(file, max_bytes=max_bytes, may_be_link=False)
        digest = _sha256(data)
        if digest == entry.sha256:
            yield entry.name, data
        else:
            changed[entry.name] = digest


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
