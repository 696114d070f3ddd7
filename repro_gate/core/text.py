"""Untrusted bytes as text that is safe to print, and that still says every byte."""

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
"""What Unicode displays as nothing (Default_Ignorable_Code_Point) and Python calls printable."""


def escape_bytes(data: bytes) -> str:
    r"""Return `data` as one line of printable text, reversible by `unescape_bytes`.

    Valid printable UTF-8 stands for itself; control, bidirectional, zero-width and invalid
    bytes are written as `\xNN`, so nothing that a model says can move a cursor, hide text or
    reorder it.
    """
    text = data.decode("utf-8", errors="surrogateescape")
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_spell_character(character) for character in text)


def unescape_bytes(text: str) -> bytes:
    r"""Return the bytes that `escape_bytes` was given.

    Raises:
        ValueError: `text` holds a backslash that `escape_bytes` would not have written.
    """
    data = bytearray()
    position = 0
    for escape in _ESCAPE.finditer(text):
        data += _plain(text[position : escape.start()])
        code, named = escape.groups()
        data += bytes.fromhex(code) if code else _UNNAMED[named]
        position = escape.end()
    return bytes(data + _plain(text[position:]))


def escape_text(text: str) -> str:
    """Return foreign text, such as a message of an engine, as one safe line."""
    return escape_bytes(text.encode("utf-8", errors="surrogatepass"))


def unescape_text(text: str) -> str:
    """Return the text that `escape_text` escaped; raises ValueError like `unescape_bytes`."""
    return unescape_bytes(text).decode("utf-8", errors="surrogatepass")


def _plain(text: str) -> bytes:
    if "\\" in text:
        raise ValueError(f"a backslash that starts no escape in {text!r}")
    return text.encode("utf-8")


def _spell_character(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    raw = character.encode("utf-8", errors="surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def digest_of(data: object) -> str:
    """Return the SHA-256 of plain JSON data in its canonical form.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
