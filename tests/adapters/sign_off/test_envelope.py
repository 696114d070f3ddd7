"""DSSE envelopes: what is written, and what is read and refused."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.sign_off.envelope import (
    MAX_BYTES,
    MAX_SIGNATURES,
    Envelope,
    envelope_of,
    parse_envelope,
    read_envelope,
    signed,
)
from repro_gate.errors import InputInvalid, UsageInvalid
from tests.fakes.signing import envelope_bytes, key_of, signature_of, text64

FILE = Path("evidence.dsse.json")
PAYLOAD = b'{"a":1}'
ALICE, BOB = key_of("alice"), key_of("bob")
KEYS = [ALICE.public, BOB.public]
ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order L of the group of Ed25519."""


def signers_of(data: bytes) -> set[str]:
    """Return who of alice and bob signed."""
    found = parse_envelope(data, FILE).signers_of(KEYS)
    return {name for name in ("alice", "bob") if key_of(name).public in found}


def refusal(data: bytes) -> str:
    """Return why the bytes are no envelope."""
    with pytest.raises(InputInvalid) as refused:
        parse_envelope(data, FILE)
    return str(refused.value)


def without_keyids() -> bytes:
    """Return an envelope of both without key ids."""
    signatures = [{"sig": signature_of(name, PAYLOAD)["sig"]} for name in ("alice", "bob")]
    return envelope_bytes(PAYLOAD, signatures=signatures)


def with_signatures(*signatures: Any) -> bytes:
    """Return an envelope with these signatures."""
    return envelope_bytes(PAYLOAD, signatures=list(signatures))


def with_s_plus_l() -> Any:
    """Return a signature of alice in the second form that a lax verifier takes too."""
    good = signature_of("alice", PAYLOAD)
    value = base64.b64decode(good["sig"])
    s = int.from_bytes(value[32:], "little") + ORDER
    return {**good, "sig": text64(value[:32] + s.to_bytes(32, "little"))}


A, B = signature_of("alice", PAYLOAD), signature_of("bob", PAYLOAD)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(with_signatures(A, B), {"alice", "bob"}, id="good"),
        pytest.param(
            with_signatures({**A, "keyid": B["keyid"]}, {**B, "keyid": A["keyid"]}),
            {"alice", "bob"},
            id="key-ids-exchanged",
        ),
        pytest.param(without_keyids(), {"alice", "bob"}, id="no-key-ids"),
        pytest.param(
            with_signatures({**A, "keyid": None}, B), {"alice", "bob"}, id="key-id-is-null"
        ),
        pytest.param(
            with_signatures(A, B, {"sig": text64(b"worthless")}), {"alice", "bob"}, id="worthless"
        ),
        pytest.param(
            with_signatures({**A, "sig": A["sig"].translate(str.maketrans("+/", "-_"))}, B),
            {"alice", "bob"},
            id="url-safe-base64",
        ),
        pytest.param(envelope_bytes(PAYLOAD, "alice", "bob", x={"y": 1}), {"alice", "bob"}, id="x"),
        pytest.param(with_signatures(A, A), {"alice"}, id="alice-twice"),
        pytest.param(with_signatures(A, {**A, "keyid": B["keyid"]}), {"alice"}, id="alice-as-bob"),
        pytest.param(with_signatures(A, {**A, "keyid": ""}), {"alice"}, id="alice-as-nobody"),
        pytest.param(envelope_bytes(PAYLOAD, "alice", "eve"), {"alice"}, id="a-stranger"),
        pytest.param(
            with_signatures(A, signature_of("eve", PAYLOAD, keyid=B["keyid"])),
            {"alice"},
            id="a-stranger-as-bob",
        ),
        pytest.param(with_signatures(with_s_plus_l(), B), {"bob"}, id="S-plus-L"),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", "bob", payload=text64(b'{"a":2}')), set(), id="payload"
        ),
    ],
)
def test_signers_are_keys_and_each_counts_once(data: bytes, expected: set[str]) -> None:
    """Whatever the key ids claim."""
    assert signers_of(data) == expected


LATER_TWICE = envelope_bytes(PAYLOAD, "alice", "bob").decode()[:-1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "expected a JSON file, found an empty file", id="empty"),
        pytest.param(
            b"\xef\xbb\xbf" + envelope_bytes(PAYLOAD, "alice"), "found a byte order mark", id="BOM"
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice").decode().encode("utf-16"), "found UTF-16", id="UTF-16"
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice") + b"{}", "expected nothing after the value", id="after"
        ),
        pytest.param(
            f'{LATER_TWICE}, "payload": "e30="}}'.encode(),
            "the key 'payload' twice",
            id="payload-twice",
        ),
        pytest.param(
            f'{LATER_TWICE}, "Payload": "e30=", "Signatures": []}}'.encode(),
            "two names in one object that differ in case or underscores only",
            id="another-statement-in-capitals",
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", kind="application/json"),
            "payloadType: expected one of application/vnd.in-toto+json, found another string",
            id="another-payload-type",
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", kind="application/vnd.in-toto+JSON"),
            "payloadType: expected one of",
            id="payload-type-in-capitals",
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", kind="application/vnd.in-t\u043et\u043e+json"),
            "payloadType: expected one of",
            id="payload-type-in-Cyrillic",
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", payloadType=None),
            "payloadType: expected one of application/vnd.in-toto+json, found nothing",
            id="no-payload-type",
        ),
        pytest.param(
            with_signatures(A, {"sig": "?"}), "signatures[1].sig: expected base64", id="no-base64"
        ),
        pytest.param(
            with_signatures(A, "x"), "signatures[1]: expected an object, found a string", id="text"
        ),
        pytest.param(
            with_signatures({**A, "keyid": 1}), "signatures[0].keyid: expected a string", id="keyid"
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", payload="e31="),
            "payload: expected canonical base64",
            id="spare-bits",
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", payload="eyJh\nIjoxfQ=="),
            "payload: expected base64",
            id="line-break",
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", payload="eyJhIjoxfQ"),
            "payload: expected base64",
            id="no-padding",
        ),
        pytest.param(
            envelope_bytes(PAYLOAD, "alice", payload="eyJhIjoxfQ==e30="),
            "payload: expected base64",
            id="after-padding",
        ),
        pytest.param(
            with_signatures(), "signatures: expected 1 to 16 signatures, found 0", id="unsigned"
        ),
        pytest.param(
            with_signatures(*[A] * 17), "expected 1 to 16 signatures, found 17", id="17-signatures"
        ),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep"),
        pytest.param(b"[]", "expected an object, found an empty list", id="a-list"),
    ],
)
def test_an_ambiguous_or_malformed_envelope_is_refused(data: bytes, message: str) -> None:
    """The message names the file and the place."""
    assert refusal(data).startswith("evidence.dsse.json: ")
    assert message in refusal(data)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "an empty file"),
        (b'{"a":1}{}', "expected nothing after the value"),
        (b'\xef\xbb\xbf{"a":1}', "a byte order mark"),
        ('{"a":1}'.encode("utf-16"), "UTF-16"),
        (b'{"a":"\xff"}', "expected UTF-8"),
        (b'{"a":"\\ud800"}', "a lone surrogate"),
        (b'{"a":NaN}', "NaN, which is not a number"),
        (b'{"a":1e400}', "a number with a fraction or an exponent"),
        (b'{"a":[{"b":1.0}]}', "a number with a fraction or an exponent"),
        (b'{"a":9007199254740992}', "an integer beyond 9007199254740991"),
        (b'{"a":-9007199254740992}', "an integer beyond 9007199254740991"),
        (b'{"a":1,"a":1}', "the key 'a' twice"),
        (b'{"x":[{"result":1,"Result":2}]}', "differ in case or underscores only"),
        # protobuf takes both for one field, and the last one counts.
        (b'{"predicateType":1,"predicate_type":2}', "differ in case or underscores only"),
        # The Kelvin sign, which Go takes for a k.
        ('{"kind":1,"\u212aind":2}'.encode(), "differ in case or underscores only"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_payload_with_two_meanings_is_refused(payload: bytes, message: str) -> None:
    """Also when everybody has signed it."""
    envelope = parse_envelope(envelope_bytes(payload, "alice", "bob"), FILE)

    assert len(envelope.signers_of(KEYS)) == 2
    with pytest.raises(InputInvalid) as refused:
        envelope.data()
    assert str(refused.value).startswith("evidence.dsse.json (payload): ")
    assert message in str(refused.value)


def test_the_largest_integer_that_every_reader_has_is_accepted() -> None:
    """In both directions."""
    payload = b'{"a":[9007199254740991,-9007199254740991]}'

    assert parse_envelope(envelope_bytes(payload, "alice"), FILE).data() == {
        "a": [2**53 - 1, 1 - 2**53]
    }


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """64 MB."""
    file = tmp_path / "evidence.dsse.json"
    with file.open("wb") as stream:
        stream.truncate(64 << 20)

    with pytest.raises(InputInvalid, match=f"expected at most {MAX_BYTES} bytes, found 67108864"):
        read_envelope(file)
    with pytest.raises(InputInvalid, match=f"expected at most {MAX_BYTES} bytes"):
        parse_envelope(b" " * (MAX_BYTES + 1), file)


def test_a_link_is_no_evidence(tmp_path: Path) -> None:
    """It could lead to a file that the recipient trusts for another reason."""
    (tmp_path / "other.json").write_bytes(envelope_bytes(PAYLOAD, "alice"))
    (tmp_path / "evidence.dsse.json").symlink_to("other.json")

    with pytest.raises(InputInvalid, match="expected no symbolic link"):
        read_envelope(tmp_path / "evidence.dsse.json")


def test_what_is_written_is_read_again() -> None:
    """With both signatures; their order is that of signing."""
    made = signed(signed(envelope_of({"b": "\u00e9", "a": 1}), ALICE), BOB)

    assert made.payload == b'{"a":1,"b":"\\u00e9"}'
    assert parse_envelope(made.text().encode("ascii"), FILE) == made
    assert made.signers_of(KEYS) == set(KEYS)
    assert [one.keyid for one in made.signatures] == [ALICE.public.id, BOB.public.id]


def test_signing_again_replaces_the_own_signature() -> None:
    """Whatever its key id claims."""
    first = signed(envelope_of({}), ALICE)
    renamed = parse_envelope(first.text().replace(ALICE.public.id, "x").encode(), FILE)

    assert signed(renamed, ALICE) == first


def test_signatures_do_not_change_the_identity_of_evidence() -> None:
    """It is that of the payload."""
    once = signed(envelope_of({}), ALICE)

    assert signed(once, BOB).sha256 == once.sha256 == envelope_of({}).sha256


def test_nothing_is_signed_that_could_not_be_verified() -> None:
    """The limits of reading hold for writing."""
    full = envelope_of({})
    for index in range(MAX_SIGNATURES):
        full = signed(full, key_of(str(index)))

    with pytest.raises(UsageInvalid, match="at most 16 signatures"):
        signed(full, ALICE)
    with pytest.raises(UsageInvalid, match="1048576 bytes"):
        signed(envelope_of("x" * MAX_BYTES), ALICE)


@given(data=st.data())
def test_no_changed_byte_leaves_other_content_signed(data: st.DataObject) -> None:
    """A changed envelope is refused, loses its signers, or means the same (white space)."""
    good = envelope_bytes(PAYLOAD, "alice", "bob")
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_envelope(bytes(changed), FILE)
    except InputInvalid:
        return

    assert found.payload == PAYLOAD or found.signers_of(KEYS) == set()


def test_the_published_vector_of_the_encoding() -> None:
    """The signature of DSSE's own example is over these bytes, for our payload type."""
    made = signed(Envelope(payload=b"hello world"), ALICE)

    message = b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    assert ALICE.public.verifies(made.signatures[0].value, message)
    assert json.loads(made.text())["payloadType"] == "application/vnd.in-toto+json"
