"""What a terminal shows, and what a log gets instead."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from repro_gate.cli.results import MAX_FINDINGS, shown_progress
from repro_gate.core.tokens.generation import Divergence, Place, Token
from repro_gate.core.tokens.verdicts import Nondeterministic
from tests.cli.terminals import at_terminal
from tests.cli.workspaces import Workspace
from tests.fakes.values import cell_of

_ESCAPE = "\x1b["
_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7])[0-9;]*m")


def test_a_terminal_gets_a_bar_and_colours(recorded: Workspace) -> None:
    """First cells, pace and time left, and then the outcome in colour."""
    recorded.write_script({"method": "generate", "sleep": 0.03})

    ran = at_terminal(recorded, "check")

    assert ran.code == 0
    assert re.search(r"checking .*━.* \d/4 cells, \d+ tokens/s .*\d:\d\d:\d\d", ran.out)
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


def test_a_log_gets_its_first_line_with_the_first_run() -> None:
    """It does not take a tenth of a long matrix to see progress."""
    log = io.StringIO()
    with shown_progress(Console(file=log), quiet=False) as progress:
        progress.started(cells=1000, runs=2000)
        for _ in range(3):
            progress.ran(cell_of("fox"), tokens=4)

    (line,) = log.getvalue().splitlines()
    assert re.fullmatch(r"1/2000 runs, 1/1000 cells, \d+ tokens/s, \d+ s left", line)


_MOVED: dict[str, Any] = {
    "method": "generate",
    "prompt": "Say haiku",
    "seed": 1,
    "result": {"tokens": [[1, "01"]]},
}
_DRIFT = "drift  tiny--haiku--seed1: run 1 differs from the golden at output[0]"


def test_a_log_shows_a_finding_when_a_run_shows_it(recorded: Workspace) -> None:
    """The first of eight runs drifts, and the lines of the other seven follow."""
    recorded.write_script(_MOVED)

    ran = recorded.run("check")

    first, second, third, *_ = ran.err.splitlines()
    assert (first.partition(",")[0], second, third.partition(",")[0]) == (
        "1/8 runs",
        _DRIFT,
        "2/8 runs",
    )


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
    log = io.StringIO()
    divergence = Divergence(place=Place.OUTPUT, position=1, expected=None, observed=Token(1, b"a"))
    finding = Nondeterministic(run=2, in_fresh_process=False, divergence=divergence)
    with shown_progress(Console(file=log), quiet=False) as progress:
        for _ in range(MAX_FINDINGS + 5):
            progress.found(cell_of("fox"), finding)

    *lines, last = log.getvalue().splitlines()
    line = "nondeterministic  tiny--fox--seed42: run 2 differs from run 1 at output[1]"
    assert lines == [line] * MAX_FINDINGS
    assert last == "further findings are in the report"


def test_draws_have_no_pace_in_tokens() -> None:
    """They generate no tokens."""
    log = io.StringIO()
    with shown_progress(Console(file=log), quiet=False, noun="draws") as progress:
        progress.started(cells=1, runs=2)
        progress.ran(cell_of("fox"), tokens=0)

    assert re.fullmatch(r"1/2 draws, 1/1 cells, \d+ s left\n", log.getvalue())
