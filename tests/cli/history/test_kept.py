"""The page of a check shows the history of its cells that do not agree."""

import shutil
from pathlib import Path

import pytest

from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, open_session
from tests.cli.history.test_show import add_night
from tests.cli.hosted.workspaces import HostedWorkspace
from tests.docs.pages import ROOT
from tests.fakes.fireworks.effects import Rule, Shift
from tests.fakes.fireworks.server import Api
from tests.fakes.reports import every_verdict, report_of


def page_of(hosted: HostedWorkspace) -> str:
    """Check, and return the page."""
    hosted.check()
    return (hosted.output / "report.html").read_text("utf-8")


@pytest.fixture
def drifting(hosted: HostedWorkspace, api: Api) -> HostedWorkspace:
    """Return a workspace in which one of two items has shifted since its baseline."""
    hosted.ask(api.base_url)
    api.follow(Rule(effect=Shift(nats=-1.5), text="nine"))
    return hosted


def test_the_history_of_a_drift_is_on_the_page(drifting: HostedWorkspace) -> None:
    """Of the cell that drifted, and of no other."""
    for day in range(2, 6):
        add_night(drifting.folder / ".repro-gate" / "history", f"2026-01-0{day}", -42.0, -42.25)

    part = page_of(drifting).partition('<section id="history"')[2].partition("</section>")[0]

    assert "4 sessions, 2026-01-02 to 2026-01-05" in part
    assert part.count("<figure") == 1
    assert "train" in part


def test_without_a_history_the_page_has_no_such_section(drifting: HostedWorkspace) -> None:
    """Nothing is made for it either."""
    assert 'id="history"' not in page_of(drifting)
    assert not (drifting.folder / ".repro-gate" / "history").exists()


def test_a_broken_history_changes_nothing_but_a_sentence(drifting: HostedWorkspace) -> None:
    """The check has its verdict all the same."""
    history = drifting.folder / ".repro-gate" / "history"
    add_night(history, "2026-01-02", -42.0)
    (session,) = history.rglob("*.jsonl.gz")
    session.write_bytes(b"no session")

    code = drifting.check().code

    page = (drifting.output / "report.html").read_text("utf-8")
    assert code == 10
    assert "The history could not be read: " in page


def test_cells_that_agree_have_no_history(hosted: HostedWorkspace, api: Api) -> None:
    """There is nothing to look for."""
    hosted.ask(api.base_url)
    add_night(hosted.folder / ".repro-gate" / "history", "2026-01-02", -42.0)

    assert 'id="history"' not in page_of(hosted)


def test_a_check_whose_folder_was_removed_has_no_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checked code can remove the working directory; the check still has its verdict."""
    folder = tmp_path / "gone"
    shutil.copytree(ROOT / "docs" / "examples" / "markov", folder)
    monkeypatch.chdir(folder)
    workspace = wiring.workspace_for(open_session(Selection()))
    shutil.rmtree(folder)

    assert wiring.history_for(workspace, (), report_of(*every_verdict())) is None
