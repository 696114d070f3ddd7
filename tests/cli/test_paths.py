"""Where a command finds its matrix, and where its reports go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repro_gate.cli.paths import (
    REPORT_FILES,
    matrix_file,
    remove_reports,
    remove_reports_quietly,
    report_folder,
)
from repro_gate.cli.wiring import REPORTS
from tests.cli.workspaces import Workspace, contents_of, ended

_MATRIX = "repro-gate.toml"


@pytest.fixture
def inner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, two folders below the root of a repository."""
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    folder = tmp_path / "repository" / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("above", [".", "..", "../.."])
def test_the_matrix_is_searched_upwards(inner: Path, above: str) -> None:
    """In every folder from the working directory to the root of the repository."""
    (inner / above / _MATRIX).touch()

    assert (matrix_file(None), report_folder(None, None)) == (
        Path(above, _MATRIX),
        Path(above, ".repro-gate"),
    )


def test_the_nearest_matrix_counts(inner: Path) -> None:
    """A part of a repository may have its own matrix."""
    (inner.parent / _MATRIX).touch()
    (inner.parent.parent / _MATRIX).touch()

    assert matrix_file(None) == Path("..", _MATRIX)


def test_a_given_matrix_is_not_searched(inner: Path) -> None:
    """The reports of a given matrix go to the working directory."""
    (inner.parent / _MATRIX).touch()
    given = Path("mine.toml")

    assert (matrix_file(given), report_folder(None, given)) == (given, Path(".repro-gate"))
    assert report_folder(Path("out"), None) == Path("out")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_the_search_ends_at_the_root_of_a_repository(
    inner: Path, workspace: Workspace, kind: str
) -> None:
    """A matrix outside of it is not used; a worktree has a file in place of the folder."""
    if kind == "file":
        (inner / "../../.git").rmdir()
        (inner / "../../.git").touch()
    root = inner.parent.parent
    assert (root.parent / _MATRIX).exists()

    ran = ended(workspace.start("doctor", cwd=inner))

    assert ran.code == 3
    assert ran.err == (
        "repro-gate: repro-gate.toml: expected a matrix file in this folder and those above, up to "
        f"{root}, found none; write one with `repro-gate init`, or give a file "
        "with --config\n"
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_the_matrix_of_another_user_is_refused(inner: Path, workspace: Workspace) -> None:
    """It could name any command; --config uses it anyway."""
    planted = inner.parent / _MATRIX
    planted.write_bytes((workspace.folder / _MATRIX).read_bytes())
    os.chown(planted, 12345, -1)

    ran = ended(workspace.start("check", cwd=inner))
    named = ended(workspace.start("models", "list", "--config", f"../{_MATRIX}", cwd=inner))

    assert (ran.code, named.code, list(inner.iterdir())) == (3, 0, [])
    assert ran.err == (
        "repro-gate: ../repro-gate.toml: expected a file of the user who owns the working "
        "directory, found another owner; if you trust it, give --config ../repro-gate.toml\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("update-snapshots", "--yes"),
        ("doctor",),
        ("models", "list"),
        ("models", "fetch"),
        ("models", "verify"),
    ],
)
def test_a_command_in_a_subfolder_uses_the_matrix_above(
    recorded: Workspace, command: tuple[str, ...]
) -> None:
    """Nothing is written there, and the result is that of the folder of the matrix."""
    inner = recorded.folder / "deep" / "er"
    inner.mkdir(parents=True)

    here, there = recorded.run(*command), ended(recorded.start(*command, cwd=inner))

    assert (there.code, list(inner.iterdir())) == (here.code, [])


def test_commands_of_a_report_work_in_the_subfolder(recorded: Workspace) -> None:
    """They need no --config, and a shard can be merged there."""
    inner = recorded.folder / "deep"
    inner.mkdir()
    recorded.golden("tiny--fox--seed1").unlink()

    ran = ended(recorded.start("check", "--shard", "1/1", cwd=inner))
    merged = ended(recorded.start("merge", "../.repro-gate", cwd=inner))

    assert (ran.code, merged.code) == (10, 10)
    assert "repro-gate update-snapshots --suite quick --only tiny--fox--seed1" in merged.out
    assert recorded.verdicts()["tiny--fox--seed1"] == "unrecorded"


def test_a_new_report_folder_is_ignored_by_git(recorded: Workspace) -> None:
    """By a .gitignore of its own."""
    recorded.run("check")

    assert (recorded.output / ".gitignore").read_text("utf-8") == "*\n"


@pytest.mark.parametrize("output", [".repro-gate", "reports"])
def test_an_existing_or_named_folder_gets_no_gitignore(recorded: Workspace, output: str) -> None:
    """Its owner decides."""
    if output == ".repro-gate":
        recorded.output.mkdir()

    recorded.run("check", "--output", output)

    assert ".gitignore" not in contents_of(recorded.folder / output)


def _filled(folder: Path) -> Path:
    for name in (*REPORT_FILES, "draws.jsonl"):
        (folder / name).touch()
    return folder


def test_no_report_of_an_earlier_check_stays(tmp_path: Path) -> None:
    """Draws may stay, as --resume needs them."""
    remove_reports(_filled(tmp_path))

    assert [file.name for file in tmp_path.iterdir()] == ["draws.jsonl"]


def test_every_report_is_one_that_must_not_stay() -> None:
    """Whatever a check writes, the next one removes."""
    assert {"report.json", *REPORTS, "shard.json"} == {*REPORT_FILES}


def test_the_reports_of_an_earlier_check_are_removed_before_slow_imports(tmp_path: Path) -> None:
    """A check that is killed while it imports leaves no report that is not its own."""
    script = (
        "import sys; from pathlib import Path; from repro_gate.cli.paths import remove_reports; "
        f"remove_reports(Path({str(_filled(tmp_path))!r})); "
        "print(*sorted({'jsonschema', 'repro_gate.ports', 'repro_gate.reports'} & {*sys.modules}))"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)

    assert (ran.stdout, [file.name for file in tmp_path.iterdir()]) == ("\n", ["draws.jsonl"])


def test_a_shard_to_merge_stays(tmp_path: Path) -> None:
    """A merge may write where it reads."""
    remove_reports_quietly(_filled(tmp_path), keeps_shard=True)

    assert {file.name for file in tmp_path.iterdir()} == {"draws.jsonl", "shard.json"}


def test_a_report_that_cannot_be_removed_is_an_error_later(tmp_path: Path) -> None:
    """A file in place of the folder is reported on writing."""
    (tmp_path / "file").touch()

    remove_reports_quietly(tmp_path / "file")

    assert (tmp_path / "file").exists()
