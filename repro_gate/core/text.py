"""Reversible escaping of untrusted bytes and text, and digests of JSON data."""

import hashlib
import json
import re

_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|([\\nrt]))")
_UNNAMED = {"\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Default_Ignorable_Code_Point characters that `str.isprintable` accepts."""


def escape_bytes(data: bytes) -> str:
    r"""Escape bytes as one line of printable text; `unescape_bytes` reverses it.

    Printable UTF-8 is kept. Control, bidirectional, zero-width and invalid bytes become `\xNN`,
    so that untrusted output cannot move a cursor, hide text or reorder it.
    """
    text = data.decode("utf-8", errors="surrogateescape")
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape_character(character) for character in text)


def unescape_bytes(text: str) -> bytes:
    r"""Reverse `escape_bytes`.

    Raises:
        ValueError: `text` has a backslash that starts no valid escape.
    """
    if "\\" not in text:
        return text.encode("utf-8")
    data = bytearray()
    position = 0
    for escape in _ESCAPE.finditer(text):
        data += _plain(text[position : escape.start()])
        code, named = escape.groups()
        data += bytes.fromhex(code) if code else _UNNAMED[named]
        position = escape.end()
    return bytes(data + _plain(text[position:]))


def escape_text(text: str) -> str:
    """Escape untrusted text, such as an engine's message, as one safe line."""
    return escape_bytes(text.encode("utf-8", errors="surrogatepass"))


def unescape_text(text: str) -> str:
    """Reverse `escape_text`; raises ValueError like `unescape_bytes`."""
    return unescape_bytes(text).decode("utf-8", errors="surrogatepass")


def _plain(text: str) -> bytes:
    if "\\" in text:
        raise ValueError(f"a backslash that starts no escape in {text!r}")
    return text.encode("utf-8")


def _escape_character(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    raw = character.encode("utf-8", errors="surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def digest_of(data: object) -> str:
    """Return the SHA-256 of plain JSON data in its canonical form.

    Raises:
        ValueError: a number is not finite.
    """
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
