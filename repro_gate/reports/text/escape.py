"""Escape untrusted text: names, messages and facts chosen by an engine, a server or a file."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NewType, TypeAlias

from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import FactChange

Escaped = NewType("Escaped", str)
"""One line of printable text; only the functions of this module make one."""

Line: TypeAlias = tuple[str, Escaped]
"""A label and its text."""

Escape: TypeAlias = Callable[[str], str]
"""Escapes untrusted text for one format."""

MAX_MESSAGE_LENGTH: Final = 1000
"""A longer message would push the verdicts out of sight."""
_DIGEST: Final = re.compile(r"[0-9a-f]{40,128}")
_SHORT_DIGEST: Final = 12
_MAX_LISTED: Final = 5
"""Ids, tokens or changed facts in one block; report.json has all of them."""


def one_line(text: str) -> Escaped:
    """Escape what is not printable, such as control characters.

    Unlike `escape_text` it leaves backslashes alone, so that escaping twice changes nothing.
    """
    if text.isascii() and text.isprintable():
        return Escaped(text)
    return Escaped("".join(char if char == "\\" else escape_text(char) for char in text))


def log_line(text: str) -> Escaped:
    """Return the text as a line of a log that no CI system takes for a command."""
    # A GitHub runner executes `##[command]` anywhere in a line.
    return Escaped(one_line(text).replace("##[", r"#\x23["))


def message(text: str) -> Escaped:
    """Return a reason or a remedy as one line of bounded length."""
    if len(text) <= MAX_MESSAGE_LENGTH:
        return one_line(text)
    more = len(text) - MAX_MESSAGE_LENGTH
    return one_line(f"{text[:MAX_MESSAGE_LENGTH]}... and {more} more characters")


def clipped(text: str, max_length: int) -> Escaped:
    """Return one line of at most so many characters, with an ellipsis where it is cut."""
    line = one_line(text[: max_length + 1])
    if len(line) <= max_length:
        return line
    return Escaped(f"{line[: max_length - 1]}\N{HORIZONTAL ELLIPSIS}")


def escape_lines(lines: Iterable[tuple[str, str]]) -> tuple[Line, ...]:
    """Escape the texts of labelled lines."""
    return tuple((label, one_line(text)) for label, text in lines)


def optional(label: str, text: Escaped | None) -> Iterator[Line]:
    """Yield a line unless there is no text for it."""
    if text is not None:
        yield label, text


def limited(label: str, texts: Sequence[Escaped]) -> Iterator[Line]:
    """Yield a line for each of the first texts, and one with the number of the rest."""
    for text in texts[:_MAX_LISTED]:
        yield label, text
    if len(texts) > _MAX_LISTED:
        yield label, one_line(f"and {len(texts) - _MAX_LISTED} more")


def escape_change(changed: FactChange) -> FactChange:
    """Escape all texts of a changed fact; two values that differ still do."""
    values = (changed.before, changed.after)
    before, after = (None if value is None else one_line(value) for value in values)
    if before is None or before != after:
        return FactChange(name=one_line(changed.name), before=before, after=after)
    # A control character, and a text that looks like its escape.
    before, after = (Escaped(escape_text(value or "")) for value in values)
    return FactChange(name=one_line(changed.name), before=before, after=after)


def shortened(changed: FactChange) -> FactChange:
    """Return the change of a digest with the first digits of both sides, unless they are equal."""
    before, after = changed.before or "", changed.after or ""
    is_digest = all(map(_DIGEST.fullmatch, (before, after)))
    if not is_digest or before[:_SHORT_DIGEST] == after[:_SHORT_DIGEST]:
        return changed
    starts = (f"{side[:_SHORT_DIGEST]}\N{HORIZONTAL ELLIPSIS}" for side in (before, after))
    before, after = starts
    return FactChange(name=changed.name, before=before, after=after)


def format_change(changed: FactChange) -> Escaped:
    """Return a changed fact as a line of text."""
    return one_line(f"{changed.name}: {_fact(changed.before)} -> {_fact(changed.after)}")


def _fact(value: str | None) -> str:
    return "(not reported)" if value is None else value
