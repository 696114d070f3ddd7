"""Writes `report.json` and `shard.json` atomically, and reads them as untrusted downloads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from repro_gate import __version__
from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.adapters.files.codec import decode, encode
from repro_gate.adapters.files.parsing import Limits, json_of
from repro_gate.adapters.files.untrusted_files import read_regular_file, require_no_link
from repro_gate.core.consistency import Inconsistency, validate_report, validate_shard
from repro_gate.core.report import CheckResult, FinishedCheck
from repro_gate.core.shards.report import ShardReport
from repro_gate.core.text import escape_text
from repro_gate.errors import InputInvalid
from repro_gate.strict_json import InvalidJson

REPORT: Final = "report.json"
SHARD: Final = "shard.json"
MAX_BYTES: Final = 32 * 2**20
"""Of a report from elsewhere; about 150,000 traced tokens, or a million others."""
MAX_SHARD_BYTES: Final = 256 * 2**20
"""About 1,300,000 traced tokens; only the run that made a shard pays for its size."""
_MIN_VALUE_BYTES: Final = 6
"""Of a value on average in what we write; a list of empty lists has three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What wrote the file."""

    name: Literal["repro-gate"]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """The result of a check: a report, or the reason why there is none."""

    schema: Literal["repro-gate/report/v1"]
    tool: Tool
    result: CheckResult
    """Everything that was found, without loss; the commands of repro-gate read nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """What one runner measured; it is judged when all shards are together."""

    schema: Literal["repro-gate/shard/v1"]
    tool: Tool
    shard: ShardReport


_TOOL: Final = Tool(name="repro-gate", version=__version__)


def report_text(result: CheckResult, summary: Mapping[str, Any]) -> str:
    """Return the content of report.json, in pure ASCII.

    Args:
        result: what the check found.
        summary: plain JSON data for people, derived from the result; it is not read back.
    """
    data = encode(ReportFile(schema="repro-gate/report/v1", tool=_TOOL, result=result), ReportFile)
    # The summary comes first.
    found = data.pop("result")
    return _json({**data, **summary, "result": found})


def write_report(folder: Path, text: str) -> None:
    """Write report.json, and its folder if there is none; raises OSError."""
    _write(folder / REPORT, text)


def read_report(folder: Path, *, max_bytes: int = MAX_BYTES) -> CheckResult | None:
    """Return the result of a check, or None: then the check was killed.

    The folder is an untrusted download: the result is consistent, but may be false.

    Raises:
        InputInvalid: there is a file, and it is not valid.
    """
    if not _exists(folder / REPORT):
        return None
    require_no_link(folder)
    return read_result(folder / REPORT, max_bytes=max_bytes)


def read_result(file: Path, *, max_bytes: int = MAX_BYTES) -> CheckResult:
    """Return the result in a report.json that must exist; raises `InputInvalid`."""
    return parse_result(_bytes(file, max_bytes), file, max_bytes=max_bytes)


def parse_result(
    data: bytes, file: Path, *, max_bytes: int = MAX_BYTES, is_excerpt: bool = False
) -> CheckResult:
    """Return the result in the bytes of a report.json; raises `InputInvalid`.

    Args:
        data: the bytes.
        file: where they are from, for messages.
        max_bytes: how many there may be.
        is_excerpt: whether it is about one cell; see `excerpt_of`.
    """
    document = _document(data, file, max_bytes)
    if isinstance(document, dict):
        known = {field.name for field in fields(ReportFile)}
        document = {key: document[key] for key in document if key in known}  # pyright: ignore[reportUnknownVariableType]
    content: ReportFile = _decoded(file, document, ReportFile)
    if isinstance(content.result, FinishedCheck):
        found = validate_report(content.result.report, is_excerpt=is_excerpt)
        _require_consistent(file, found, within="result.report")
    return content.result


def require_finished(result: CheckResult | None, file: Path) -> FinishedCheck:
    """Return the result of a check that has a report; raises `InputInvalid` for any other."""
    if isinstance(result, FinishedCheck):
        return result
    found = "none" if result is None else f"a check that did not start: {result.message}"
    expected = "the report of a check, as repro-gate check writes it"
    raise InputInvalid.at(
        file, "" if result is None else "result", expected=expected, found=escape_text(found)
    )


def write_shard(folder: Path, report: ShardReport) -> None:
    """Write shard.json, and its folder if there is none; raises OSError."""
    content = ShardFile(schema="repro-gate/shard/v1", tool=_TOOL, shard=report)
    _write(folder / SHARD, _json(encode(content, ShardFile)))


def read_shards(
    folders: Sequence[Path], *, max_bytes: int = MAX_SHARD_BYTES
) -> tuple[tuple[Path, ShardReport], ...]:
    """Return each shard with its file, in the order of the folders.

    Args:
        folders: each has a shard, or folders that have one; untrusted downloads.
        max_bytes: how large each of the files may be.

    Raises:
        InputInvalid: a folder has no shard, or one that is not valid.
    """
    found = [file for folder in folders for file in _shard_files(folder)]
    return tuple((file, _read_shard(file, max_bytes)) for file in found)


def _exists(file: Path) -> bool:
    """Return whether a path exists, be it a dangling link; raises `InputInvalid`."""
    try:
        file.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        found = error.strerror or str(error)
        raise InputInvalid.at(file, "", expected="a readable file", found=found) from error
    return True


def _shard_files(folder: Path) -> list[Path]:
    if not _exists(folder):
        raise InputInvalid.at(folder, "", expected="a folder", found="none")
    require_no_link(folder)
    if _exists(folder / SHARD):
        return [folder / SHARD]
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        found = error.strerror or str(error)
        raise InputInvalid.at(folder, "", expected="a folder", found=found) from error
    files = [path / SHARD for path in inner if _exists(path / SHARD)]
    if not files:
        expected = f"{SHARD}, or folders with one, as check --shard writes it"
        raise InputInvalid.at(folder, "", expected=expected, found="none")
    return files


def _read_shard(file: Path, max_bytes: int) -> ShardReport:
    require_no_link(file.parent)
    content: ShardFile = _decoded(
        file, _document(_bytes(file, max_bytes), file, max_bytes), ShardFile
    )
    _require_consistent(file, validate_shard(content.shard), within="shard")
    return content.shard


def _json(data: Any) -> str:
    return f"{json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(',', ':'))}\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text)


def _bytes(file: Path, max_bytes: int) -> bytes:
    return read_regular_file(file, max_bytes=max_bytes, may_be_link=False)


def _document(data: bytes, file: Path, max_bytes: int) -> Any:
    limits = Limits(max_bytes=max_bytes, max_values=max_bytes // _MIN_VALUE_BYTES)
    return json_of(data, file, limits)


def _decoded(file: Path, document: Any, kind: type) -> Any:
    try:
        return decode(document, kind)
    except InvalidJson as error:
        place = error.place.removeprefix(".")
        raise InputInvalid.at(file, place, expected=error.expected, found=error.found) from error


def _require_consistent(file: Path, found: Inconsistency | None, *, within: str) -> None:
    if found is not None:
        place = ".".join(filter(None, (within, found.place)))
        raise InputInvalid.at(file, place, expected=found.expected, found=found.found)
