"""Keys for tests, the same every time, and envelopes that are wrong in a chosen way."""

import base64
import json
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from repro_gate.adapters.sign_off.envelope import PAYLOAD_TYPE
from repro_gate.adapters.sign_off.keys import PublicKey, SigningKey


@cache
def key_of(name: str) -> SigningKey:
    """Return the key of a person of this name."""
    private = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
    return SigningKey(PublicKey(private.public_key().public_bytes_raw()), private)


def text64(data: bytes) -> str:
    """Return base64."""
    return base64.b64encode(data).decode("ascii")


def signature_of(name: str, payload: bytes, /, kind: str = PAYLOAD_TYPE, **fields: Any) -> Any:
    """Return the entry of an envelope by which a person signs a payload; fields replace its own."""
    message = b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)
    key = key_of(name)
    return {"keyid": key.public.id, "sig": text64(key.private.sign(message)), **fields}


def envelope_bytes(
    payload: bytes, /, *names: str, kind: str = PAYLOAD_TYPE, **fields: Any
) -> bytes:
    """Return an envelope that these people signed; fields replace its own."""
    data = {
        "payload": text64(payload),
        "payloadType": kind,
        "signatures": [signature_of(name, payload, kind) for name in names],
    }
    return json.dumps(data | fields).encode()
