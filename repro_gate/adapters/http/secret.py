"""A key: sent in one header, and shown nowhere."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html.entities import html5
from itertools import islice
from typing import Final

from repro_gate.core.text import printable

MIN_RUN: Final = 8
"""So many consecutive characters of a secret are masked, and all of a shorter secret."""
_MAX_SHOWN = 300
"""What a server says beyond so many characters is not for a reader."""
_MAX_READ = 1 << 12
"""Characters that are searched; no part of what follows them is shown."""
_MAX_NESTING = 3
"""How often a text is decoded: JSON in JSON in a URL."""
_MIN_BASE64 = 4
"""A shorter part of an encoded secret stands in many a text by chance."""
_SENDABLE = re.compile(r"[!-~]+")
"""Visible ASCII: what any server takes in a header."""
_MASK = "***"
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Secret:
    """A key, which leaves in a header and in no text."""

    _secret: str | None = field(default=None, repr=False)
    """None for an API that wants no key."""

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that shows the key to its server."""
        return {} if self._secret is None else {"Authorization": f"Bearer {self._secret}"}

    def scrub(self, text: str) -> str:
        """Return a text without any longer part of the key, however it is written.

        The time that it takes is linear in the length of the text.
        """
        return text if not self._secret else _masked(text, _runs_of(self._secret))

    def scrub_bytes(self, data: bytes) -> bytes:
        """Return bytes without the key."""
        return self.scrub(data.decode("latin-1")).encode("latin-1")

    def quote(self, untrusted: str, *, max_length: int = _MAX_SHOWN) -> str:
        """Return untrusted text as one safe line of bounded length without the key."""
        # Squeezed first and cut last: what is searched is what would be shown.
        line = " ".join(untrusted.split())
        shown = self.scrub(line[:_MAX_READ])
        is_cut = len(line) > _MAX_READ or len(shown) > max_length
        return printable(shown[:max_length]) + ("..." if is_cut else "")


def is_sendable(secret: str) -> bool:
    """Return whether a header can hold a key."""
    return _SENDABLE.fullmatch(secret) is not None


class _Runs:
    """Finds the runs of some words in a text, in time linear in the text.

    It simulates an automaton on bits (Baeza-Yates and Gonnet's shift-and): bit j of a set stands
    for character j of all words in a row. The case of letters is ignored, because servers write
    host names and headers in lower case.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._bits: dict[str, int] = {}
        """The places of each character in the words."""
        self._enough = [0] * MIN_RUN
        """By length less one: the places where a run of that length is worth masking."""
        place = 0
        for word in words:
            needed = min(MIN_RUN, len(word))
            for offset, character in enumerate(word.lower(), start=1):
                bit = 1 << place
                self._bits[character] = self._bits.get(character, 0) | bit
                self._enough[needed - 1] |= bit if offset >= needed else 0
                place += 1
            # A place that no character has: no run goes on from one word into the next.
            place += 1

    def spans(self, text: str) -> Iterator[_Span]:
        """Yield where the characters of long enough runs are spelled, from the end on."""
        reached: list[list[int]] = [[] for _ in range(len(text) + 1)]
        """For each place of the text and each length, where in the words such a run may end."""
        wanted: dict[int, int] = {}
        """For each place of the text, where in the words a run to be masked goes through it."""
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
        """Return the runs that end with a character that follows others."""
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
    """Return what base64 makes of a secret, whatever stands before and after it."""
    words: set[str] = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        # A character of six bits at either end may be made of what stands there, too.
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
    """Return a text without one layer of escapes, and where each of its characters began."""
    characters: list[str] = []
    places = [0]
    while places[-1] < len(text):
        character, end = max(_readings(text, places[-1]), key=lambda reading: reading[1])
        characters.append(character)
        places.append(end)
    return "".join(characters), places


def _readings(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yield each character that may be spelled at a place, and where its spelling ends."""
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
    return chr(code) if code < 128 else ""  # noqa: PLR2004 -- the end of ASCII; a key has no other


def _from_name(name: str) -> str:
    character = html5.get(f"{name};", "")
    return character if len(character) == 1 else ""


# Behind its first character no pattern takes that character again, unless the match ends with it:
# so all matches of a text together read it only a few times.
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
