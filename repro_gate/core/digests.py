"""Digests of what JSON data says, however it is written down."""

import hashlib
import json


def digest_of(data: object) -> str:
    """Return the SHA-256 of plain JSON data in its canonical form.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
