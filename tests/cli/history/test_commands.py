"""`repro-gate history add` and `history export` in a real process."""

import json
from pathlib import Path

import pytest

from tests.cli.workspaces import Workspace
from tests.fakes.history import (
    FAR,
    drawn,
    log_of,
    sealed_session,
    session_cell_of,
    session_header_of,
)
from tests.fakes.scoring import NOW

CELL = session_cell_of(tokens=50, usd_per_million_tokens=2.0, center=-1.5, bound=8.0)


@pytest.fixture
def artifacts(workspace: Workspace) -> Path:
    """Return a folder with a night and the draws of a killed check, as runners upload them."""
    folder = workspace.folder / "artifacts"
    sealed_session(folder / "night", session_header_of(CELL), *drawn(FAR))
    check = folder / "check"
    check.mkdir()
    (check / "draws.jsonl").write_bytes(log_of(NOW) + drawn(FAR, purpose="first_look")[0])
    return folder


def test_sessions_are_added_once(workspace: Workspace, artifacts: Path) -> None:
    """What is new is printed, and the default folder is beside the matrix."""
    first, second = (workspace.run("history", "add", str(artifacts)) for _ in range(2))

    assert (first.code, second.code) == (0, 0)
    assert first.out.splitlines() == [
        "added checks/2026-01-02-c6a5c47c437d23a8 (interrupted)",
        "added nights/hosted/e0e0e0e0e0e0e0e0/2026-01-02-7-1",
        "2 new sessions, 0 known",
    ]
    assert second.out == "0 new sessions, 2 known\n"
    assert (workspace.output / "history" / "index.sqlite").exists()
    assert (workspace.output / ".gitignore").exists()


def test_a_month_later_the_draw_is_found_again(workspace: Workspace, artifacts: Path) -> None:
    """-156.5 with its request id, time, backend and tokens."""
    workspace.run("history", "add", str(artifacts / "night"))

    ran = workspace.run("history", "export", "--format", "jsonl", "--cell", "base--*")

    row = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "repro-gate: 1 draw exported\n")
    assert (row["total"], row["is_far"], row["request_id"]) == (-156.5, True, "req-1")
    assert (row["at"], row["backend"]) == ("2026-01-02T03:04:06.250+00:00", "h2")
    assert (row["tokens"], row["cached_tokens"]) == (50, 30)


@pytest.mark.parametrize("wanted", ["csv", "parquet"])
def test_an_export_is_a_file(workspace: Workspace, artifacts: Path, wanted: str) -> None:
    """An earlier export is replaced."""
    workspace.run("history", "add", str(artifacts))
    file = workspace.folder / f"draws.{wanted}"
    file.write_text("old")

    ran = workspace.run("history", "export", "--format", wanted, "--output", str(file))

    assert (ran.code, ran.out) == (0, "")
    assert file.read_bytes().startswith(b"PAR1" if wanted == "parquet" else b"kind,suite,")


def test_bad_values_are_refused(workspace: Workspace, artifacts: Path) -> None:
    """A wrong format or path, and an export of nothing, each has its code."""
    export = ("history", "export", "--format")
    assert workspace.run(*export, "csv").code == 3
    workspace.run("history", "add", str(artifacts))

    codes = {
        "xml": workspace.run(*export, "xml"),
        "parquet": workspace.run(*export, "parquet"),
        "nothing": workspace.run(*export, "csv", "--cell", "x"),
        "missing": workspace.run("history", "add", "missing"),
    }

    assert {name: ran.code for name, ran in codes.items()} == {
        "xml": 2,
        "parquet": 2,
        "nothing": 4,
        "missing": 3,
    }
    assert "one of csv, jsonl, parquet, not 'xml'" in codes["xml"].err
    assert "missing: expected a readable file, found none" in codes["missing"].err
