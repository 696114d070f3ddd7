"""A report is downloaded with the user's `gh`; what goes wrong there is named."""

from pathlib import Path

import pytest

from repro_gate.adapters.github import artifact
from repro_gate.adapters.github.artifact import download_report
from repro_gate.errors import MeasurementUnavailable, UsageInvalid

_SAVES = (
    """D="${5#--dir=}"; mkdir "$D"; echo "$*" > "$D/report.json"; echo {} > "$D/review.json\""""
)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the runs; `gh` is searched for beside it."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "runs"


def _gh(runs: Path, script: str) -> None:
    (runs.parent / "gh").write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    (runs.parent / "gh").chmod(0o755)


def test_the_artifact_replaces_an_earlier_download(runs: Path) -> None:
    """Only the decisions of the reviewer stay, and none comes with the artifact."""
    _gh(runs, _SAVES)
    folder = download_report("42", "my gate", runs)
    assert (folder, (folder / "review.json").exists()) == (runs / "42", False)
    (folder / "review.json").write_text("mine", "utf-8")
    (folder / "stale").touch()

    download_report("42", "my gate", runs)

    assert {file.name for file in folder.iterdir()} == {"report.json", "review.json"}
    assert (folder / "review.json").read_text("utf-8") == "mine"
    called = (folder / "report.json").read_text("utf-8")
    assert called.startswith("run download 42 --name=my gate --dir=")
    assert [entry.name for entry in runs.iterdir()] == ["42"]


def test_a_link_in_the_place_of_a_download_is_replaced(runs: Path, tmp_path: Path) -> None:
    """Its target is not touched."""
    _gh(runs, _SAVES)
    (tmp_path / "precious").mkdir()
    runs.mkdir()
    (runs / "42").symlink_to(tmp_path / "precious")

    folder = download_report("42", "gate", runs)

    assert not folder.is_symlink()
    assert list((tmp_path / "precious").iterdir()) == []


@pytest.mark.parametrize(
    ("stderr", "message", "remedy"),
    [
        (
            "To get started with GitHub CLI, please run:  gh auth login",
            "gh is not logged in",
            "gh auth login",
        ),
        (
            "no valid artifacts found to download",
            "the run has no artifact 'gate', or it has expired",
            "give the name of its artifact with --name",
        ),
        (
            "no artifact matches any of the names or patterns provided",
            "the run has no artifact 'gate'",
            "--name",
        ),
        ("HTTP 404: Not Found", "there is no run 42 in the repository of this", "actions/runs/ID"),
        ("error connecting to api", "gh run download failed: error connecting to api", "--from"),
        ("", "gh run download failed: no message", "--from"),
    ],
)
def test_a_failure_of_gh_is_named(runs: Path, stderr: str, message: str, remedy: str) -> None:
    """With what to do, and the words of gh; nothing is left behind."""
    _gh(runs, f"echo '{stderr}' >&2; exit 1")

    with pytest.raises(MeasurementUnavailable) as failed:
        download_report("42", "gate", runs)

    assert message in failed.value.reason
    assert stderr in failed.value.reason
    assert remedy in failed.value.remedy
    assert list(runs.iterdir()) == []


def test_without_gh_its_address_is_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact can be downloaded by hand too."""
    monkeypatch.setenv("PATH", str(runs))

    with pytest.raises(MeasurementUnavailable, match="was not found") as failed:
        download_report("42", "gate", runs)

    assert "cli.github.com" in failed.value.remedy


def test_a_gh_that_cannot_be_started_is_named(runs: Path) -> None:
    """Such as one for another kind of machine."""
    _gh(runs, "")
    (runs.parent / "gh").write_bytes(b"\x7fELF")

    with pytest.raises(MeasurementUnavailable, match="gh cannot be started"):
        download_report("42", "gate", runs)


def test_a_gh_that_hangs_is_stopped(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A review does not wait for ever."""
    monkeypatch.setattr(artifact, "_TIMEOUT_S", 0.1)
    _gh(runs, "exec sleep 60")

    with pytest.raises(MeasurementUnavailable, match="did not download the artifact within"):
        download_report("42", "gate", runs)


@pytest.mark.parametrize("run", ["", "0", "-1", "1 2", "x", "٣", "1\n", "1" * 21])
def test_an_id_that_is_no_number_is_refused(runs: Path, run: str) -> None:
    """It is never handed to gh."""
    with pytest.raises(UsageInvalid, match="the id of a run is a number"):
        download_report(run, "gate", runs)


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a\\b", "a\nb", "*", "x" * 257])
def test_a_name_that_is_none_is_refused(runs: Path, name: str) -> None:
    """Nor does it look like an option."""
    with pytest.raises(UsageInvalid, match="an artifact cannot have the name"):
        download_report("42", name, runs)
