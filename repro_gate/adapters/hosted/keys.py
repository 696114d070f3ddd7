"""The key of a provider: read from the environment, sent in one header, and shown nowhere."""

import base64
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from repro_gate.core.policies import ProviderSpec
from repro_gate.core.text import printable
from repro_gate.errors import MeasurementUnavailable

_LONGEST = 300
"""What a server says beyond so many characters is not for a reader."""
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
        """Return the header that shows the key to its provider."""
        return {} if self._secret is None else {"Authorization": f"Bearer {self._secret}"}

    def scrub(self, text: str) -> str:
        """Return a text without the key, however it is written: servers like to quote it."""
        for form in _forms(self._secret) if self._secret else ():
            text = text.replace(form, _INSTEAD)
        return text

    def scrub_bytes(self, data: bytes) -> bytes:
        """Return bytes without the key."""
        return self.scrub(data.decode("latin-1")).encode("latin-1")

    def quote(self, foreign: str, *, longest: int = _LONGEST) -> str:
        """Return what a server says as one safe line of bounded length without the key."""
        # Scrubbed before it is cut: the first half of a key is a secret too.
        words = " ".join(self.scrub(foreign).split())
        return printable(words[:longest]) + ("..." if len(words) > longest else "")


def read_key(provider: ProviderSpec, environ: Mapping[str, str]) -> Key:
    """Return the key of a provider.

    Raises:
        MeasurementUnavailable: its variable is not set, or holds what is no key; the message
            names the variable and never what it holds.
    """
    name = provider.api_key_env
    if name is None:
        return Key()
    secret = environ.get(name, "")
    remedy = f"set {name} to a key of {provider.name}"
    if not secret.strip():
        raise MeasurementUnavailable(f"{name} is not set", remedy=remedy)
    if not _SENDABLE.fullmatch(secret):
        raise MeasurementUnavailable(
            f"{name} holds a space, a line break or another character that no key has",
            remedy=remedy,
        )
    return Key(secret)


def _forms(secret: str) -> list[str]:
    """Return how a key may be written in a message, a URL, JSON or HTML."""
    forms = {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        html.escape(secret),
        printable(secret),
        base64.b64encode(secret.encode()).decode(),
    }
    return sorted(forms, key=len, reverse=True)
