"""Untrusted text in a page: escaped, made visible and isolated from the text around it."""

from collections.abc import Iterator
from itertools import groupby
from typing import Final
from unicodedata import category

from markupsafe import Markup

MAX_LENGTH: Final = 400
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of control, format, surrogate, private, unassigned and separating characters."""
_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
_ISOLATED: Final = Markup('<bdi class="t" translate="no">{}</bdi>')
_MAX_MARKS: Final = 2
"""More combining marks on one character would cover the lines above and below."""


def visible(text: str) -> Markup:
    """Return untrusted text as markup in which every character is seen in its order."""
    if len(text) <= MAX_LENGTH and text.isascii() and text.isprintable():
        return _ISOLATED.format(text)
    parts = [
        Markup('<i class="e">{}</i>').format(run) if is_escape else Markup("{}").format(run)
        for is_escape, run in _runs(text[:MAX_LENGTH])
    ]
    if len(text) > MAX_LENGTH:
        parts.append(Markup('<span class="more">{}</span>').format(_more(text)))
    return _ISOLATED.format(Markup().join(parts))


def plain(text: str) -> str:
    """Return the same text for an attribute, which has no tags."""
    shown = "".join(run for _, run in _runs(text[:MAX_LENGTH]))
    return shown + _more(text) if len(text) > MAX_LENGTH else shown


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
            yield _escape(ord(character))
        else:
            yield character


def _escape(code: int) -> str:
    if code <= 0xFF:  # noqa: PLR2004 -- the range of the form
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 -- as above
