"""The reference of the command line names what the command line has."""

import re
from collections.abc import Iterator

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from repro_gate.cli.app import app
from repro_gate.cli.wiring import REPORTS
from tests.docs.pages import page

_PAGE = page("docs/reference/cli.md")
_SECTIONS = _PAGE.sections()
_COMMON = _SECTIONS["Common options"]
_ROW = re.compile(r"^- (`-[^:]*):", re.MULTILINE)


def _commands() -> dict[str, TyperCommand | TyperGroup]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return {"repro-gate": group, **dict(_below("repro-gate", group))}


def _below(name: str, group: TyperGroup) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    for part, command in group.commands.items():
        path = f"{name} {part}"
        if isinstance(command, TyperGroup):
            yield path, command
            yield from _below(path, command)
        elif isinstance(command, TyperCommand):
            yield path, command


def _shared(section: str) -> set[str]:
    """Return the rows of common options that a section names."""
    named = re.search(r"^Common options: (.+?)\.$", section, re.MULTILINE | re.DOTALL)
    words = [] if named is None else re.findall(r"`(--[a-z-]+)`", named[1])
    rows = {row.split("`")[1]: row for row in _ROW.findall(_COMMON)}
    return {rows[word] for word in words}


def _rows(name: str) -> set[str]:
    """Return the first column of every option that a command has by the page."""
    return _shared(_SECTIONS[name]) | set(_ROW.findall(_SECTIONS[name]))


@pytest.mark.parametrize("name", _commands())
def test_every_option_is_in_the_section_of_its_command(name: str) -> None:
    """A section names the options that its command has, and no others."""
    options = {
        option
        for parameter in _commands()[name].params
        for option in parameter.opts
        if option.startswith("-")
    }
    named = {word for row in _rows(name) for word in re.findall(r"`(-[a-z-]+)`", row)}
    assert named == options - {"--help"}


@pytest.mark.parametrize("name", _commands())
def test_every_option_with_a_variable_is_marked(name: str) -> None:
    """The variable of an option has its name, and the rows with such a variable are marked."""
    variables = {
        max(parameter.opts, key=len): parameter.envvar
        for parameter in _commands()[name].params
        if isinstance(parameter.envvar, str) and parameter.opts[0].startswith("-")
    }
    assert {
        option: f"REPRO_GATE_{option.removeprefix('--').replace('-', '_').upper()}"
        for option in variables
    } == variables
    assert {row.split("`")[1] for row in _rows(name) if "†" in row} == set(variables)


def test_the_variable_of_an_argument_is_named() -> None:
    """The folders of `merge` have a variable too."""
    variables = {
        parameter.envvar
        for parameter in _commands()["repro-gate merge"].params
        if isinstance(parameter.envvar, str) and not parameter.opts[0].startswith("-")
    }
    assert variables == {"REPRO_GATE_MERGE"}
    assert variables <= _PAGE.code()


def test_every_file_of_a_report_folder_is_listed() -> None:
    """Those of all checks, besides what only some of them write."""
    listed = set(re.findall(r"`([^`\n]+)`", _SECTIONS["repro-gate check"]))

    assert {"report.json", *REPORTS} - listed == set()
