"""`DIR/observed/`: what a check observed, as goldens that another machine may accept.

Only what matches no golden is written: the report has the tokens of the rest.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repro_gate.adapters.files.documents import TooLarge, max_bytes_of
from repro_gate.adapters.files.results import REPORT, read_result, require_finished
from repro_gate.adapters.files.snapshots import GOLDEN_SCHEMA, GoldenFiles, parse_golden
from repro_gate.adapters.files.untrusted_files import read_regular_file, require_no_link
from repro_gate.core.matrix import Matrix
from repro_gate.core.report import GateReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.verdicts import Depends, Match
from repro_gate.errors import InputInvalid

FOLDER = "observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a check on another machine observed, as far as the report folder is consistent."""

    goldens: tuple[Golden, ...]
    """Of the cells that match no golden."""
    report: GateReport
    """Its cells that match are in the matrix, as the matrix defines them."""


def write_observed(directory: Path, goldens: Sequence[Golden]) -> dict[str, str]:
    """Write goldens below a report folder and return the sha256 of each file by cell id.

    What an earlier check observed and this one did not is removed.
    """
    store = GoldenFiles(directory / FOLDER)
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
            # The verdict stands; it only cannot be accepted from here.
            continue
        digests[golden.cell.id] = _sha256(store.file(golden.profile, golden.cell.id))
    return digests


def read_observed(directory: Path, *, matrix: Matrix) -> Observed:
    """Return what a check on another machine observed.

    The report folder is an untrusted download: the names of the files come from our matrix and a
    checked profile, never from a path in it; only plain files of a bounded size are read, and only
    those whose digest is in the report.

    Raises:
        InputInvalid: the report or a file is not valid, a file has another digest, or a cell is not
            in the matrix as the report has it.
    """
    file = directory / REPORT
    result = require_finished(read_result(file), file)
    planned = {cell.id: cell for cell in matrix.cells()}
    goldens: list[Golden] = []
    for index, seen in enumerate(result.report.cells):
        digest = result.observed.get(seen.id)
        if seen.profile is None or (
            digest is None and not isinstance(seen.verdict, Match | Depends)
        ):
            continue
        place = f"result.report.cells[{index}]"
        if seen.id not in planned:
            found = escape_text(seen.id)
            raise InputInvalid.at(file, f"{place}.id", expected="a cell of the matrix", found=found)
        golden = (
            None
            if digest is None
            else _read_golden(directory / FOLDER, seen.profile, seen.id, digest=digest)
        )
        cell = golden.cell if golden else seen.cell
        if cell != planned[seen.id]:
            raise InputInvalid.at(
                file,
                place,
                expected="the definition that the matrix gives",
                found="another; this check was made with another matrix file",
            )
        if cell.model not in result.report.models:
            expected = f"{cell.model}, which {seen.id} is of"
            raise InputInvalid.at(file, "result.report.models", expected=expected, found="none")
        if golden:
            goldens.append(golden)
    return Observed(goldens=tuple(goldens), report=result.report)


def _read_golden(observed: Path, profile: str, cell_id: str, *, digest: str) -> Golden:
    file = GoldenFiles(observed).file(profile, cell_id)
    for folder in (observed, file.parent):
        require_no_link(folder)
    data = read_regular_file(file, max_bytes=max_bytes_of(GOLDEN_SCHEMA), may_be_link=False)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise InputInvalid.at(file, "", expected=f"the sha256 {digest}", found=found)
    return parse_golden(data, file=file, profile=profile, cell_id=cell_id)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
