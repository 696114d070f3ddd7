"""Escaping of untrusted text: names, messages and facts that an engine or a file chose."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NewType, TypeAlias

from repro_gate.core.text import printable
from repro_gate.core.tokens.golden import FactChange

Escaped = NewType("Escaped", str)
"""One line of printable text; only the functions of this module make one."""

Line: TypeAlias = tuple[str, Escaped]
"""A label and its text."""

Spell: TypeAlias = Callable[[str], str]
"""Makes untrusted text safe for one kind of report."""

MAX_MESSAGE_LENGTH: Final = 1000
"""A longer one is an engine out of control, and would push the verdicts out of sight."""
_MAX_LISTED: Final = 5
"""Ids, tokens or changed facts in one block; the files have all of them."""


def one_line(text: str) -> Escaped:
    """Escape what is not printable, such as control characters.

    Unlike `printable` it leaves backslashes alone, so that escaping twice changes nothing.
    """
    if text.isascii() and text.isprintable():
        return Escaped(text)
    return Escaped("".join(char if char == "\\" else printable(char) for char in text))


def log_line(text: str) -> Escaped:
    """Return the text as a line of a log that no CI system takes for a command."""
    # A GitHub runner obeys `##[command]` wherever it stands in a line.
    return Escaped(one_line(text).replace("##[", r"#\x23["))


def message(text: str) -> Escaped:
    """Return a reason or a remedy as one line of bounded length."""
    if len(text) <= MAX_MESSAGE_LENGTH:
        return one_line(text)
    more = len(text) - MAX_MESSAGE_LENGTH
    return one_line(f"{text[:MAX_MESSAGE_LENGTH]}... and {more} more characters")


def clipped(text: str, longest: int) -> Escaped:
    """Return one line of at most so many characters, with an ellipsis where it is cut."""
    line = one_line(text[: longest + 1])
    if len(line) <= longest:
        return line
    return Escaped(f"{line[: longest - 1]}\N{HORIZONTAL ELLIPSIS}")


def escape_lines(lines: Iterable[tuple[str, str]]) -> tuple[Line, ...]:
    """Escape the texts of labelled lines."""
    return tuple((label, one_line(text)) for label, text in lines)


def given(label: str, text: Escaped | None) -> Iterator[Line]:
    """Yield a line unless there is no text for it."""
    if text is not None:
        yield label, text


def cut(label: str, texts: Sequence[Escaped]) -> Iterator[Line]:
    """Yield a line for each of the first texts, and one that counts the rest."""
    for text in texts[:_MAX_LISTED]:
        yield label, text
    if len(texts) > _MAX_LISTED:
        yield label, one_line(f"and {len(texts) - _MAX_LISTED} more")


def facts(untrusted: Mapping[str, str]) -> dict[str, str]:
    """Return provenance in the order of its names, with both sides escaped."""
    return {one_line(name): one_line(untrusted[name]) for name in sorted(untrusted)}


def change(changed: FactChange) -> FactChange:
    """Escape all texts of a changed fact."""
    return FactChange(
        name=one_line(changed.name),
        before=None if changed.before is None else one_line(changed.before),
        after=None if changed.after is None else one_line(changed.after),
    )


def change_line(changed: FactChange) -> Escaped:
    """Return a changed fact as a line of text."""
    return one_line(f"{changed.name}: {_fact(changed.before)} -> {_fact(changed.after)}")


def _fact(value: str | None) -> str:
    return "(not reported)" if value is None else value
