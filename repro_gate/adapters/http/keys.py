"""A key: sent in one header, and shown nowhere."""

import base64
import html
import re
from dataclasses import dataclass, field
from functools import cache

from repro_gate.core.text import printable

_LONGEST = 300
"""What a server says beyond so many characters is not for a reader."""
_MOST_READ = 1 << 16
_SENDABLE = re.compile(r"[!-~]+")
"""Visible ASCII: what any server takes in a header."""
_INSTEAD = "***"


@dataclass(frozen=True, slots=True)
class Key:
    """A key, which leaves in a header and in no text."""

    _secret: str | None = field(default=None, repr=False)
    """None for an API that wants no key."""

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that shows the key to its server."""
        return {} if self._secret is None else {"Authorization": f"Bearer {self._secret}"}

    def scrub(self, text: str) -> str:
        """Return a text without the key, however it is written: servers like to quote it."""
        return text if self._secret is None else _spellings(self._secret).sub(_INSTEAD, text)

    def scrub_bytes(self, data: bytes) -> bytes:
        """Return bytes without the key."""
        return self.scrub(data.decode("latin-1")).encode("latin-1")

    def quote(self, foreign: str, *, longest: int = _LONGEST) -> str:
        """Return what a server says as one safe line of bounded length without the key."""
        # Scrubbed before it is cut to what is shown: the first half of a key is a secret too.
        words = self.scrub(" ".join(foreign.split())[:_MOST_READ])
        return printable(words[:longest]) + ("..." if len(words) > longest else "")


def is_sendable(secret: str) -> bool:
    """Return whether a header can hold a key."""
    return _SENDABLE.fullmatch(secret) is not None


@cache
def _spellings(secret: str) -> re.Pattern[str]:
    """Return what finds a key in a message, a URL, JSON, HTML or a header in base64."""
    encoded = base64.b64encode(secret.encode()).decode()
    return re.compile("".join(map(_spellings_of, secret)) + "|" + re.escape(encoded.rstrip("=")))


def _spellings_of(character: str) -> str:
    code = ord(character)
    spellings = (
        re.escape(character),
        f"(?i:%{code:02x})",
        rf"(?i:\\u{code:04x})",
        rf"\\{re.escape(character)}",
        re.escape(html.escape(character)),
        f"&#0*{code};",
        f"(?i:&#x0*{code:x};)",
    )
    return f"(?:{'|'.join(spellings)})"
