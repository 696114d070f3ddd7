"""References: `FOLDER/PROFILE/VARIANT.json`, how far a harmless change moves the goldens."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from repro_gate.adapters.files.atomic import make_folder, require_no_links, write_atomically
from repro_gate.adapters.files.documents import max_bytes_of, parse_json, require_readable
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.core.guards import is_name
from repro_gate.core.matrix import Matrix
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.reference import CellReference, Reference
from repro_gate.errors import InputInvalid

REFERENCES: Final = "references"
"""The folder below that of the snapshots; it has one folder for each profile of goldens."""
_SCHEMA: Final = "reference-v1"


class ReferenceFiles:
    """The references below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def profiles(self) -> frozenset[str]:
        """Return the profiles of goldens that have references."""
        folders = {file.parent.name for file in self._folder.glob("*/[!.]*.json")}
        return frozenset(filter(is_name, folders))

    def recorded(self, profile: str) -> frozenset[str]:
        """Return the names of the variants that were recorded for the goldens of a profile."""
        return frozenset(file.stem for file in self._of(profile).glob("[!.]*.json"))

    def read(self, profile: str) -> tuple[Reference, ...]:
        """Return the references for the goldens of a profile, or raise `InputInvalid`."""
        return tuple(self.of(profile, name) for name in sorted(self.recorded(profile)))

    def of(self, profile: str, variant: str) -> Reference:
        """Return a recorded reference, or raise `InputInvalid`."""
        return _read(self._file(profile, variant))

    def write(self, reference: Reference) -> None:
        """Write a reference; raises `InputInvalid` if a folder is a link, or it is too large."""
        file = self._file(reference.profile, reference.variant)
        require_no_links(self._folder)
        make_folder(file.parent)
        text = reference_text(reference)
        require_readable(text, schema=_SCHEMA, file=file, remedy="record fewer cells")
        write_atomically(file, text)

    def _file(self, profile: str, variant: str) -> Path:
        return self._of(profile) / f"{variant}.json"

    def _of(self, profile: str) -> Path:
        # It comes from engines, which must not reach other folders.
        if not is_name(profile):
            raise InputInvalid.at(
                self._folder, "profile", expected="a name", found=escape_text(profile)
            )
        return self._folder / profile


class CurrentReferences:
    """The references that count: those of a variant as the matrix has it, and of machines."""

    def __init__(self, files: ReferenceFiles, matrix: Matrix) -> None:
        self._files = files
        self._matrix = matrix

    def read(self, profile: str) -> tuple[Reference, ...]:
        """Return those for the goldens of a profile, or raise `InputInvalid`."""
        return tuple(filter(self._matrix.names, self._files.read(profile)))

    def unused(self, profile: str) -> tuple[str, ...]:
        """Return the names of the others, or raise `InputInvalid`."""
        found = self._files.read(profile)
        return tuple(each.variant for each in found if not self._matrix.names(each))


def reference_text(reference: Reference) -> str:
    """Return the text of a file, in which a cell has one line."""
    cells = {cell_id: _cell_text(cell) for cell_id, cell in sorted(reference.cells.items())}
    lines = [f"    {json.dumps(cell_id)}: {text}" for cell_id, text in cells.items()]
    head = {
        "schema": "repro-gate/reference/v1",
        "profile": reference.profile,
        "variant": reference.variant,
        "measured_on": reference.measured_on,
        "repro_gate": reference.tool_version,
        "change": _facts(reference.change),
        "provenance": _facts(reference.provenance),
    }
    opened = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
    return "\n".join([f"{opened},", '  "cells": {', ",\n".join(lines), "  }", "}", ""])


def _facts(facts: Facts) -> Mapping[str, str]:
    return dict(sorted(facts.items()))


def _cell_text(cell: CellReference) -> str:
    return json.dumps(
        {"golden": cell.golden, "kl_divergence": cell.kl_divergence, "distances": cell.distances},
        allow_nan=False,
    )


def _read(file: Path) -> Reference:
    """Read a reference; raises `InputInvalid` if it is invalid or of another place."""
    data = read_regular_file(file, max_bytes=max_bytes_of(_SCHEMA))
    document = parse_json(data, file=file, schema=_SCHEMA)
    for key, expected in (("profile", file.parent.name), ("variant", file.stem)):
        if document[key] != expected:
            raise InputInvalid.at(file, key, expected=repr(expected), found=repr(document[key]))
    try:
        return _reference(document)
    except (ValueError, OverflowError) as error:
        raise InputInvalid.at(
            file, "", expected="a consistent reference", found=str(error)
        ) from error


def _reference(document: Mapping[str, Any]) -> Reference:
    return Reference(
        variant=document["variant"],
        profile=document["profile"],
        measured_on=document["measured_on"],
        tool_version=document["repro_gate"],
        provenance=document["provenance"],
        change=document["change"],
        cells={
            cell_id: CellReference(
                golden=cell["golden"],
                distances=tuple(map(float, cell["distances"])),
                kl_divergence=_optional(cell["kl_divergence"]),
            )
            for cell_id, cell in document["cells"].items()
        },
    )


def _optional(number: float | None) -> float | None:
    return None if number is None else float(number)
