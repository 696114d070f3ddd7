"""Baselines on disk: one JSON file for each cell, one folder for each source."""

import json
from pathlib import Path
from typing import Final

from repro_gate.adapters.atomic import make_folder, require_no_links, write_atomically
from repro_gate.adapters.documents import read_json, require_readable
from repro_gate.core.baseline_format import from_data, is_intact, to_data
from repro_gate.core.baselines import Baseline
from repro_gate.errors import InputInvalid

_SCHEMA: Final = "baseline-v1"
_SMALLER: Final = "lower calibration_draws of the suite, or shorten the prompt or response"


class BaselineFiles:
    """The baselines below one folder: `FOLDER/SOURCE/CELL-ID.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sources(self) -> frozenset[str]:
        """Return the sources that have any baseline."""
        return frozenset(file.parent.name for file in self._folder.glob("*/[!.]*.json"))

    def recorded(self, source: str) -> frozenset[str]:
        """Return the ids of the cells that have a baseline for this very source."""
        return frozenset(file.stem for file in (self._folder / source).glob("[!.]*.json"))

    def read(self, source: str, cell_id: str) -> Baseline:
        """Return a recorded baseline, or raise `InputInvalid`."""
        return read_baseline(self.file(source, cell_id), source=source, cell_id=cell_id)

    def write(self, baseline: Baseline) -> None:
        """Write a baseline; afterwards the file is the old one or the new one, never a part.

        Raises:
            InputInvalid: its folder is a link, or no check would read so large a file.
        """
        file = self.file(baseline.source, baseline.id)
        require_no_links(self._folder)
        make_folder(file.parent)
        text = serialize(baseline)
        require_readable(text, schema=_SCHEMA, file=file, remedy=_SMALLER)
        write_atomically(file, text)

    def remove(self, source: str, cell_id: str) -> None:
        """Remove a baseline; raises `InputInvalid` as `write` does."""
        file = self.file(source, cell_id)
        require_no_links(self._folder, file.parent)
        file.unlink()

    def file(self, source: str, cell_id: str) -> Path:
        """Return where the baseline of a cell is kept."""
        return self._folder / source / f"{cell_id}.json"


def serialize(baseline: Baseline) -> str:
    """Return the text of a baseline file."""
    data = to_data(baseline)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_baseline(file: Path, *, source: str, cell_id: str) -> Baseline:
    """Return the baseline of a file; raises `InputInvalid` when it is edited or another's."""
    data = read_json(file, schema=_SCHEMA)
    try:
        if not is_intact(data):
            raise InputInvalid.at(
                file,
                "digest",
                expected="the digest of what the file says",
                found=(
                    "another one: the file was edited or merged by hand; record it again with "
                    "repro-gate record-baseline"
                ),
            )
        baseline = from_data(data)
    except (ValueError, OverflowError) as error:
        expected = "a consistent baseline"
        raise InputInvalid.at(file, "", expected=expected, found=str(error)) from error
    if baseline.source != source:
        raise InputInvalid.at(file, "source", expected=repr(source), found=repr(baseline.source))
    if baseline.id != cell_id:
        expected, found = f"the cell {cell_id}", f"the cell {baseline.id}"
        raise InputInvalid.at(file, "id", expected=expected, found=found)
    return baseline
