"""DSSE envelopes: the signed files of a sign-off.

The payload is decoded once, and what was verified is what is parsed. Key ids are hints that anybody
can write, so they are written and never read. JSON that two readers could understand differently
is refused: names that are equal but for case and underscores, floats, and integers beyond 2^53.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from repro_gate.adapters.files.parsing import Limits, json_of
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.adapters.sign_off.keys import PublicKey, SigningKey
from repro_gate.errors import InputInvalid, UsageInvalid
from repro_gate.strict_json import InvalidJson, array, choice, string, table

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_BYTES: Final = 1 << 20
"""Of an envelope; about 10,000 names of tests."""
MAX_SIGNATURES: Final = 16
MAX_INTEGER: Final = 2**53 - 1
"""Larger integers are not the same in every reader of JSON."""
_LIMITS: Final = Limits(max_bytes=MAX_BYTES, max_values=250_000)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_URL_SAFE_TEXT: Final = re.compile(r"[A-Za-z0-9_-]*={0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature that was not verified yet."""

    value: bytes
    keyid: str = ""
    """A hint for people; not signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload and signatures of it; see `signers_of`."""

    payload: bytes
    signatures: tuple[Signature, ...] = ()
    origin: str = field(default="", compare=False)
    """The file, for messages."""

    @property
    def sha256(self) -> str:
        """The identity of what is signed; the file itself may gain signatures."""
        return hashlib.sha256(self.payload).hexdigest()

    def signers_of(self, keys: Iterable[PublicKey]) -> frozenset[PublicKey]:
        """Return which of these keys signed the payload; each counts once."""
        message = _signed_bytes(self.payload)
        return frozenset(
            key
            for key in keys
            if any(key.verifies(signature.value, message) for signature in self.signatures)
        )

    def data(self) -> Any:
        """Return the JSON data of the payload; raises `InputInvalid`.

        Verify the signatures first: until then, it is anybody's text.
        """
        return _strict_json(self.payload, Path(f"{self.origin} (payload)"))

    def text(self) -> str:
        """Return the content of a file, as every DSSE verifier reads it."""
        signatures = [
            {"keyid": signature.keyid, "sig": base64.b64encode(signature.value).decode("ascii")}
            for signature in self.signatures
        ]
        payload = base64.b64encode(self.payload).decode("ascii")
        data = {"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": signatures}
        return f"{_json_text(data)}\n"


def envelope_of(statement: Any) -> Envelope:
    """Return an envelope without signatures around a statement.

    Args:
        statement: its JSON data.
    """
    return Envelope(payload=_json_text(statement).encode("ascii"))


def signed(envelope: Envelope, key: SigningKey) -> Envelope:
    """Return an envelope with one more signature; one of the same key is replaced.

    Raises:
        UsageInvalid: it would be too large, or have too many signatures, to be verified.
    """
    # They take a tenth of a second to import, and are needed for signing only.
    from securesystemslib import dsse  # noqa: PLC0415

    # Public, though its package has no __all__.
    from securesystemslib.signer import (  # noqa: PLC0415
        CryptoSigner,  # pyright: ignore[reportPrivateImportUsage] -- see above
        SSlibKey,  # pyright: ignore[reportPrivateImportUsage] -- see above
    )

    public = SSlibKey.from_crypto(key.private.public_key(), keyid=key.public.id)
    blank = dsse.Envelope(envelope.payload, PAYLOAD_TYPE, {})
    made = bytes.fromhex(blank.sign(CryptoSigner(key.private, public)).signature)
    message = _signed_bytes(envelope.payload)
    others = [one for one in envelope.signatures if not key.public.verifies(one.value, message)]
    new = replace(envelope, signatures=(*others, Signature(value=made, keyid=key.public.id)))
    if len(new.signatures) > MAX_SIGNATURES or len(new.text()) > MAX_BYTES:
        raise UsageInvalid(
            f"this cannot be signed: an envelope has at most {MAX_SIGNATURES} signatures and "
            f"{MAX_BYTES} bytes, got {len(new.signatures)} and {len(new.text())}"
        )
    return new


def read_envelope(file: Path) -> Envelope:
    """Read an envelope from an untrusted folder; raises `InputInvalid`."""
    data = read_regular_file(file, max_bytes=MAX_BYTES, may_be_link=False)
    return parse_envelope(data, file)


def parse_envelope(data: bytes, file: Path) -> Envelope:
    """Parse the bytes of an envelope; raises `InputInvalid` that names the file and the place.

    Nothing is verified; other fields are ignored, as DSSE demands.
    """
    if len(data) > MAX_BYTES:
        expected, found = f"at most {MAX_BYTES} bytes", str(len(data))
        raise InputInvalid.at(file, "", expected=expected, found=found)
    try:
        return _envelope_from(_strict_json(data, file), origin=str(file))
    except InvalidJson as error:
        raise InputInvalid.at(
            file, error.place, expected=error.expected, found=error.found
        ) from error


def _envelope_from(document: object, *, origin: str) -> Envelope:
    fields = table(document)
    choice(fields.get("payloadType"), "payloadType", (PAYLOAD_TYPE,))
    signatures = array(fields.get("signatures"), "signatures")
    if not 0 < len(signatures) <= MAX_SIGNATURES:
        expected = f"1 to {MAX_SIGNATURES} signatures"
        raise InvalidJson("signatures", expected=expected, found=str(len(signatures)))
    return Envelope(
        payload=_base64(fields.get("payload"), "payload"),
        signatures=tuple(_signatures(signatures)),
        origin=origin,
    )


def _signatures(items: Sequence[Any]) -> Iterator[Signature]:
    for index, item in enumerate(items):
        place = f"signatures[{index}]"
        fields = table(item, place)
        keyid = fields.get("keyid")
        yield Signature(
            value=_base64(fields.get("sig"), f"{place}.sig"),
            keyid="" if keyid is None else string(keyid, f"{place}.keyid"),
        )


def _signed_bytes(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding, whose lengths are of bytes."""
    kind = PAYLOAD_TYPE.encode("ascii")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _base64(value: object, place: str) -> bytes:
    """Return the bytes of standard or URL-safe base64 in its one canonical form."""
    text = string(value, place)
    if _URL_SAFE_TEXT.fullmatch(text):
        text = text.translate(_URL_SAFE)
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidJson(place, expected="base64", found="something else") from error
    # Spare bits and other padding: two texts for the same bytes.
    if base64.b64encode(data).decode("ascii") != text:
        raise InvalidJson(place, expected="canonical base64", found="another form of it")
    return data


def _json_text(data: Any) -> str:
    """Return JSON that is the same for the same data."""
    return json.dumps(
        data, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")
    )


def _strict_json(data: bytes, file: Path) -> Any:
    document = json_of(data, file, _LIMITS)
    for problem in _ambiguities(document):
        raise InputInvalid.at(file, "", expected="JSON with one meaning", found=problem)
    return document


def _ambiguities(document: Any) -> Iterator[str]:
    """Yield what other readers of JSON could understand differently."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            folded = {str(name).replace("_", "").casefold() for name in value}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            if len(folded) < len(value):  # pyright: ignore[reportUnknownArgumentType]
                yield "two names in one object that differ in case or underscores only"
            waiting.extend(value.values())  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, list):
            waiting.extend(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, float):
            yield "a number with a fraction or an exponent"
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            yield f"an integer beyond {MAX_INTEGER}"
