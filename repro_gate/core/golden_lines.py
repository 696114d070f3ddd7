"""Where in the text of a golden file a divergence is to be seen: a token is one line there."""

import re
from typing import Final, assert_never

from repro_gate.core.divergence import Divergence, Place

# A string of JSON holds no line break, so nothing but a key of the golden itself can begin a line.
_LISTS: Final = {
    "prompt_tokens": re.compile(r'  "prompt_tokens": \[(?P<closed>\],?)?'),
    "tokens": re.compile(r'  "tokens": \[(?P<closed>\],?)?'),
}
_END = re.compile(r"  \],?")


def line_in_golden(text: str, divergence: Divergence) -> int | None:
    """Return the line, counted from 1, of the golden's token at a divergence.

    Where the golden has no such token, because it ended there, it is the line of its last one. It
    is None when the text is no golden as the gate writes it.
    """
    lines = text.split("\n")
    opening = _LISTS[_list_of(divergence.place)]
    for number, line in enumerate(lines, start=1):
        found = opening.fullmatch(line.rstrip("\r"))
        if found is not None:
            return number if found["closed"] else _line_of_token(lines, number, divergence)
    return None


def _line_of_token(lines: list[str], opened: int, divergence: Divergence) -> int | None:
    for number, line in enumerate(lines[opened:], start=opened + 1):
        if _END.fullmatch(line.rstrip("\r")):
            return number - 1
        if number == opened + 1 + divergence.position:
            return number
    return None


def _list_of(place: Place) -> str:
    match place:
        case Place.PROMPT:
            return "prompt_tokens"
        case Place.OUTPUT:
            return "tokens"
        case _:
            assert_never(place)
