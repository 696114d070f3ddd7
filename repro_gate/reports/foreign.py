"""Words that are not ours: names, messages and facts that an engine or a file chose."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from repro_gate.core.goldens import FactChange
from repro_gate.core.text import printable

Spell: TypeAlias = Callable[[str], str]
"""Makes foreign text safe for one kind of report."""

_LONGEST_MESSAGE = 1000
"""A longer one is an engine out of control, and would push the verdicts out of sight."""


def one_line(text: str) -> str:
    """Return the text with what is not printable, such as control characters, escaped.

    Unlike `printable` it leaves backslashes alone, so that text which an adapter has already
    made safe stays as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char == "\\" else printable(char) for char in text)


def log_line(text: str) -> str:
    """Return the text as a line of a log that no CI system takes for a command."""
    # A GitHub runner obeys `##[command]` wherever it stands in a line.
    return one_line(text).replace("##[", r"#\x23[")


def message(text: str) -> str:
    """Return a reason or a remedy as one line of bounded length."""
    if len(text) <= _LONGEST_MESSAGE:
        return one_line(text)
    return (
        f"{one_line(text[:_LONGEST_MESSAGE])}... and {len(text) - _LONGEST_MESSAGE} more characters"
    )


def clipped(text: str, longest: int) -> str:
    """Return one line of foreign text that is no longer than a place for it allows."""
    line = one_line(text[: longest + 1])
    return line if len(line) <= longest else f"{line[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def facts(foreign: Mapping[str, str]) -> dict[str, str]:
    """Return provenance in the order of its names, with both sides printable."""
    return {one_line(name): one_line(foreign[name]) for name in sorted(foreign)}


def change(foreign: FactChange) -> FactChange:
    """Return a changed fact with all its words printable."""
    return FactChange(
        name=one_line(foreign.name),
        before=None if foreign.before is None else one_line(foreign.before),
        after=None if foreign.after is None else one_line(foreign.after),
    )


def change_line(changed: FactChange) -> str:
    """Return a changed fact as a line of text."""
    return f"{changed.name}: {_fact(changed.before)} -> {_fact(changed.after)}"


def _fact(value: str | None) -> str:
    return "(not reported)" if value is None else value
