"""Untrusted text in a page: escaped, made visible and isolated from the text around it."""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final
from unicodedata import category

from markupsafe import Markup, escape

MAX_LENGTH: Final = 400
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of control, format, surrogate, private, unassigned and separating characters."""
_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *(0x180B, 0x180C, 0x180D, 0x180F),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
_BEFORE: Final = '<bdi class="t" translate="no">'
_AFTER: Final = "</bdi>"
_MAX_MARKS: Final = 2
"""More combining marks on one character would cover the lines above and below."""
_LINE_END: Final = "\n"
_NAMED: Final = {_LINE_END: r"\n", "\r": r"\r", "\t": r"\t"}
_NOT_UTF_8: Final = range(0xDC80, 0xDD00)
"""What Python makes of bytes that are not UTF-8."""
_TO_LINE_END: Final = re.compile(r".*?\\n|.+")
_ONE_BYTE: Final = 0xFF
_FOUR_DIGITS: Final = 0xFFFF


def visible(text: str) -> Markup:
    """Return untrusted text as markup in which every character is seen in its order."""
    return _isolated(text, line_end="")


def visible_lines(text: str) -> Markup:
    """Return the same with a line break after each end of a line."""
    return _isolated(text, line_end=_LINE_END)


def text_of_bytes(data: bytes) -> str:
    r"""Return untrusted bytes as text; the filters show those that are not UTF-8 as `\xNN`."""
    return data.decode("utf-8", errors="surrogateescape")


def plain(text: str) -> str:
    """Return the same text for an attribute, which has no tags."""
    shown = "".join(run for _, run in _runs(text[:MAX_LENGTH]))
    return shown + _more(text) if len(text) > MAX_LENGTH else shown


def _isolated(text: str, *, line_end: str) -> Markup:
    if len(text) <= MAX_LENGTH and text.isascii() and text.isprintable():
        return Markup(f"{_BEFORE}{escape(text)}{_AFTER}")  # noqa: S704 -- escaped here
    shown = "".join(
        "".join(_marked(run, line_end)) if is_escape else escape(run)
        for is_escape, run in _runs(text[:MAX_LENGTH])
    )
    more = f'<span class="more">{_more(text)}</span>' if len(text) > MAX_LENGTH else ""
    return Markup(f"{_BEFORE}{shown}{more}{_AFTER}")  # noqa: S704 -- as above


def _marked(escapes: str, line_end: str) -> Iterator[str]:
    """Yield escapes as elements, with a line end after each that stands for one."""
    for part in _TO_LINE_END.findall(escapes) if line_end else [escapes]:
        yield f'<i class="e">{part}</i>{line_end if part.endswith(_NAMED[_LINE_END]) else ""}'


def _more(text: str) -> str:
    return f"... and {len(text) - MAX_LENGTH} more characters"


def _runs(text: str) -> Iterator[tuple[bool, str]]:
    """Yield runs of characters as they are and of escapes in place of characters."""
    if text.isascii() and text.isprintable():
        yield False, text
        return
    for is_escape, run in groupby(_characters(text), key=lambda shown: len(shown) > 1):
        yield is_escape, "".join(run)


def _characters(text: str) -> Iterator[str]:
    marks = 0
    for character in text:
        kind = category(character)
        marks = marks + 1 if kind.startswith("M") else 0
        is_hidden = kind in _HIDDEN or (kind == "Zs" and character != " ")
        if is_hidden or marks > _MAX_MARKS or character in _INVISIBLE:
            yield _NAMED.get(character) or _escape(ord(character))
        else:
            yield character


def _escape(code: int) -> str:
    if code in _NOT_UTF_8:
        code -= 0xDC00
    if code <= _ONE_BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _FOUR_DIGITS else f"\\U{code:08x}"
