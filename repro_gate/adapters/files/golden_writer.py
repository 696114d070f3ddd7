"""Write goldens through syrupy: one JSON file for each cell, one folder for each profile.

The only module that uses syrupy's extension interface, which changes between major versions.
pytest's `snapshot` fixture uses the same class, so both write the same bytes. Reading, and writing
what a check observed, is in `snapshots`: a check should not wait for syrupy to import pytest.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from syrupy.data import Snapshot, SnapshotCollection
from syrupy.extensions.json import JSONSnapshotExtension
from syrupy.location import PyTestLocation

from repro_gate.adapters.files.parsing import text_of
from repro_gate.adapters.files.snapshots import GoldenFiles, read_golden_bytes, write_golden_text
from repro_gate.core.tokens.generation import first_divergence
from repro_gate.core.tokens.golden import Golden, definition_changes
from repro_gate.core.tokens.golden_format import from_data, to_data


class GoldenExtension(JSONSnapshotExtension):
    """Syrupy's JSON format, with the paths and the comparison of the gate."""

    folder: ClassVar[Path]

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        """Return the folder of the profile."""
        del test_location
        return str(cls.folder)

    @classmethod
    def get_file_basename(cls, *, test_location: PyTestLocation, index: object) -> str:
        """Return the cell id: the name of the snapshot, or the id of the test's parameter."""
        if isinstance(index, str):
            return index
        _, _, cell_id = test_location.snapshot_name.rstrip("]").partition("[")
        return cell_id

    @classmethod
    def matches_test_location(
        cls, *, test_location: PyTestLocation, snapshot_location: str
    ) -> bool:
        """Match by path; syrupy would look for the name of the test in it."""
        return snapshot_location == cls.get_location(test_location=test_location, index=0)

    @classmethod
    def discovery_dirname(cls, *, test_location: PyTestLocation) -> str:
        """Return a folder that does not exist.

        Syrupy deletes discovered files that no test used, such as the goldens of other suites.
        The gate prunes orphans itself.
        """
        return str(Path(cls.dirname(test_location=test_location)) / ".not-discovered")

    def read_snapshot_data_from_location(
        self, *, snapshot_location: str, snapshot_name: str, session_id: str
    ) -> str | None:
        """Return the text of a golden, or None; raises `InputInvalid`."""
        del snapshot_name, session_id
        file = Path(snapshot_location)
        return text_of(read_golden_bytes(file), file) if os.path.lexists(file) else None

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
        """Compare definition, prompt and tokens; everything else is only evidence."""
        try:
            observed, golden = _parse(serialized_data), _parse(snapshot_data)
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
            return False
        return (
            not definition_changes(golden.cell, observed.cell)
            and not golden.generation.lacks_logits_of(observed.generation)
            and not first_divergence(golden.generation, observed.generation)
        )

    def diff_lines(self, serialized_data: Any, snapshot_data: Any) -> Iterator[str]:
        """Yield the difference without the evidence, which would hide that of the tokens."""
        yield from super().diff_lines(*map(_without_evidence, (serialized_data, snapshot_data)))

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, name_order: dict[str, int] | None = None
    ) -> None:
        """Write the file atomically."""
        del name_order
        snapshot = next(iter(snapshot_collection))
        write_golden_text(str(snapshot.data), Path(snapshot_collection.location))


def golden_extension(folder: Path) -> type[GoldenExtension]:
    """Return an extension for the goldens of one folder."""
    return type("ProfileGoldenExtension", (GoldenExtension,), {"folder": folder})


def serialize(golden: Golden) -> str:
    """Return the text of a golden file."""
    return str(GoldenExtension().serialize(to_data(golden)))


class SyrupyGoldens(GoldenFiles):
    """The committed goldens, which syrupy writes."""

    def _write(self, golden: Golden, file: Path) -> None:
        collection = SnapshotCollection(location=str(file))
        collection.add(Snapshot(name=golden.cell.id, data=serialize(golden)))
        GoldenExtension.write_snapshot_collection(snapshot_collection=collection)


def _without_evidence(text: Any) -> str:
    try:
        data = json.loads(text)
        kept = {key: data[key] for key in data if key not in {"provenance", "trace"}}
    except (AttributeError, RecursionError, TypeError, ValueError):
        return str(text)
    return json.dumps(kept, indent=2, ensure_ascii=False)


def _parse(text: str) -> Golden:
    return from_data(json.loads(text))
