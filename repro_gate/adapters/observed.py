"""`DIR/observed/`: what a check saw, in golden form, to be accepted where the GPU is not."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro_gate.adapters.files.documents import TooLarge, max_bytes_of, parse_json
from repro_gate.adapters.files.golden_writer import SyrupyGoldens
from repro_gate.adapters.files.snapshots import GOLDEN_SCHEMA, GoldenFiles, parse_golden
from repro_gate.adapters.files.untrusted_files import read_plain, require_no_link
from repro_gate.core.cells import require_name
from repro_gate.core.goldens import Facts, Golden
from repro_gate.core.matrix import Matrix
from repro_gate.core.text import printable
from repro_gate.errors import InputInvalid

FOLDER = "observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What another machine's check saw, as far as it can be believed."""

    goldens: tuple[Golden, ...]
    models: Mapping[str, Facts]
    """What that machine said of the models that it loaded."""


def write_observed(directory: Path, goldens: Sequence[Golden]) -> dict[str, str]:
    """Write goldens below a report folder and return the sha256 of each file by cell id.

    What an earlier check observed and this one did not is removed: a folder speaks of one check.
    """
    store = SyrupyGoldens(directory / FOLDER)
    current = {(golden.profile, golden.cell.id) for golden in goldens}
    for profile in store.profiles():
        for cell_id in store.recorded(profile):
            if (profile, cell_id) not in current and "--seed" in cell_id:
                store.remove(profile, cell_id)
    digests: dict[str, str] = {}
    for golden in goldens:
        try:
            store.write(golden)
        except TooLarge:
            # The verdict stands, and nobody can accept it from here.
            continue
        digests[golden.cell.id] = _sha256(store.file(golden.profile, golden.cell.id))
    return digests


def read_observed(directory: Path, *, matrix: Matrix) -> Observed:
    """Return what a report folder from elsewhere observed.

    It is an untrusted download: the names of the files come from our matrix and a checked
    profile, never from a path in it; only plain files are read, of a bounded size, and only when
    the report vouches for them by digest.

    Raises:
        InputInvalid: the report or a file is broken, is not what the report says, or speaks of
            another cell than the matrix.
    """
    report_file = directory / "report.json"
    data = read_plain(report_file, max_bytes=max_bytes_of("report-v1"), may_be_link=False)
    report = parse_json(data, file=report_file, schema="report-v1")
    cells = {cell.id: cell for cell in matrix.cells()}
    goldens: list[Golden] = []
    for index, entry in enumerate(report["cells"]):
        if entry["observed_sha256"] is None:
            continue
        if entry["id"] not in cells:
            raise InputInvalid.at(
                report_file,
                f"cells[{index}].id",
                expected="a cell of the matrix",
                found=printable(entry["id"]),
            )
        golden = _read_vouched(directory, entry)
        if golden.cell != cells[entry["id"]]:
            raise InputInvalid.at(
                report_file,
                f"cells[{index}]",
                expected="the definition that the matrix gives",
                found="another; this check was made with another matrix file",
            )
        goldens.append(golden)
    return Observed(goldens=tuple(goldens), models=report["models"])


def _read_vouched(directory: Path, entry: Mapping[str, Any]) -> Golden:
    profile, cell_id = entry["profile"], entry["id"]
    try:
        require_name(profile or "")
    except ValueError as error:
        raise InputInvalid.at(
            directory / "report.json", f"the profile of {cell_id}", expected="one", found=str(error)
        ) from error
    file = GoldenFiles(directory / FOLDER).file(profile, cell_id)
    for folder in (directory / FOLDER, file.parent):
        require_no_link(folder)
    data = read_plain(file, max_bytes=max_bytes_of(GOLDEN_SCHEMA), may_be_link=False)
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["observed_sha256"]:
        raise InputInvalid.at(
            file, "", expected=f"the sha256 {entry['observed_sha256']}", found=digest
        )
    return parse_golden(data, file=file, profile=profile, cell_id=cell_id)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
