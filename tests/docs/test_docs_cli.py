"""The reference of the command line names what the command line has."""

from collections.abc import Iterator

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from repro_gate.cli.app import app
from tests.docs.pages import first_column, page

_PAGE = page("docs/reference/cli.md")


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


@pytest.mark.parametrize("name", _commands())
def test_every_option_is_in_the_section_of_its_command(name: str) -> None:
    """A section names the options that its command has, and no others."""
    command = _commands()[name]
    options = {
        option
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("-")
    }
    section = _PAGE.sections()[name]
    named = {word for word in first_column(section) if word.startswith("-")}
    if name == "repro-gate models":
        # A group without options of its own says so in a sentence.
        assert "`--help`" in section
    else:
        assert named == options | {"--help"}


def test_every_variable_is_named() -> None:
    """The environment variables of the options are in the list of variables."""
    variables = {
        parameter.envvar
        for command in _commands().values()
        for parameter in command.params
        if isinstance(parameter.envvar, str)
    }
    assert variables
    assert variables <= first_column(_PAGE.sections()["Environment"])
