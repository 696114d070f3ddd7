"""Finds stop strings in a text that grows by tokens, and cuts it, as llama-server does.

While the text ends within a character, nothing is searched. A text that ends with the start of a
stop string is kept back; what was not kept back can no longer be cut.
"""

from collections.abc import Sequence

_LONGEST_CHARACTER = 4


class Stopping:
    """The text of one run."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [(string, string.encode()) for string in strings]
        self._text = b""
        self._sent = 0
        self.found: str | None = None
        """The stop string that ended the run."""

    @property
    def content(self) -> bytes:
        """The text; without the stop string and what follows it, if one was found."""
        return self._text

    def add(self, piece: bytes, *, is_last: bool) -> None:
        """Take the text of one more token.

        Args:
            piece: the text; empty for a special token.
            is_last: whether the token ends the generation.
        """
        self._text += piece
        if _ends_within_character(self._text):
            return
        unsent = self._text[self._sent :]
        places = [
            (place, name)
            for name, string in self._strings
            for place in [unsent.find(string, max(0, len(unsent) - len(string) - len(piece)))]
            if place >= 0
        ]
        if places:
            # Of two at the same place, the first in the list.
            place, self.found = min(places, key=lambda found: found[0])
            self._text = self._text[: self._sent + place]
        elif is_last or not any(_ends_with_start_of(unsent, string) for _, string in self._strings):
            self._sent = len(self._text)


def _ends_with_start_of(text: bytes, string: bytes) -> bool:
    return any(text.endswith(string[:size]) for size in range(1, len(string) + 1))


def _ends_within_character(text: bytes) -> bool:
    # As many bytes as the first one of a character announces.
    needed = ((0b110, 5, 2), (0b1110, 4, 3), (0b11110, 3, 4))
    return any(
        byte >> shift == start and size < length
        for size, byte in enumerate(reversed(text[-_LONGEST_CHARACTER:]), start=1)
        for start, shift, length in needed
    )
