"""`repro-gate demo`: real checks, each with the verdict that it is there to show."""

import io
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.demo import PAGE, page_of
from repro_gate.adapters.models.packages import package_file_of
from repro_gate.cli.start.demo import DemoOptions, choose_model, show
from repro_gate.cli.start.running import EndedCommand
from repro_gate.cli.start.scenarios import SMOLLM2, TINY, WITHOUT_LLAMA_CPP, gates_of
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.verdicts import Match
from repro_gate.errors import UsageInvalid
from tests.cli.workspaces import Ran, Workspace, ended
from tests.fakes.reports import every_verdict, report_of


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where the demo is kept."""
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def shown(cache: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run the demo once, with the model that is there, as a job of CI would."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("empty"), cache=cache)
    return workspace.run("demo", "--keep", str(kept), CI="true", REPRO_GATE_FAIL_ON="never")


def test_every_check_gives_what_it_shows(shown: Ran) -> None:
    """Also in CI, where nothing else is recorded, and whatever the variables of a check are."""
    assert (shown.code, shown.err) == (0, "")
    assert "15 of 15 verdicts are the expected ones" in shown.out
    assert shown.out.splitlines()[-1].startswith("next: repro-gate init")


def test_the_recorded_session_is_what_is_printed(shown: Ran) -> None:
    """But for the tokens of the model, and what is about it."""
    page, printed = (_blocks(text) for text in (PAGE.read_text("utf-8"), page_of(shown.out)))
    assert len(page) == len(printed)
    same = [one for one in printed[3:-1] if "model--" not in one]
    assert len(same) > 15
    assert [one for one in same if one not in page] == []


def test_what_is_kept_can_be_checked_again(kept: Path, shown: Ran, cache: Path) -> None:
    """The reports are there, and a folder needs nothing from outside."""
    assert (kept / "log-probabilities" / "changed" / ".repro-gate" / "report.json").is_file()
    ran = Workspace(folder=kept / "tokens" / "stopped", cache=cache).run("check", "-q")
    assert ran.code == 4, ran.out + ran.err


def test_a_folder_with_something_in_it_is_refused(kept: Path, shown: Ran, cache: Path) -> None:
    """Nothing of the user is overwritten."""
    ran = Workspace(folder=kept.parent, cache=cache).run("demo", "--keep", "kept")
    assert (ran.code, "is no empty folder" in ran.err) == (2, True)


def test_another_verdict_is_not_passed_off_as_the_expected_one() -> None:
    """It is shown as what it is, and counted as wrong."""
    for cell in every_verdict():
        is_wrong, printed = _shown(expected=Match.word, id=cell.id, report=report_of(cell))
        assert is_wrong == (not isinstance(cell.verdict, Match))
        assert f"\n{cell.verdict.word}  {cell.id}\n" in printed
        assert ("expected" in printed) == is_wrong


@pytest.mark.parametrize("report", [None, report_of(*every_verdict()[:1])])
def test_no_verdict_is_a_wrong_one(report: GateReport | None) -> None:
    """After a check without a report, or without the cell."""
    is_wrong, printed = _shown(expected=Match.word, id="other", report=report)
    assert is_wrong
    assert "expected           match; the check ended with: the end" in printed


def _shown(*, expected: str, id: str, report: GateReport | None) -> tuple[bool, str]:
    gate = gates_of(TINY)[0]
    scenario = replace(gate.stages[0].scenarios[0], word=expected, id=id)
    stage = replace(gate.stages[0], scenarios=(scenario,))
    step = EndedCommand(gate=gate, stage=stage, code=10, seconds=1, output="the end", report=report)
    with redirect_stdout(io.StringIO()) as out:
        (is_wrong,) = show(step)
    return is_wrong, out.getvalue()


def test_the_model_is_the_best_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the user, SmolLM2 in the cache, a tiny one, or what needs no llama.cpp."""
    monkeypatch.setenv("REPRO_GATE_CACHE", str(tmp_path))
    file = tmp_path / "own.gguf"
    file.touch()
    assert choose_model(tmp_path, DemoOptions()) == TINY
    assert choose_model(tmp_path, DemoOptions(model=file)).source == str(file)
    package = package_file_of(SMOLLM2.source)
    assert package is not None
    cached = tmp_path / "models" / "package" / package.place
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert choose_model(tmp_path, DemoOptions()) == SMOLLM2
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    assert choose_model(tmp_path, DemoOptions(model=file)) == WITHOUT_LLAMA_CPP
    with pytest.raises(UsageInvalid, match="is no file"):
        choose_model(tmp_path, DemoOptions(model=tmp_path / "none.gguf"))


def test_what_cannot_be_recorded_stops_the_demo(cache: Path, tmp_path: Path) -> None:
    """With the reason: here a file that is no model."""
    (tmp_path / "broken.gguf").write_bytes(b"x" * 2000)
    ran = Workspace(folder=tmp_path, cache=cache).run("demo", "--model", "broken.gguf")
    assert ran.code == 4
    assert "the tokens could not be recorded: refused model--story--seed42: inconc" in ran.err


def test_an_interruption_ends_the_processes(cache: Path, tmp_path: Path) -> None:
    """The folder is removed, and no check is left behind."""
    workspace = Workspace(folder=tmp_path, cache=cache)
    started = workspace.start("demo", env=workspace.environment(TMPDIR=str(tmp_path)))
    assert started.stdout is not None
    started.stdout.readline()
    started.send_signal(signal.SIGTERM)
    assert ended(started).code == 130
    assert list(tmp_path.iterdir()) == []


def _blocks(text: str) -> list[str]:
    return text.split("\n\n")
