"""A pack: one cell of a report with its golden, as a zip file that another person can be sent.

It is read as an untrusted download: only entries of the expected names, plain and of bounded size.
"""

import stat
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.adapters.files.documents import max_bytes_of
from repro_gate.adapters.files.parsing import shown
from repro_gate.adapters.files.results import MAX_BYTES, REPORT, parse_result, require_finished
from repro_gate.adapters.files.snapshots import GOLDEN_SCHEMA, golden_text, parse_golden
from repro_gate.adapters.files.untrusted_files import read_regular_file, recognise_mistake
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Golden
from repro_gate.errors import InputInvalid

GOLDEN: Final = "golden.json"
_MAX_BYTES: Final = {GOLDEN: max_bytes_of(GOLDEN_SCHEMA), REPORT: MAX_BYTES}
"""By entry."""
_MAX_DIRECTORY: Final = 4096
"""Bytes of the list of entries, which is parsed as a whole."""
_END: Final = struct.Struct("<4s8xL4x2s")
"""The mark of the end record, the size of the list of entries, and that of a comment."""
_END_MARK: Final = b"PK\x05\x06"
_NO_COMMENT: Final = bytes(2)
_MARK_64: Final = b"PK\x06\x07"
_BEFORE_END: Final = 20
"""Where the mark of an archive with 64-bit sizes is, in bytes before the end record."""
_ENCRYPTED: Final = 0x1
_EXPECTED: Final = "a zip file as explain --pack writes it"
_BROKEN: Final = (BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error, zlib.error)
"""What the modules of Python raise for a damaged archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """What is known of one cell."""

    report: GateReport
    """The part of a report that is about the cell."""
    golden: Golden | None
    """The committed golden of the cell; None where there is none."""

    @property
    def cell(self) -> CellReport:
        """The cell."""
        return self.report.cells[0]


def write_pack(file: Path, report: str, golden: Golden | None) -> None:
    """Write a pack, the same bytes for the same content.

    Args:
        file: the zip file.
        report: the text of a report.json with one cell.
        golden: the golden of the cell.

    Raises:
        InputInvalid: it could not be read again, such as for its size.
        OSError: it cannot be written.
    """
    texts = {REPORT: report, **({} if golden is None else {GOLDEN: golden_text(golden)})}
    data = zipped({name: text.encode() for name, text in texts.items()})
    parse_pack(data, file)
    write_atomically(file, data)


def read_pack(file: Path) -> Pack:
    """Read a pack; raises `InputInvalid`."""
    return parse_pack(read_regular_file(file, max_bytes=sum(_MAX_BYTES.values())), file)


def parse_pack(data: bytes, file: Path) -> Pack:
    """Parse the bytes of a pack; raises `InputInvalid`."""
    contents = _contents(data, file)
    if REPORT not in contents:
        raise InputInvalid.at(file, "", expected=f"the entry {REPORT}", found="none")
    inner = file / REPORT
    result = parse_result(contents[REPORT], inner, is_excerpt=True)
    report = require_finished(result, inner).report
    golden = _golden(contents.get(GOLDEN), file / GOLDEN, report.cells[0])
    return Pack(report=report, golden=golden)


def zipped(contents: dict[str, bytes]) -> bytes:
    """Return a zip file with these entries."""
    with BytesIO() as stream:
        with ZipFile(stream, "w") as archive:
            for name, content in sorted(contents.items()):
                # Its date is always the first that a zip file can have.
                entry = ZipInfo(name)
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, content, ZIP_DEFLATED)
        return stream.getvalue()


def _golden(data: bytes | None, file: Path, cell: CellReport) -> Golden | None:
    if data is None:
        return None
    if cell.golden_profile is None:
        raise InputInvalid.at(file, "", expected="no golden of a cell without profile", found="one")
    return parse_golden(data, file=file, profile=cell.golden_profile, cell_id=cell.id)


def _contents(data: bytes, file: Path) -> dict[str, bytes]:
    _require_short_directory(data, file)
    try:
        with ZipFile(BytesIO(data)) as archive:
            entries = archive.infolist()
            _require_expected(entries, file)
            return {entry.filename: _content(archive, entry, file) for entry in entries}
    except _BROKEN as error:
        raise _damaged(file, error) from error


def _require_short_directory(data: bytes, file: Path) -> None:
    """Refuse what is no zip file, or one with a list of entries that takes much memory."""
    mark, size, comment = _END.unpack(data[-_END.size :].rjust(_END.size, b"\0"))
    has_end = (mark, comment) == (_END_MARK, _NO_COMMENT)
    if not has_end or data[-_END.size - _BEFORE_END :].startswith(_MARK_64):
        found = recognise_mistake(data) or "another kind of file"
        if data.startswith(b"PK"):
            found = "one that is cut off, or has a comment or 64-bit sizes"
        raise InputInvalid.at(file, "", expected=_EXPECTED, found=found)
    if size > _MAX_DIRECTORY:
        expected = f"a list of entries of at most {_MAX_DIRECTORY} bytes"
        raise InputInvalid.at(file, "", expected=expected, found=f"one of {size}")


def _require_expected(entries: list[ZipInfo], file: Path) -> None:
    names = [entry.orig_filename for entry in entries]
    for entry in entries:
        name = entry.orig_filename
        if name not in _MAX_BYTES:
            expected = f"only the entries {' and '.join(_MAX_BYTES)}"
            raise InputInvalid.at(file, "", expected=expected, found=shown(name))
        if names.count(name) > 1:
            raise InputInvalid.at(file / name, "", expected="one entry of a name", found="several")
        if entry.file_size > _MAX_BYTES[name]:
            expected, found = f"at most {_MAX_BYTES[name]} bytes", str(entry.file_size)
            raise InputInvalid.at(file / name, "", expected=expected, found=found)
        problem = _problem_of(entry)
        if problem is not None:
            raise InputInvalid.at(file / name, "", expected="a plain file", found=problem)


def _problem_of(entry: ZipInfo) -> str | None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        return "a symbolic link" if kind == stat.S_IFLNK else "another kind of file"
    if entry.flag_bits & _ENCRYPTED:
        return "an encrypted one"
    is_known = entry.compress_type in {ZIP_STORED, ZIP_DEFLATED}
    return None if is_known else f"the compression method {entry.compress_type}"


def _content(archive: ZipFile, entry: ZipInfo, file: Path) -> bytes:
    try:
        with archive.open(entry) as stream:
            # One byte more, so that the checksum is compared.
            return stream.read(entry.file_size + 1)
    except _BROKEN as error:
        raise _damaged(file / entry.filename, error) from error


def _damaged(file: Path, error: Exception) -> InputInvalid:
    found = f"a damaged one: {escape_text(str(error))}"
    return InputInvalid.at(file, "", expected=_EXPECTED, found=found)
