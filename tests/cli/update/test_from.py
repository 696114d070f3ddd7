"""`update-snapshots --from`: accept the output that a check on another machine observed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workspaces import Workspace, contents_of

_OTHER = "other-gpu"
_FOX = f"observed/{_OTHER}/tiny--fox--seed1.json"


@pytest.fixture(scope="module")
def checked_once(recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report folder of a check on another machine, to be copied."""
    theirs = recorded_once.copied_to(tmp_path_factory.mktemp("elsewhere"))
    theirs.write_script(profile=_OTHER)
    assert theirs.run("check").code == 10
    return theirs.output


@pytest.fixture
def download(checked_once: Path, recorded: Workspace) -> Path:
    """Return the downloaded report folder in our workspace."""
    return Path(shutil.copytree(checked_once, recorded.folder / "download"))


def _accept(workspace: Workspace, *arguments: str) -> Any:
    ran = workspace.record("--from", "download", *arguments)
    assert workspace.asked("start") == [], "an engine was started"
    return ran


def _edited_report(download: Path, edit: Callable[[Any], None]) -> None:
    file = download / "report.json"
    document = json.loads(file.read_text("utf-8"))
    edit(document["result"]["report"])
    file.write_text(json.dumps(document), "utf-8")


def test_goldens_of_another_machine_are_written_to_its_profile(
    recorded: Workspace, download: Path
) -> None:
    """Those of this machine are unchanged."""
    before = contents_of(recorded.snapshots)

    ran = _accept(recorded)

    after = contents_of(recorded.snapshots)
    theirs = {name for name in after if name.startswith(f"goldens/{_OTHER}/")}
    assert (ran.code, len(theirs), after.keys() - before.keys()) == (0, 4, theirs)
    assert {name: after[name] for name in before} == before


def test_the_other_machine_passes_with_the_accepted_goldens(
    recorded: Workspace, download: Path
) -> None:
    """The next check there agrees."""
    _accept(recorded)
    recorded.write_script(profile=_OTHER)

    assert recorded.run("check").code == 0


def test_the_model_is_pinned_to_the_file_of_the_other_machine(
    recorded: Workspace, download: Path
) -> None:
    """A workspace without pins takes them from the report."""
    pins = recorded.snapshots / "models.json"
    before = pins.read_bytes()
    pins.unlink()

    _accept(recorded)

    assert pins.read_bytes() == before


def test_only_and_suite_limit_what_is_accepted(recorded: Workspace, download: Path) -> None:
    """One cell of the download can be accepted alone."""
    ran = _accept(recorded, "--suite", "quick", "--only", "tiny--fox--seed1")

    assert "1 new; 0 unchanged, 0 refused" in ran.out


def test_suites_outside_the_default_are_accepted_too(recorded: Workspace, download: Path) -> None:
    """The other check has chosen its suites."""
    other = {"runs": 1, "seeds": [9], "prompts": {"tiny": ["fox"]}}
    theirs = {"runs": 2, "seeds": [1, 2], "prompts": {"tiny": ["haiku", "fox"]}}
    recorded.write_matrix(suites={"quick": other, "slow": theirs})

    assert "4 new; 0 unchanged, 0 refused" in _accept(recorded).out


def _tamper_with_a_golden(download: Path) -> None:
    file = download / _FOX
    file.write_text(file.read_text("utf-8").replace(" Say", " say", 1) + "\n", "utf-8")


def _put_in_a_link_to_a_golden(download: Path) -> None:
    (download / _FOX).rename(download / "aside.json")
    (download / _FOX).symlink_to(download / "aside.json")


def _put_in_a_link_to_a_profile(download: Path) -> None:
    (download / "observed" / _OTHER).rename(download / "aside")
    (download / "observed" / _OTHER).symlink_to(download / "aside")


def _put_in_a_link_to_everything(download: Path) -> None:
    (download / "observed").rename(download / "aside")
    (download / "observed").symlink_to(download / "aside")


def _put_in_a_link_to_the_report(download: Path) -> None:
    (download / "report.json").rename(download / "aside.json")
    (download / "report.json").symlink_to(download / "aside.json")


def _remove_the_report(download: Path) -> None:
    (download / "report.json").unlink()


def _remove_a_golden(download: Path) -> None:
    (download / _FOX).unlink()


def _name_an_unknown_cell(download: Path) -> None:
    def edit(report: Any) -> None:
        report["cells"][0]["cell"]["prompt"] = "wolf"

    _edited_report(download, edit)


def _leave_the_folder(download: Path) -> None:
    def edit(report: Any) -> None:
        report["cells"][0]["profile"] = "../../snapshots/goldens/test-cpu"

    _edited_report(download, edit)


def _claim_another_model(download: Path) -> None:
    def edit(report: Any) -> None:
        report["models"]["tiny"]["model.sha256"] = "0" * 64

    _edited_report(download, edit)


def _claim_a_model_without_a_digest(download: Path) -> None:
    def edit(report: Any) -> None:
        report["models"]["tiny"]["model.sha256"] = "\x1b[31m"

    (download.parent / "snapshots" / "models.json").unlink()
    _edited_report(download, edit)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (_tamper_with_a_golden, f"{_FOX}: expected the sha256 "),
        (_put_in_a_link_to_a_golden, f"{_FOX}: expected no symbolic link, found one"),
        (_put_in_a_link_to_a_profile, f"observed/{_OTHER}: expected no symbolic link, found one"),
        (_put_in_a_link_to_everything, "observed: expected no symbolic link, found one"),
        (_put_in_a_link_to_the_report, "report.json: expected no symbolic link, found one"),
        (_remove_the_report, "report.json: expected a readable file"),
        (_remove_a_golden, f"{_FOX}: expected a readable file"),
        (
            _name_an_unknown_cell,
            "report.json: result: expected a consistent finished check, found ",
        ),
        (_leave_the_folder, "report.json: "),
        (_claim_another_model, "report.json: result.report.models.tiny: expected the sha256 "),
        (
            _claim_a_model_without_a_digest,
            "report.json: result.report.models.tiny: expected a SHA-256, found \\x1b",
        ),
    ],
    ids=lambda value: value.__name__.lstrip("_") if callable(value) else "",
)
def test_an_invalid_download_is_refused(
    recorded: Workspace, download: Path, tamper: Callable[[Path], None], message: str
) -> None:
    """Nothing of it is written, and the message names the problem."""
    tamper(download)
    before = contents_of(recorded.snapshots)

    ran = _accept(recorded)

    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"repro-gate: download/{message}")
    assert contents_of(recorded.snapshots) == before


def test_another_definition_is_refused(recorded: Workspace, download: Path) -> None:
    """A check with another matrix is refused."""
    recorded.write_matrix(sampler={"top_k": 41, "top_p": 0.95, "min_p": 0.05})

    ran = _accept(recorded)

    assert (ran.code, "this check was made with another matrix file" in ran.err) == (3, True)
