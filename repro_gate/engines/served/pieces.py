"""The bytes of tokens, as far as a server shows them."""

from collections.abc import Iterable
from threading import Lock
from typing import Final

from repro_gate.engines.served.dialects.dialect import REPLACED, Dialect

_PLAIN: Final = "A b , c . d ! e ? f 's don 't we 're I 'm 've\n\n  g"
"""Some tokenizers drop spaces before punctuation when they write a text."""


class Pieces:
    """What each token adds to a text; asked for once."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: dict[int, str | None] = {}
        self._are_exact: bool | None = None
        self._asking = Lock()

    def to_wire(self, ids: Iterable[int]) -> list[list[int | str | None]]:
        """Return the tokens for an answer; those without known bytes have null."""
        return [[each, self._hex(each)] for each in ids]

    def text_of(self, token: int) -> str | None:
        """Return what a token adds to a text, or None where that is not known exactly."""
        with self._asking:
            if self._are_exact is None:
                self._are_exact = self._spells(_PLAIN)
            return self._piece(token) if self._are_exact else None

    def _hex(self, token: int) -> str | None:
        text = self.text_of(token)
        return None if text is None else text.encode().hex()

    def _spells(self, text: str) -> bool:
        ids = self._dialect.tokenize_plain(text)
        pieces = [self._piece(each) for each in ids or ()]
        spelled = "".join(piece or REPLACED for piece in pieces)
        return bool(pieces) and spelled.removeprefix(" ") == text

    def _piece(self, token: int) -> str | None:
        if token not in self._known:
            self._known[token] = _second(self._dialect.detokenize([token, token]))
        return self._known[token]


def _second(twice: str | None) -> str | None:
    """Return what the second of two equal tokens adds: the first may lose its space."""
    if twice is None or REPLACED in twice:
        return None
    half, is_odd = divmod(len(twice), 2)
    first, second = twice[:half], twice[half:]
    return second if second == (f" {first}" if is_odd else first) else None
