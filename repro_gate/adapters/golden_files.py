"""Reading goldens: one JSON file for each cell, one folder for each profile.

Apart from writing them, which needs syrupy: that brings pytest along, and a check should not have
to wait for its import.
"""

from pathlib import Path
from typing import Final

from repro_gate.adapters.documents import max_bytes_of, parse_json
from repro_gate.adapters.plain_files import read_plain
from repro_gate.core.cells import is_name
from repro_gate.core.golden_format import from_data
from repro_gate.core.goldens import Golden
from repro_gate.core.text import printable
from repro_gate.errors import InputInvalid

SCHEMA: Final = "golden-v1"


class GoldenFiles:
    """The goldens below one folder: `FOLDER/PROFILE/CELL-ID.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def profiles(self) -> frozenset[str]:
        """Return the profiles that have any golden; a folder of another name is none."""
        folders = {file.parent.name for file in self._folder.glob("*/[!.]*.json")}
        return frozenset(filter(is_name, folders))

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the ids of the cells that have a golden under this very profile.

        Raises:
            InputInvalid: the profile is no name.
        """
        return frozenset(file.stem for file in self._of(profile).glob("[!.]*.json"))

    def read(self, profile: str, cell_id: str) -> Golden:
        """Return a recorded golden, or raise `InputInvalid`."""
        file = self.file(profile, cell_id)
        return parse_golden(read_golden_bytes(file), file=file, profile=profile, cell_id=cell_id)

    def file(self, profile: str, cell_id: str) -> Path:
        """Return where the golden of a cell is kept; raises `InputInvalid` like `recorded`."""
        return self._of(profile) / f"{cell_id}.json"

    def _of(self, profile: str) -> Path:
        # Engines and downloads choose it, and none of them chooses a folder elsewhere.
        if not is_name(profile):
            raise InputInvalid.at(
                self._folder, "profile", expected="a name", found=printable(profile)
            )
        return self._folder / profile


def read_golden_bytes(file: Path) -> bytes:
    """Return the bytes of a golden, unread; raises `InputInvalid`."""
    return read_plain(file, max_bytes=max_bytes_of(SCHEMA))


def parse_golden(data: bytes, *, file: Path, profile: str, cell_id: str) -> Golden:
    """Return the golden of a file; raises `InputInvalid` when it is broken or another's."""
    document = parse_json(data, file=file, schema=SCHEMA)
    try:
        golden = from_data(document)
    except (ValueError, OverflowError) as error:
        raise InputInvalid.at(file, "", expected="a consistent golden", found=str(error)) from error
    if golden.profile != profile:
        raise InputInvalid.at(file, "profile", expected=repr(profile), found=repr(golden.profile))
    if golden.cell.id != cell_id:
        raise InputInvalid.at(
            file, "cell", expected=f"the cell {cell_id}", found=f"the cell {golden.cell.id}"
        )
    return golden
