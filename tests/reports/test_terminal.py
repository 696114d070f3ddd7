"""The report at a terminal and in a log."""

from collections.abc import Callable
from io import StringIO

from rich.console import Console

from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Match
from repro_gate.reports.terminal import render_terminal

Found = Callable[..., CellReport]
Build = Callable[..., GateReport]
Print = Callable[[GateReport], str]
LOST = Inconclusive(reason="the device is busy", remedy="nvidia-smi")


def test_pass_is_three_lines(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell], on_terminal: Print
) -> None:
    """A pass has a line for each model, one for the controls, and the outcome."""
    cells = [cell_report(Match(), cell(seed=seed)) for seed in (1, 2)]

    assert on_terminal(gate_report(*cells)).splitlines() == [
        "tiny-qwen2  2 cells x 10 runs   all identical, all match",
        "controls    no control was run",
        "passed: 2 match; wall 12.500 s, engine 10.000 s",
    ]


def test_many_alike_are_one_block(
    gate_report: Build, cell_report: Found, cell: Callable[..., Cell], on_terminal: Print
) -> None:
    """Seven cells of which the same is to be said are told once, and not all listed."""
    cells = [cell_report(LOST, cell(seed=seed), runs=0, generation=None) for seed in range(1, 8)]

    assert on_terminal(gate_report(*cells)).split("\n\n")[0].splitlines() == [
        "inconclusive  7 cells",
        "  not measured, so neither a pass nor drift",
        "  reason      the device is busy",
        "  cell        tiny-qwen2--autumn-leaves--seed1",
        "  cell        tiny-qwen2--autumn-leaves--seed2",
        "  cell        tiny-qwen2--autumn-leaves--seed3",
        "  cell        tiny-qwen2--autumn-leaves--seed4",
        "  cell        tiny-qwen2--autumn-leaves--seed5",
        "  cell        and 2 more",
        "  remedy      nvidia-smi",
        "  what to do  Apply the remedy and check again.",
    ]


def test_suspects_are_cut(
    gate_report: Build,
    drift: Found,
    cell: Callable[..., Cell],
    generation: Callable[..., Generation],
    on_terminal: Print,
) -> None:
    """The first suspects are enough at a terminal."""
    changes = [FactChange(name=f"fact.{number}", before="1", after="2") for number in range(6)]
    text = on_terminal(gate_report(drift(generation("a"), generation("b"), cell(), *changes)))

    lines = [line.split(maxsplit=1)[1] for line in text.splitlines() if "  changed" in line]
    assert lines == [*(f"fact.{number}: 1 -> 2" for number in range(5)), "and 1 more"]


def test_long_line_is_not_broken(
    gate_report: Build, cell_report: Found, on_terminal: Print
) -> None:
    """A fact stays on its line, so that a log can be searched for it."""
    found = cell_report(Inconclusive(reason="word " * 50 + "end", remedy=None))

    assert f"  reason      {'word ' * 50}end\n" in on_terminal(gate_report(found))


def test_markup_is_only_text(gate_report: Build, cell_report: Found, on_terminal: Print) -> None:
    """Square brackets of an engine's message are neither styles nor emoji."""
    found = cell_report(Inconclusive(reason="[red]:warning:[/red] [/]", remedy=None))

    assert "[red]:warning:[/red] [/]" in on_terminal(gate_report(found))


def test_runner_commands_are_inert(
    gate_report: Build, cell_report: Found, on_terminal: Print
) -> None:
    """A GitHub runner finds no command in what an engine says."""
    found = cell_report(Inconclusive(reason="##[add-mask]a", remedy="::error::b"))
    text = on_terminal(gate_report(found))

    assert r"#\x23[add-mask]a" in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())


def test_colours_say_the_outcome(rich_report: GateReport) -> None:
    """On a terminal findings are red, and what is unknown is yellow."""
    console = Console(file=StringIO(), force_terminal=True, color_system="standard", width=40)
    with console.capture() as capture:
        render_terminal(rich_report, console)

    text = capture.get()
    assert "\x1b[1;31mdrift\x1b[0m" in text
    assert "\x1b[1;33minconclusive\x1b[0m" in text
    assert text.splitlines()[-1].startswith("\x1b[1;31mfailed: ")
