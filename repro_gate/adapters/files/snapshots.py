"""The committed files of a check: goldens, baselines, and the digests of the models."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.atomic import make_folder, require_no_links, write_atomically
from repro_gate.adapters.files.documents import (
    max_bytes_of,
    parse_json,
    require_readable,
    validate,
)
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.core.guards import is_name
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.baseline_format import from_data as baseline_from_data
from repro_gate.core.logprobs.baseline_format import is_intact, to_data
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Facts, Golden
from repro_gate.core.tokens.golden_format import from_data as golden_from_data
from repro_gate.core.tokens.golden_format import to_data as golden_to_data
from repro_gate.errors import InputInvalid

GOLDENS: Final = "goldens"
BASELINES: Final = "baselines"
PINS: Final = "models.json"
"""What the folder of the snapshots contains; the folders have one for each profile or source."""
GOLDEN_SCHEMA: Final = "golden-v1"
_SMALLER_GOLDEN: Final = "lower max_tokens, or shorten the prompt"


class GoldenFiles:
    """The goldens below one folder: `FOLDER/PROFILE/CELL-ID.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._provenance: Facts | None = None
        """Of the last golden; usually that of the next one too, which then shares it."""

    def profiles(self) -> frozenset[str]:
        """Return the profiles that have goldens."""
        folders = {file.parent.name for file in self._folder.glob("*/[!.]*.json")}
        return frozenset(filter(is_name, folders))

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the ids of the cells that have a golden for a profile.

        Raises:
            InputInvalid: the profile is not a valid name.
        """
        return frozenset(file.stem for file in self._of(profile).glob("[!.]*.json"))

    def read(self, profile: str, cell_id: str) -> Golden:
        """Return a recorded golden, or raise `InputInvalid`."""
        file = self.file(profile, cell_id)
        data = read_golden_bytes(file)
        golden = parse_golden(
            data, file=file, profile=profile, cell_id=cell_id, provenance=self._provenance
        )
        self._provenance = golden.provenance
        return golden

    def write(self, golden: Golden) -> None:
        """Write a golden; raises `InputInvalid` if its folder is a link, or it is too large."""
        file = self.file(golden.profile, golden.cell.id)
        require_no_links(self._folder)
        make_folder(file.parent)
        self._write(golden, file)

    def remove(self, profile: str, cell_id: str) -> None:
        """Remove a golden; raises `InputInvalid` as `write` does."""
        file = self.file(profile, cell_id)
        require_no_links(self._folder, file.parent)
        file.unlink()

    def file(self, profile: str, cell_id: str) -> Path:
        """Return the path of a cell's golden; raises `InputInvalid` like `recorded`."""
        return self._of(profile) / f"{cell_id}.json"

    def _write(self, golden: Golden, file: Path) -> None:
        write_golden_text(golden_text(golden), file)

    def _of(self, profile: str) -> Path:
        # It comes from engines and downloads, which must not reach other folders.
        if not is_name(profile):
            raise InputInvalid.at(
                self._folder, "profile", expected="a name", found=escape_text(profile)
            )
        return self._folder / profile


def golden_text(golden: Golden) -> str:
    """Return the text of a golden file: that of syrupy's JSON, without importing syrupy."""
    return json.dumps(golden_to_data(golden), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_golden_text(text: str, file: Path) -> None:
    """Write the text of a golden atomically; raises `TooLarge`."""
    require_readable(text, schema=GOLDEN_SCHEMA, file=file, remedy=_SMALLER_GOLDEN)
    write_atomically(file, text)


def read_golden_bytes(file: Path) -> bytes:
    """Return the bytes of a golden file; raises `InputInvalid`."""
    return read_regular_file(file, max_bytes=max_bytes_of(GOLDEN_SCHEMA))


def parse_golden(
    data: bytes, file: Path, profile: str, cell_id: str, *, provenance: Facts | None = None
) -> Golden:
    """Parse a golden file; raises `InputInvalid` if it is invalid or of another cell or profile.

    Args:
        data: the content of the file.
        file: its path, for messages.
        profile: the profile that it has to be of.
        cell_id: the cell that it has to be of.
        provenance: of another golden; the result shares it if it is the same.
    """
    document = parse_json(data, file=file, schema=GOLDEN_SCHEMA)
    if document["provenance"] == provenance:
        document["provenance"] = provenance
    try:
        golden = golden_from_data(document)
    except (ValueError, OverflowError) as error:
        raise InputInvalid.at(file, "", expected="a consistent golden", found=str(error)) from error
    if golden.profile != profile:
        raise InputInvalid.at(file, "profile", expected=repr(profile), found=repr(golden.profile))
    if golden.cell.id != cell_id:
        raise InputInvalid.at(
            file, "cell", expected=f"the cell {cell_id}", found=f"the cell {golden.cell.id}"
        )
    return golden


BASELINE_SCHEMA: Final = "baseline-v1"
_SMALLER: Final = "lower calibration_draws of the suite, or shorten the prompt or response"


class BaselineFiles:
    """The baselines below one folder: `FOLDER/SOURCE/CELL-ID.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sources(self) -> frozenset[str]:
        """Return the sources that have baselines."""
        return frozenset(file.parent.name for file in self._folder.glob("*/[!.]*.json"))

    def recorded(self, source: str) -> frozenset[str]:
        """Return the ids of the cells that have a baseline from a source."""
        return frozenset(file.stem for file in (self._folder / source).glob("[!.]*.json"))

    def read(self, source: str, cell_id: str) -> Baseline:
        """Return a recorded baseline, or raise `InputInvalid`."""
        return read_baseline(self.file(source, cell_id), source=source, cell_id=cell_id)

    def write(self, baseline: Baseline) -> None:
        """Write a baseline atomically.

        Raises:
            InputInvalid: its folder is a symbolic link, or the file would be too large to read.
        """
        file = self.file(baseline.source, baseline.id)
        require_no_links(self._folder)
        make_folder(file.parent)
        text = baseline_text(baseline)
        require_readable(text, schema=BASELINE_SCHEMA, file=file, remedy=_SMALLER)
        write_atomically(file, text)

    def remove(self, source: str, cell_id: str) -> None:
        """Remove a baseline; raises `InputInvalid` as `write` does."""
        file = self.file(source, cell_id)
        require_no_links(self._folder, file.parent)
        file.unlink()

    def file(self, source: str, cell_id: str) -> Path:
        """Return the path of a cell's baseline."""
        return self._folder / source / f"{cell_id}.json"


def baseline_text(baseline: Baseline) -> str:
    """Return the text of a baseline file."""
    data = to_data(baseline)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_baseline(file: Path, *, source: str, cell_id: str) -> Baseline:
    """Read a baseline; raises `InputInvalid` if it was edited or is of another cell or source."""
    data = read_regular_file(file, max_bytes=max_bytes_of(BASELINE_SCHEMA))
    return parse_baseline(data, file=file, source=source, cell_id=cell_id)


def parse_baseline(content: bytes, file: Path, source: str, cell_id: str) -> Baseline:
    """Parse a baseline file; raises `InputInvalid` as `read_baseline` does."""
    data = parse_json(content, file=file, schema=BASELINE_SCHEMA)
    try:
        if not is_intact(data):
            raise InputInvalid.at(
                file,
                "digest",
                expected="the digest of the content",
                found=(
                    "another one: the file was edited or merged by hand; record it again with "
                    "repro-gate record-baseline"
                ),
            )
        baseline = baseline_from_data(data)
    except (ValueError, OverflowError) as error:
        expected = "a consistent baseline"
        raise InputInvalid.at(file, "", expected=expected, found=str(error)) from error
    if baseline.source != source:
        raise InputInvalid.at(file, "source", expected=repr(source), found=repr(baseline.source))
    if baseline.id != cell_id:
        expected, found = f"the cell {cell_id}", f"the cell {baseline.id}"
        raise InputInvalid.at(file, "id", expected=expected, found=found)
    return baseline


PINS_SCHEMA: Final = "models-v1"


def parse_pins(content: bytes, *, file: Path) -> dict[str, str]:
    """Parse a file of pins; raises `InputInvalid`."""
    digests: dict[str, str] = parse_json(content, file=file, schema=PINS_SCHEMA)["sha256"]
    return digests


class ModelPinsFile:
    """`models.json`: the digests of models that the matrix does not pin."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pinned(self) -> Mapping[str, str]:
        """Return SHA-256 digests by model; raises `InputInvalid`."""
        if not self._file.exists():
            return {}
        content = read_regular_file(self._file, max_bytes=max_bytes_of(PINS_SCHEMA))
        return parse_pins(content, file=self._file)

    def pin(self, digests: Mapping[str, str]) -> None:
        """Add or change digests; raises `InputInvalid` for an invalid one."""
        document = {"schema": "repro-gate/models/v1", "sha256": {**self.pinned(), **digests}}
        validate(document, schema=PINS_SCHEMA, file=self._file)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, json.dumps(document, indent=2, sort_keys=True) + "\n")


def misplaced(folder: Path, *, trees: Collection[str], flat: Collection[str]) -> Iterator[Path]:
    """Yield what is in the folder of the snapshots and is read by nothing, and every link.

    Hidden files and Markdown are somebody's own.

    Args:
        folder: the folder of the snapshots, which need not exist.
        trees: its folders with one for each profile or source.
        flat: its folders with files only.
    """
    if folder.exists() and not folder.is_dir():
        yield folder
        return
    for path in _visible(folder):
        if path.is_symlink() or not path.is_dir():
            yield from [] if path.name == PINS and not path.is_symlink() else [path]
        elif path.name in flat:
            yield from _misplaced_files(path)
        elif path.name not in trees:
            yield path
        else:
            for profile in _visible(path):
                if profile.is_symlink() or not profile.is_dir() or not is_name(profile.name):
                    yield profile
                else:
                    yield from _misplaced_files(profile)


def _misplaced_files(folder: Path) -> Iterator[Path]:
    for path in _visible(folder):
        if path.suffix != ".json" or path.is_symlink() or not path.is_file():
            yield path


def _visible(folder: Path) -> list[Path]:
    if not folder.exists():
        return []
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in found if path.suffix != ".md")
