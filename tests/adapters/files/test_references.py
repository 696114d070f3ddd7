"""References: canonical files that are read as they were written, and strictly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.files.references import CurrentReferences, ReferenceFiles, reference_text
from repro_gate.core.tokens.reference import CellReference, Reference
from repro_gate.errors import InputInvalid
from tests.fakes.values import PROFILE, cell_of, matrix_of, suite_of

A, B = "tiny--fox--seed1", "tiny--fox--seed2"
REFERENCE = Reference(
    variant="two-threads",
    profile=PROFILE,
    measured_on="cpu-other",
    tool_version="0.1.0",
    provenance={"setting.threads": "2", "host.cpu": "AMD"},
    cells={
        B: CellReference(golden="b" * 64, distances=(0.5, 0.0325123), kl_divergence=None),
        A: CellReference(golden="a" * 64, distances=(0.0,), kl_divergence=0.00157798),
    },
    change={"setting.threads": "2"},
)


def _changed(folder: Path, **changes: Any) -> Path:
    """Write the usual reference with some keys replaced, and return its file."""
    document = json.loads(reference_text(REFERENCE)) | changes
    file = folder / PROFILE / "two-threads.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document), "utf-8")
    return file


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    """In the folder of the profile of its goldens."""
    files = ReferenceFiles(tmp_path / "references")
    assert not files.profiles()
    assert not files.recorded(PROFILE)
    other = replace(REFERENCE, variant="another", change={})

    files.write(REFERENCE)
    files.write(other)

    assert files.profiles() == {PROFILE}
    assert files.recorded(PROFILE) == {"another", "two-threads"}
    assert files.read(PROFILE) == (other, REFERENCE)
    assert files.read("cpu-none") == ()


def test_a_cell_is_one_line() -> None:
    """Sorted by id, so that a diff shows what was recorded again."""
    lines = reference_text(REFERENCE).splitlines()

    at = lines.index('  "cells": {')
    assert lines[at + 1].startswith(f'    "{A}": {{"golden": "aaa')
    assert lines[at + 1].endswith('"kl_divergence": 0.00157798, "distances": [0.0]},')
    assert lines[at + 2].endswith('"kl_divergence": null, "distances": [0.5, 0.0325123]}')
    assert lines[at + 3 :] == ["  }", "}"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "cpu-b"}, f"profile: expected '{PROFILE}', found 'cpu-b'"),
        ({"variant": "three"}, "variant: expected 'two-threads', found 'three'"),
        ({"measured_on": "No"}, "measured_on: expected a name of lower-case letters"),
        ({"change": {"setting.threads": 2}}, "change.setting.threads: expected"),
        ({"cells": {}}, "cells: expected at least 1 entry, found 0"),
        ({"note": ""}, "expected only the keys"),
    ],
)
def test_what_is_no_reference_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """With its file and place."""
    file = _changed(tmp_path, **changes)

    with pytest.raises(InputInvalid) as caught:
        ReferenceFiles(tmp_path).read(PROFILE)
    assert str(caught.value).startswith(f"{file}: {message}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distances": [0.6]}, "cells.tiny--fox--seed1.distances[0]: expected "),
        ({"distances": []}, "cells.tiny--fox--seed1.distances: expected at least 1"),
        ({"kl_divergence": -1}, "cells.tiny--fox--seed1.kl_divergence: expected "),
        ({"golden": "A" * 64}, "cells.tiny--fox--seed1.golden: expected the SHA-256"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """With its file and place."""
    cell = {"golden": "a" * 64, "distances": [0.1], "kl_divergence": 0.1} | changes
    file = _changed(tmp_path, cells={A: cell})

    with pytest.raises(InputInvalid) as caught:
        ReferenceFiles(tmp_path).read(PROFILE)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_a_value_that_only_the_type_refuses_names_the_file(tmp_path: Path) -> None:
    """Such as a number that is too large."""
    cell = {"golden": "a" * 64, "distances": [0.1], "kl_divergence": 10**400}
    file = _changed(tmp_path, cells={A: cell})

    with pytest.raises(InputInvalid) as caught:
        ReferenceFiles(tmp_path).read(PROFILE)
    assert str(caught.value).startswith(f"{file}: expected a consistent reference, found ")


def test_a_profile_reaches_no_other_folder(tmp_path: Path) -> None:
    """It comes from an engine."""
    with pytest.raises(InputInvalid, match="profile: expected a name, found"):
        ReferenceFiles(tmp_path).read("../goldens")


def test_only_references_that_the_matrix_names_count(tmp_path: Path) -> None:
    """The others are known by their names."""
    files = ReferenceFiles(tmp_path)
    machine = replace(REFERENCE, variant="h200", change={})
    files.write(REFERENCE)
    files.write(machine)

    current = CurrentReferences(files, matrix_of(suite_of(cell_of())))

    assert current.read(PROFILE) == (machine,)
    assert current.unused(PROFILE) == ("two-threads",)
