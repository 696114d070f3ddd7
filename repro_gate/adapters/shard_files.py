"""`DIR/shard.json`: what one of several runners measured, for the one that merges."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from repro_gate.adapters import lossless_files as files
from repro_gate.adapters.files.untrusted_files import require_no_link
from repro_gate.adapters.lossless_files import THIS_TOOL, Tool
from repro_gate.core.consistency import contradiction_in_shard
from repro_gate.core.shards import ShardReport
from repro_gate.errors import InputInvalid

FILE: Final = "shard.json"
SCHEMA: Final = "repro-gate/shard/v1"
MAX_BYTES: Final = 256 * 2**20
"""About 1,300,000 traced tokens; the shards of a run come from that run, and cost it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """What one runner measured; it is judged when all of them are together."""

    schema: Literal["repro-gate/shard/v1"]
    tool: Tool
    shard: ShardReport


def write_shard(folder: Path, report: ShardReport) -> None:
    """Write what a shard measured, and the folder where there is none.

    Raises:
        OSError: it cannot be written.
    """
    content = ShardFile(schema=SCHEMA, tool=THIS_TOOL, shard=report)
    files.write_value(folder / FILE, content)


def read_shards(
    folders: Sequence[Path], *, max_bytes: int = MAX_BYTES
) -> tuple[tuple[Path, ShardReport], ...]:
    """Return what was measured, each with the file that says so, in the order of the folders.

    Args:
        folders: each has a shard, or folders that have one; untrusted downloads.
        max_bytes: how large each of the files may be.

    Raises:
        InputInvalid: a folder has no shard, or something that could not be believed.
    """
    found = [file for folder in folders for file in _files(folder)]
    return tuple((file, _read(file, max_bytes)) for file in found)


def _files(folder: Path) -> list[Path]:
    require_no_link(folder)
    if files.is_there(folder / FILE):
        return [folder / FILE]
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        told = error.strerror or str(error)
        raise InputInvalid.at(folder, "", expected="a folder", found=told) from error
    found = [path / FILE for path in inner if files.is_there(path / FILE)]
    if not found:
        expected = f"{FILE}, or folders with one, as check --shard writes it"
        raise InputInvalid.at(folder, "", expected=expected, found="none")
    return found


def _read(file: Path, max_bytes: int) -> ShardReport:
    content: ShardFile = files.read_value(file, ShardFile, max_bytes=max_bytes)
    files.require_consistent(file, contradiction_in_shard(content.shard), within="shard")
    return content.shard
