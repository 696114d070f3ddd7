"""The reference is complete: what can be asked and what is answered is written down."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from repro_gate.cli.app import app
from repro_gate.core.outcome import ExitCode

_REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
_CRASH = 1
"""Returned by Python, and never on purpose."""


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner, subcommand in getattr(command, "commands", {}).items():
        yield from _commands(subcommand, f"{name} {inner}")


_COMMANDS = dict(_commands(typer.main.get_command(app), "repro-gate"))
_OPTIONS = sorted(
    (name, option)
    for name, command in _COMMANDS.items()
    for parameter in command.params
    for option in parameter.opts
    if option.startswith("-") and "completion" not in option
)


def _page(name: str) -> str:
    return (_REFERENCE / name).read_text("utf-8")


def test_there_are_options_to_look_for() -> None:
    """The tests of this file would agree with an empty list too."""
    assert ("repro-gate check", "--fail-on") in _OPTIONS
    assert "repro-gate models verify" in _COMMANDS


@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_a_command_has_its_reference(command: str) -> None:
    """Every command is in docs/reference/cli.md under its full name."""
    assert re.search(rf"{command}\b", _page("cli.md"))


@pytest.mark.parametrize(("command", "option"), _OPTIONS, ids="{0}".format)
def test_an_option_has_its_reference(command: str, option: str) -> None:
    """Every option, in each of its spellings, is in docs/reference/cli.md."""
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", _page("cli.md")), command


def test_the_table_of_exit_codes_is_the_truth() -> None:
    """The table in docs/reference/exit-codes.md has a row for every code, and no other."""
    rows = re.findall(r"^\| *`?(\d+)`? *\|", _page("exit-codes.md"), re.MULTILINE)

    assert sorted(map(int, rows)) == sorted({_CRASH, *ExitCode})
