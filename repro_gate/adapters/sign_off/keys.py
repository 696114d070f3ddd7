"""Ed25519 keys: public ones as the recipient lists them, private ones from PKCS#8 files.

Nothing of a private key is ever in a message.
"""

import base64
import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repro_gate.adapters.files.untrusted_files import open_regular_file
from repro_gate.errors import InputInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_KEY_BYTES: Final = 16 << 10
_PRIME: Final = 2**255 - 19
_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_WEAK: Final = frozenset({0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8})
"""The y of the points of small order: one signature by such a key verifies any message."""
_DER_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
"""What comes before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo (RFC 8410)."""
_RAW_BYTES: Final = 32
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----")
_PUBLIC: Final = "PUBLIC KEY"
_EXPECTED: Final = "a private Ed25519 key in PKCS#8 PEM (openssl genpkey -algorithm ed25519)"
_OTHERS: Final = {
    b"-----BEGIN PUBLIC KEY-----": "a public key",
    b"-----BEGIN OPENSSH ": "a key in the format of ssh-keygen",
}
"""How files begin that are easily taken for a private key in PKCS#8."""
PASSWORD_VARIABLE: Final = "REPRO_GATE_KEY_PASSWORD"  # noqa: S105 -- the name of a variable
"""The environment variable with the password of an encrypted private key."""


class KeyInvalid(ValueError):
    """A text is no public key that can be trusted; the message never quotes it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key; two are equal when their 32 bytes are, however they were written."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != _RAW_BYTES:
            raise KeyInvalid(f"an Ed25519 key has {_RAW_BYTES} bytes, not {len(self.raw)}")
        # The highest bit is the sign of x.
        y = int.from_bytes(self.raw, "little") & ((1 << 255) - 1)
        if y % _PRIME in _WEAK:
            raise KeyInvalid("a weak key (of small order), under which anybody can sign")

    @property
    def der(self) -> bytes:
        """The key as SubjectPublicKeyInfo."""
        return _DER_PREFIX + self.raw

    @property
    def text(self) -> str:
        """The key as one line, as a policy lists it: the base64 of `der`."""
        return base64.b64encode(self.der).decode("ascii")

    @property
    def id(self) -> str:
        """The key id in an envelope, a hint for people: the sha256 of `der`."""
        return hashlib.sha256(self.der).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether this key made a signature of a message."""
        # It takes a tenth of a second to import, and most commands need no keys.
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private Ed25519 key, which is in no output."""

    public: PublicKey
    private: "Ed25519PrivateKey" = field(repr=False, compare=False)


def public_key_of(text: str) -> PublicKey:
    """Return the public key of a text: PEM, or the base64 between its lines.

    Raises:
        KeyInvalid: it is something else, such as a private key or a key of another kind.
    """
    blocks = _PEM.findall(text)
    if len(blocks) > 1:
        raise KeyInvalid(f"{len(blocks)} keys in one text")
    label, body = blocks[0] if blocks else (_PUBLIC, text)
    if label != _PUBLIC:
        raise KeyInvalid(f"a PEM block of kind {label}, not {_PUBLIC}")
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except ValueError as error:
        raise KeyInvalid("neither PEM nor base64") from error
    if not der.startswith(_DER_PREFIX):
        raise KeyInvalid("a key of another kind than Ed25519, or no key")
    return PublicKey(der.removeprefix(_DER_PREFIX))


def read_signing_key(file: Path) -> SigningKey:
    """Read a private key in PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it.

    The password of an encrypted one is in the environment variable `PASSWORD_VARIABLE`.

    Raises:
        InputInvalid: others can read the file, or it is not such a key.
    """
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 -- see above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    data = _protected(file)
    password = os.environb.get(PASSWORD_VARIABLE.encode()) or None
    try:
        key = load_pem_private_key(data, password)
    except TypeError as error:
        # cryptography's word for a password that is missing or of no use.
        found = f"an unencrypted key, though {PASSWORD_VARIABLE} is set"
        if password is None:
            found = f"an encrypted key; set {PASSWORD_VARIABLE} to its password"
        raise InputInvalid.at(file, "", expected=_EXPECTED, found=found) from error
    except Exception as error:  # its backend has exceptions of its own, and may quote the key
        wrong_password = f", or {PASSWORD_VARIABLE} is wrong" if password else ""
        found = f"something else{wrong_password}"
        raise InputInvalid.at(file, "", expected=_EXPECTED, found=found) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputInvalid.at(file, "", expected=_EXPECTED, found="a key of another kind")
    return SigningKey(PublicKey(key.public_key().public_bytes_raw()), key)


def _protected(file: Path) -> bytes:
    """Return the content of a file that only its owner can read."""
    with open_regular_file(file) as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
        data = stream.read(_MAX_KEY_BYTES)
    for start, other in _OTHERS.items():
        if data.startswith(start):
            raise InputInvalid.at(file, "", expected=_EXPECTED, found=other)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        expected = f"a file that only its owner can read (chmod 600 {file})"
        raise InputInvalid.at(file, "", expected=expected, found=f"the mode {mode:04o}")
    return data
