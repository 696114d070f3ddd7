"""What a terminal shows, and what a log gets instead."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from repro_gate.cli.terminal.progress import MAX_FINDINGS, shown_progress
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Divergence, Place, Token
from repro_gate.core.tokens.verdicts import Nondeterministic
from repro_gate.ports import Progress
from tests.cli.terminal.terminals import at_terminal
from tests.cli.workspaces import Workspace
from tests.fakes.values import cell_of
from tests.fakes.watching import FakeClock

_ESCAPE = "\x1b["
_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7])[0-9;]*m")


def test_a_terminal_gets_a_bar_and_colours(recorded: Workspace) -> None:
    """First cells, pace and time left, and then the outcome in colour."""
    recorded.write_script({"method": "generate", "sleep": 0.03})

    ran = at_terminal(recorded, "check")

    assert ran.code == 0
    assert re.search(r"━.* \d/8 runs, \d/4 cells, \d+ tokens/s, \d+ s left; tiny--", ran.out)
    assert "\x1b[1;32mpassed: 4 match;" in ran.out


def test_no_color_is_respected(recorded: Workspace) -> None:
    """With NO_COLOR a terminal gets everything except colour."""
    ran = at_terminal(recorded, "check", NO_COLOR="1")

    assert _COLOUR.search(ran.out) is None
    assert "passed: 4 match;" in ran.out


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_a_log_gets_no_escapes(workspace: Workspace, command: str) -> None:
    """Without a terminal, stdout and stderr are plain text."""
    ran = workspace.run(command)

    assert _ESCAPE not in ran.out + ran.err
    assert ran.out


def test_json_at_a_terminal_is_still_only_json(recorded: Workspace) -> None:
    """With --json there is no progress bar."""
    ran = at_terminal(recorded, "check", "--json")

    assert ran.out == (recorded.output / "report.json").read_text("utf-8")


class _Log:
    """The progress of a measurement in a log, by a clock that the test moves."""

    def __init__(self, noun: str = "runs") -> None:
        self.clock = FakeClock()
        self._text = io.StringIO()
        self._noun = noun

    @contextmanager
    def watched(self) -> Iterator[Progress]:
        """Yield the progress."""
        console = Console(file=self._text, width=40)
        with shown_progress(console, quiet=False, noun=self._noun, clock=self.clock) as progress:
            yield progress

    @property
    def lines(self) -> list[str]:
        """What was printed."""
        return self._text.getvalue().splitlines()


def _cells(count: int) -> list[Cell]:
    return [cell_of("fox", seed=seed) for seed in range(1, count + 1)]


def _run(progress: Progress, log: _Log, *cells: Cell, seconds: float, tokens: int = 4) -> None:
    for cell in cells:
        progress.began(cell)
        log.clock.spend(seconds)
        progress.ran(cell, tokens=tokens)


def test_the_first_line_of_a_log_comes_with_the_first_run() -> None:
    """It has the pace of that run alone, however long its model took to load."""
    log, cells = _Log(), _cells(1000)
    with log.watched() as progress:
        progress.started((cell, 2) for cell in cells)
        log.clock.spend(600)
        _run(progress, log, cells[0], seconds=2)

    assert log.lines == ["1/2000 runs, 1/1000 cells, 2 tokens/s, 67 min left"]


def test_a_fast_measurement_brings_one_line() -> None:
    """A line for each of eight runs is not worth reading."""
    log, cells = _Log(), _cells(4)
    with log.watched() as progress:
        progress.started((cell, 2) for cell in cells)
        _run(progress, log, *cells, *cells, seconds=1)

    assert log.lines == ["1/8 runs, 1/4 cells, 4 tokens/s, 7 s left"]


def test_a_slow_measurement_brings_a_line_for_each_tenth() -> None:
    """A hundred runs of two seconds: ten lines, and none when nothing is left."""
    log, cells = _Log(), _cells(100)
    with log.watched() as progress:
        progress.started((cell, 1) for cell in cells)
        _run(progress, log, *cells, seconds=2)

    assert [line.partition("/")[0] for line in log.lines] == [str(n) for n in range(1, 100, 10)]


def test_a_very_slow_measurement_brings_a_line_a_minute() -> None:
    """A thousand runs of half a minute: every second one."""
    log, cells = _Log(), _cells(1000)
    with log.watched() as progress:
        progress.started((cell, 1) for cell in cells)
        _run(progress, log, *cells[:7], seconds=30)

    assert [line.partition("/")[0] for line in log.lines] == ["1", "3", "5", "7"]


def test_a_line_shows_a_running_cell_and_the_number_of_others() -> None:
    """Those that have begun and not ended, by the first of them."""
    log, cells = _Log(), _cells(4)
    with log.watched() as progress:
        progress.started((cell, 2) for cell in cells)
        for cell in cells[:3]:
            progress.began(cell)
        log.clock.spend(1)
        progress.ran(cells[0], tokens=4)

    (line,) = log.lines
    assert line.endswith(f"left; {cells[1].id} +1")


def test_the_time_left_is_that_of_the_tokens_left() -> None:
    """Runs of 4 tokens took a second each; one of 40 is left, which takes ten."""
    log = _Log()
    short, long = cell_of("fox", max_tokens=4), cell_of("haiku", max_tokens=40)
    with log.watched() as progress:
        progress.started([(short, 2), (long, 1)])
        _run(progress, log, short, seconds=1)

    assert log.lines == ["1/3 runs, 1/2 cells, 4 tokens/s, 11 s left"]


def test_cells_that_end_early_are_expected_to_do_so_again() -> None:
    """A run that stopped after 4 of 400 tokens stops there in its other runs too."""
    log = _Log()
    cell = cell_of("fox", max_tokens=400)
    with log.watched() as progress:
        progress.started([(cell, 3)])
        _run(progress, log, cell, seconds=1, tokens=4)

    assert log.lines == ["1/3 runs, 1/1 cells, 4 tokens/s, 2 s left"]


def test_cells_that_are_given_up_are_no_work() -> None:
    """The runs of a missing model are neither done nor left, and it counts no cell."""
    log = _Log()
    missing, here = cell_of("fox", model="gone"), cell_of("fox")
    with log.watched() as progress:
        progress.started([(missing, 100), (here, 2)])
        progress.skipped(missing, runs=100)
        _run(progress, log, here, seconds=1)

    assert log.lines == ["1/2 runs, 1/1 cells, 4 tokens/s, 1 s left"]


def test_a_cell_that_fails_later_keeps_the_runs_that_it_had() -> None:
    """Only its further runs are left out."""
    log = _Log()
    failing, other = _cells(2)
    with log.watched() as progress:
        progress.started([(failing, 5), (other, 2)])
        _run(progress, log, failing, seconds=1)
        progress.began(failing)
        progress.skipped(failing, runs=4)
        _run(progress, log, other, seconds=60)

    assert log.lines[1] == "2/3 runs, 2/2 cells, 0 tokens/s, 30 s left"


@given(st.data())
def test_the_work_left_is_never_negative(data: st.DataObject) -> None:
    """Whatever runs begin, end and are left out, in whatever order."""
    log, cells = _Log(), _cells(3)
    some = st.sampled_from(cells)
    with log.watched() as progress:
        for _ in range(data.draw(st.integers(1, 20))):
            cell = data.draw(some)
            log.clock.spend(data.draw(st.integers(0, 100)))
            match data.draw(st.sampled_from(["started", "began", "ran", "skipped"])):
                case "started":
                    progress.started([(cell, data.draw(st.integers(1, 3)))])
                case "began":
                    progress.began(cell)
                case "ran":
                    progress.ran(cell, tokens=data.draw(st.integers(0, cell.max_tokens)))
                case _:
                    progress.skipped(cell, runs=data.draw(st.integers(0, 3)))

    for line in log.lines:
        assert re.match(
            r"\d+/\d+ runs, \d+/\d+ cells, (\d+ tokens/s, )?[\d.]+ (s|min|h) left", line
        )
        done, total, seen, known = map(int, re.findall(r"\d+", line)[:4])
        assert (done <= total, seen <= known) == (True, True)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "1/8 runs, 1/4 cells, 4 tokens/s, 7 s left; tiny--fox--seed2"),
        (64, "1/8 runs, 1/4 cells, 4 tokens/s, 7 s left; …-fox--seed2"),
        (56, "1/8 runs, 1/4 cells, 4 tokens/s, 7 s left"),
        (40, "1/8 runs, 4 tokens/s, 7 s left"),
        (20, "1/8 runs"),
    ],
)
def test_a_bar_shows_what_fits_into_the_terminal(width: int, shown: str) -> None:
    """One line at any width, and the runs at each."""
    screen, log, cells = io.StringIO(), _Log(), _cells(4)
    console = Console(file=screen, width=width, force_terminal=True, no_color=True)
    with shown_progress(console, quiet=False, clock=log.clock) as progress:
        progress.started((cell, 2) for cell in cells)
        _run(progress, log, cells[0], seconds=1)
        progress.began(cells[1])

    drawn = [line for line in re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", screen.getvalue()) if line]
    last = [line for line in drawn if "runs" in line][-1]
    assert last.endswith(shown)
    assert max(map(len, drawn)) <= width


def test_a_bar_shows_that_the_first_model_is_loading() -> None:
    """Before any run there is nothing else to see."""
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, no_color=True)
    with shown_progress(console, quiet=False) as progress:
        progress.started((cell, 2) for cell in _cells(4))

    assert "0/8 runs, 0/4 cells; loading" in screen.getvalue()


_MOVED: dict[str, Any] = {
    "method": "generate",
    "prompt": "Say haiku",
    "seed": 1,
    "result": {"tokens": [[1, "01"]]},
}
_DRIFT = "drift  tiny--haiku--seed1: run 1 differs from the golden at output[0]"


def test_a_log_shows_a_finding_when_a_run_shows_it(recorded: Workspace) -> None:
    """After the line of the first run, which drifts, and before the report."""
    recorded.write_script(_MOVED)

    ran = recorded.run("check")

    first, second = ran.err.splitlines()
    assert (first.partition(",")[0], second) == ("1/8 runs", _DRIFT)


def test_a_terminal_shows_a_finding_above_the_bar(recorded: Workspace) -> None:
    """It is whole, before the report starts with the same word."""
    recorded.write_script(_MOVED)

    shown = at_terminal(recorded, "check", NO_COLOR="1").out

    assert shown.index(_DRIFT.removeprefix("drift")) < shown.index(
        "but they diverge from the golden"
    )


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_quiet_and_json_show_no_findings_early(recorded: Workspace, option: str) -> None:
    """They print one result."""
    recorded.write_script(_MOVED)

    assert recorded.run("check", option).err == ""


def test_an_update_shows_no_drift_early(recorded: Workspace) -> None:
    """Its list of changes comes at the end."""
    recorded.write_script(_MOVED)

    assert "drift" not in recorded.record().err


def test_the_number_of_early_findings_is_limited() -> None:
    """A model that differs everywhere does not fill the log."""
    log = _Log()
    divergence = Divergence(place=Place.OUTPUT, position=1, expected=None, observed=Token(1, b"a"))
    finding = Nondeterministic(run=2, in_fresh_process=False, divergence=divergence)
    with log.watched() as progress:
        for _ in range(MAX_FINDINGS + 5):
            progress.found(cell_of("fox"), finding)

    *lines, last = log.lines
    line = "nondeterministic  tiny--fox--seed42: run 2 differs from run 1 at output[1]"
    assert lines == [line] * MAX_FINDINGS
    assert last == "further findings are in the report"


def test_draws_have_no_pace_in_tokens() -> None:
    """Where they report no tokens, the time left is that of the draws."""
    log = _Log(noun="draws")
    with log.watched() as progress:
        progress.started([(cell_of("fox"), 4)])
        _run(progress, log, cell_of("fox"), seconds=2, tokens=0)

    assert log.lines == ["1/4 draws, 1/1 cells, 6 s left"]
