"""The files of `init` are written all or not at all, and nothing that is there is lost."""

from pathlib import Path

import pytest

from repro_gate.cli.start.choose import SourceOptions
from repro_gate.cli.start.init import InitOptions, run_init
from repro_gate.cli.start.writing import NewFile, Project, ignore_file, write_files
from repro_gate.errors import InputInvalid
from tests.cli.workspaces import contents_of
from tests.fakes.machines import FakeMachine


def _init(folder: Path) -> None:
    run_init(InitOptions(asked=SourceOptions(yes=True), folder=folder), FakeMachine())


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_matrix_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    """Nor is anything else of its name; the message has what to do."""
    matrix = tmp_path / "repro-gate.toml"
    match kind:
        case "file":
            matrix.write_text("mine")
        case "link":
            matrix.symlink_to("nowhere")
        case _:
            matrix.mkdir()
    before = contents_of(tmp_path)

    with pytest.raises(InputInvalid, match=r"repro-gate\.toml: .* move it away and run init again"):
        _init(tmp_path)

    assert contents_of(tmp_path) == before


def test_a_workflow_that_is_there_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And mentioned."""
    workflow = tmp_path / ".github/workflows/gate.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("mine")

    _init(tmp_path)

    assert workflow.read_text() == "mine"
    assert "left out .github/workflows/gate.yml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b".repro-gate/\n"),
        (b"*.log\n", b"*.log\n.repro-gate/\n"),
        (b"*.log", b"*.log\n.repro-gate/\n"),
        (b"*.log\r\n", b"*.log\r\n.repro-gate/\r\n"),
        (b"\xff\n", b"\xff\n.repro-gate/\n"),
    ],
)
def test_reports_are_ignored_by_one_more_line(tmp_path: Path, before: bytes, after: bytes) -> None:
    """Everything else stays, and so do its permissions."""
    file = tmp_path / ".gitignore"
    file.write_bytes(before)
    file.chmod(0o600)

    _init(tmp_path)

    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (after, 0o600)


@pytest.mark.parametrize("line", [".repro-gate", "/.repro-gate/", "  .repro-gate/  "])
def test_reports_that_are_ignored_get_no_second_line(tmp_path: Path, line: str) -> None:
    """In any of its forms."""
    (tmp_path / ".gitignore").write_text(f"a\n{line}\nb\n")

    assert ignore_file(Project.of(tmp_path)) is None


def test_a_linked_ignore_file_is_left(tmp_path: Path) -> None:
    """It may belong to something else."""
    (tmp_path / ".gitignore").symlink_to("nowhere")

    assert ignore_file(Project.of(tmp_path)) is None


def test_a_failure_takes_everything_back(tmp_path: Path) -> None:
    """New folders too, and what a file had before."""
    ignored = tmp_path / ".gitignore"
    ignored.write_bytes(b"a\n")
    before = contents_of(tmp_path)
    files = [
        NewFile(path=tmp_path / "new/folder/a", content=b"1"),
        NewFile(path=ignored, content=b"a\nb\n", before=b"a\n"),
        NewFile(path=ignored, content=b"is there by now"),
    ]

    with pytest.raises(InputInvalid, match=r"\.gitignore: expected no such file yet"):
        write_files(Project.of(tmp_path), files)

    assert contents_of(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    """The workflow would be written elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github/workflows").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputInvalid, match="found a symbolic link"):
        _init(tmp_path)

    assert not (tmp_path / "repro-gate.toml").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []
