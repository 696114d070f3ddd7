"""Watches: `FOLDER/SUITE.json`, the open epoch of a suite and the alarms that were dismissed."""

import json
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.atomic import make_folder, require_no_links, write_atomically
from repro_gate.adapters.files.documents import max_bytes_of, parse_json, require_readable
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.core.watch.epoch import Watch
from repro_gate.core.watch.format import from_data, is_intact, to_data
from repro_gate.errors import InputInvalid

WATCHES: Final = "watch"
"""The folder below that of the snapshots."""
_SCHEMA: Final = "watch-v1"


class WatchFiles:
    """The watches below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, suite: str) -> Watch | None:
        """Return the watch of a suite, or None when none is open; raises `InputInvalid`."""
        file = self.file(suite)
        if not file.exists() and not file.is_symlink():
            return None
        return _read(file)

    def write(self, watch: Watch) -> None:
        """Write a watch; raises `InputInvalid` if its folder is a link, or it is too large."""
        file = self.file(watch.epoch.suite)
        require_no_links(self._folder)
        make_folder(file.parent)
        data = json.dumps(to_data(watch), indent=2, ensure_ascii=False, allow_nan=False)
        require_readable(data, schema=_SCHEMA, file=file, remedy="watch fewer cells")
        write_atomically(file, f"{data}\n")

    def file(self, suite: str) -> Path:
        """Return the path of a suite's watch."""
        return self._folder / f"{suite}.json"


def _read(file: Path) -> Watch:
    """Read a watch; raises `InputInvalid` if it was edited or is of another suite."""
    content = read_regular_file(file, max_bytes=max_bytes_of(_SCHEMA))
    data = parse_json(content, file=file, schema=_SCHEMA)
    if not is_intact(data):
        raise InputInvalid.at(
            file,
            "digest",
            expected="the digest of the content",
            found="another one: the file was edited or merged by hand; take it from the history "
            "of the repository, or remove it and open the watch again with repro-gate watch open",
        )
    suite = data["epoch"]["suite"]
    if suite != file.stem:
        raise InputInvalid.at(file, "epoch.suite", expected=repr(file.stem), found=repr(suite))
    try:
        return from_data(data)
    except (ValueError, OverflowError) as error:
        raise InputInvalid.at(file, "", expected="a consistent watch", found=str(error)) from error
