"""Secrets: sent in one header, and masked in every text."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html.entities import html5
from itertools import islice
from typing import Final

from repro_gate.core.text import escape_text

MIN_RUN: Final = 8
"""The length of a part of a secret that is masked; a shorter secret is masked as a whole."""
_MAX_SHOWN = 300
"""The maximum length of a quoted text."""
_MAX_READ = 1 << 12
"""Characters that are searched; the rest of a text is dropped."""
_MAX_NESTING = 3
"""How often a text is decoded, as for JSON in JSON in a URL."""
_MIN_BASE64 = 4
"""A shorter part of an encoded secret would often match by chance."""
_SENDABLE = re.compile(r"[!-~]+")
"""Visible ASCII, which any server accepts in a header."""
_MASK = "***"
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Secret:
    """An API key or token, which may appear in a header only."""

    _secret: str | None = field(default=None, repr=False)
    """None for an API without keys."""

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that authenticates a request."""
        return {} if self._secret is None else {"Authorization": f"Bearer {self._secret}"}

    def scrub(self, text: str) -> str:
        """Return a text with the secret masked, also in parts and escaped; linear in the text."""
        return text if not self._secret else _masked(text, _runs_of(self._secret))

    def scrub_bytes(self, data: bytes) -> bytes:
        """Return bytes with the secret masked."""
        return self.scrub(data.decode("latin-1")).encode("latin-1")

    def quote(self, untrusted: str, *, max_length: int = _MAX_SHOWN) -> str:
        """Return untrusted text as one safe line of bounded length without the secret."""
        # Whitespace goes first and the cut comes last, so that the shown text is what was searched.
        line = " ".join(untrusted.split())
        shown = self.scrub(line[:_MAX_READ])
        is_cut = len(line) > _MAX_READ or len(shown) > max_length
        return escape_text(shown[:max_length]) + ("..." if is_cut else "")


def is_sendable(secret: str) -> bool:
    """Return whether a header can contain a secret."""
    return _SENDABLE.fullmatch(secret) is not None


class _Runs:
    """Finds parts of some words in a text, in time linear in the text.

    It simulates an automaton on bits (Baeza-Yates and Gonnet's shift-and): bit j of a set is
    character j of all words in a row. The case of letters is ignored, because servers write
    host names and headers in lower case.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._bits: dict[str, int] = {}
        """The places of each character in the words."""
        self._enough = [0] * MIN_RUN
        """By length - 1: the places at which a run of that length must be masked."""
        place = 0
        for word in words:
            needed = min(MIN_RUN, len(word))
            for offset, character in enumerate(word.lower(), start=1):
                bit = 1 << place
                self._bits[character] = self._bits.get(character, 0) | bit
                self._enough[needed - 1] |= bit if offset >= needed else 0
                place += 1
            # A place without a character, so that no run continues in the next word.
            place += 1

    def spans(self, text: str) -> Iterator[_Span]:
        """Yield the spans of the characters of runs to be masked, from the end."""
        reached: list[list[int]] = [[] for _ in range(len(text) + 1)]
        """For each place in the text and each length, where in the words such a run may end."""
        wanted: dict[int, int] = {}
        """For each place in the text, where in the words a run to be masked passes it."""
        for start in range(len(text)):
            for character, end in _readings(text, start):
                run = self._longer(reached[start], character)
                found = reached[end]
                found += [0] * (len(run) - len(found))
                for length, places in enumerate(run):
                    found[length] |= places
                    if places & self._enough[length]:
                        wanted[end] = wanted.get(end, 0) | places & self._enough[length]
        for start in range(max(wanted, default=0) - 1, -1, -1):
            for character, end in _readings(text, start):
                through = wanted.get(end, 0) & self._bits.get(character.lower(), 0)
                if through:
                    yield start, end
                    before = next(iter(reached[start]), 0) & through >> 1
                    wanted[start] = wanted.get(start, 0) | before

    def _longer(self, run: Sequence[int], character: str) -> list[int]:
        """Return the runs that are extended by a character."""
        here = self._bits.get(character.lower(), 0)
        longer = [here] if here else []
        for places in islice(run, MIN_RUN - 1):
            following = places << 1 & here
            if not following:
                break
            longer.append(following)
        return longer


@cache
def _runs_of(secret: str) -> _Runs:
    return _Runs([secret, *sorted(_in_base64(secret.encode()))])


def _in_base64(secret: bytes) -> set[str]:
    """Return the base64 forms of a secret, whatever is before and after it."""
    words: set[str] = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        # A character at either end may also depend on the bytes next to the secret.
        first, last = (8 * before + 5) // 6, 8 * (before + len(secret)) // 6
        word = encoded[first:] if last - first >= MIN_RUN else encoded[first:last]
        if len(word) >= _MIN_BASE64:
            words |= {word, word.replace("+", "-").replace("/", "_")}
    return words


def _masked(text: str, runs: _Runs) -> str:
    """Return a text with a mask in place of each run."""
    spans: list[_Span] = []
    layer, offsets = text, list(range(len(text) + 1))
    for _ in range(_MAX_NESTING):
        spans += [(offsets[start], offsets[end]) for start, end in runs.spans(layer)]
        inner, places = _decoded(layer)
        if len(inner) == len(layer):
            break
        layer, offsets = inner, [offsets[place] for place in places]
    kept: list[str] = []
    shown_from = 0
    for start, end in _merged(spans):
        kept += text[shown_from:start], _MASK
        shown_from = end
    return "".join(kept) + text[shown_from:]


def _merged(spans: Sequence[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            before, reached = merged.pop()
            merged.append((before, max(reached, end)))
        else:
            merged.append((start, end))
    return merged


def _decoded(text: str) -> tuple[str, list[int]]:
    """Return a text without one layer of escapes, and where each character started."""
    characters: list[str] = []
    places = [0]
    while places[-1] < len(text):
        character, end = max(_readings(text, places[-1]), key=lambda reading: reading[1])
        characters.append(character)
        places.append(end)
    return "".join(characters), places


def _readings(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yield each character that the text may mean at a place, and where that ends."""
    yield text[start], start + 1
    for pattern, decode in _ESCAPES.get(text[start], ()):
        match = pattern.match(text, start)
        character = decode(match[1]) if match else ""
        if match and character:
            yield character, match.end()


def _from_hex(digits: str) -> str:
    return _ascii(int(digits, 16))


def _from_decimal(digits: str) -> str:
    return _ascii(int(digits))


def _ascii(code: int) -> str:
    return chr(code) if code < 128 else ""  # noqa: PLR2004 -- ASCII, the only characters of a secret


def _from_name(name: str) -> str:
    character = html5.get(f"{name};", "")
    return character if len(character) == 1 else ""


# No pattern repeats its first character, except at the end: all matches together read a text only
# a few times.
_ESCAPES: Final[Mapping[str, Sequence[tuple[re.Pattern[str], Callable[[str], str]]]]] = {
    "%": [(re.compile(r"%([0-9a-fA-F]{2})"), _from_hex)],
    "\\": [
        (re.compile(r"\\[uU]([0-9a-fA-F]{4})"), _from_hex),
        (re.compile(r"\\U([0-9a-fA-F]{8})"), _from_hex),
        (re.compile(r"\\u\{0*([0-9a-fA-F]{1,6})\}"), _from_hex),
        (re.compile(r"\\[xX]([0-9a-fA-F]{2})"), _from_hex),
        (re.compile(r"\\(.)", re.DOTALL), str),
    ],
    "&": [
        (re.compile(r"&#0*([0-9]{1,7});?"), _from_decimal),
        (re.compile(r"&#[xX]0*([0-9a-fA-F]{1,6});?"), _from_hex),
        (re.compile(r"&([A-Za-z]+[0-9]*);"), _from_name),
        (re.compile(r"&(amp|lt|gt|quot)", re.IGNORECASE), _from_name),
    ],
}
