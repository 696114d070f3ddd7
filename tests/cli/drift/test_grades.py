"""Grades of drift, from the command line: references are recorded, and the engine changes."""

from typing import Any

import pytest

from tests.cli.workspaces import Workspace, matrix_of

_OTHER: dict[str, Any] = {"voice": "!", "moved": 0.5}
"""Another output, from other log-probabilities."""


def write_matrix(
    workspace: Workspace, *, fail_on: str = "drift", variant: int = 2, **settings: Any
) -> None:
    """Write a matrix of 10 cells, with a variant that misses some tokens of each golden."""
    engine = workspace.engine() | {"settings": settings}
    quick = matrix_of(engine, seeds=range(1, 6))["suites"]["quick"]
    workspace.write_matrix(
        engines={"scripted": engine},
        suites={"quick": {**quick, "fail_on": fail_on}},
        variants={"two": {"settings": {"missed": variant, "build": "other"}}},
    )


@pytest.fixture
def compared(workspace: Workspace) -> Workspace:
    """Return a workspace with goldens and a reference."""
    workspace.write_script(verifies=True)
    write_matrix(workspace)
    assert workspace.record().code == 0
    assert workspace.run("record-reference", "--yes").code == 0
    return workspace


@pytest.mark.parametrize(
    ("missed", "code", "word"),
    [(2, 0, "consistent with rounding"), (4, 10, "beyond rounding")],
)
def test_a_suite_lets_rounding_pass_and_nothing_else(
    compared: Workspace, missed: int, code: int, word: str
) -> None:
    """A suite of the default kind fails in both cases."""
    write_matrix(compared, fail_on="beyond-rounding", missed=missed, **_OTHER)
    ran = compared.run("check")
    assert (ran.code, word in ran.out) == (code, True), ran.err
    assert set(compared.verdicts().values()) == {"drift"}

    write_matrix(compared, missed=missed, **_OTHER)
    assert compared.run("check").code == 10


def test_without_a_current_reference_it_cannot_be_decided(compared: Workspace) -> None:
    """The recorded one is of another variant than the matrix has by now."""
    write_matrix(compared, fail_on="beyond-rounding", variant=3, missed=2, **_OTHER)

    ran = compared.run("check")

    assert (ran.code, "cannot be decided" in ran.out) == (4, True), ran.err
    assert compared.report()["grades"][0]["reason"] == "no reference"


def test_shards_are_graded_together(compared: Workspace) -> None:
    """Each alone has too few cells."""
    write_matrix(compared, fail_on="beyond-rounding", missed=2, **_OTHER)

    codes = [
        compared.run("check", "--shard", f"{index}/2", "--output", f"shards/{index}").code
        for index in (1, 2)
    ]

    assert (codes, compared.run("merge", "shards").code) == ([4, 4], 0)


def test_a_broken_reference_is_refused_before_anything_runs(compared: Workspace) -> None:
    """By its name."""
    (file,) = compared.snapshots.glob("references/*/*.json")
    file.write_text(file.read_text("utf-8").replace("[0.1,", "[7,", 1), "utf-8")
    (compared.folder / "asked.jsonl").unlink()

    ran = compared.run("check")

    assert (ran.code, file.name in ran.err, compared.asked()) == (3, True, [])
