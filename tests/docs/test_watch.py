"""Who follows the how-to about a watch gets what it shows, from the files of the example."""

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from benchmarks.watch_example import FOLDER, HISTORY, NIGHTS, SUITE, opened, state_in, time_of
from repro_gate.cli.app import app
from repro_gate.cli.watch.state import run_verify
from repro_gate.cli.watch.suites import watched_suite
from tests.docs.pages import page

_HOWTO = page("docs/how-to/watch-a-hosted-model.md")
_FILES = sorted((FOLDER / HISTORY).rglob("*.jsonl.gz"))
_COMMAND = re.compile(r"`repro-gate ((?:[a-z]+(?:-[a-z]+)* ?)+)((?:--[a-z]+ ?)*)`")


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the example as the working directory, without its nights."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(HISTORY))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _history(folder: Path, nights: int) -> Path:
    """Copy the first nights of the example."""
    for file in _FILES[:nights]:
        kept = folder / file.relative_to(FOLDER)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, kept)
    return folder / HISTORY


def test_the_outputs_are_those_of_the_commands(example: Path) -> None:
    """A watch that is opened, after its first night, and after the last one."""
    first = state_in(_history(example, 1), 0)
    last = state_in(_history(example, NIGHTS), NIGHTS - 1)
    shutil.rmtree(example / "snapshots" / "watch")

    blocks, outputs = _HOWTO.blocks("text"), [opened(), first, last]
    assert [block in output for block, output in zip(blocks, outputs, strict=True)] == [True] * 3


def test_the_example_is_whole(example: Path) -> None:
    """Every night is as it was drawn, and the change is in none of the first ones."""
    assert len(_FILES) == NIGHTS
    history = _history(example, NIGHTS)
    assert run_verify(watched_suite(None, SUITE), history, now=lambda: time_of(NIGHTS)) == 0
    for file in _FILES[31:]:
        (example / file.relative_to(FOLDER)).unlink()
    shutil.rmtree(history / "index", ignore_errors=True)
    for index in history.glob("index.sqlite*"):
        index.unlink()
    assert state_in(history, 30).startswith("watch hosted: quiet")


def test_every_command_of_a_recommendation_exists() -> None:
    """Each of the five has at least one, and every option of them too."""
    section = _HOWTO.sections()["The recommendations of the finding"]
    rows = [row for row in section.splitlines() if row.startswith("| ")][1:]
    options = dict(_options_of(typer.main.get_command(app)))
    named = [_COMMAND.findall(row) for row in rows]

    assert (len(rows), all(named)) == (5, True)
    for command, flags in itertools.chain.from_iterable(named):
        assert set(flags.split()) <= options[command.strip()], command


def _options_of(group: object, before: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield each command with its options."""
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _options_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", {option for one in command.params for option in one.opts}


def test_the_cost_of_a_year_is_that_of_its_nights() -> None:
    """Calls and tokens are printed, the rest follows."""
    printed = re.search(r" (\d+) calls, (\d+) tokens", _HOWTO.blocks("text")[0])
    assert printed is not None
    calls, tokens = map(int, printed.groups())
    section = _HOWTO.sections()["What a year costs"].replace("\n", " ")
    assert f"{calls} calls and {tokens} tokens a night, so {365 * calls} calls" in section
    millions = 365 * tokens / 1e6
    assert f"{millions:.1f} million tokens a year: {0.9 * millions:.2f} USD" in section
