"""Public keys as recipients list them, and private keys as signers keep them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from repro_gate.adapters.sign_off.keys import (
    PASSWORD_VARIABLE,
    KeyInvalid,
    PublicKey,
    public_key_of,
    read_signing_key,
)
from repro_gate.errors import InputInvalid
from tests.fakes.signing import key_of

ALICE = key_of("alice")
PEM = ALICE.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PRIME = 2**255 - 19
D = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME


def private_pem(encryption: KeySerializationEncryption | None = None) -> bytes:
    """Return alice's private key."""
    encryption = encryption or NoEncryption()
    return ALICE.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "text",
    [
        PEM.decode(),
        PEM.decode().replace("\n", "\r\n"),
        f"# alice, release\n{PEM.decode()}\n# until 2027\n",
        PEM.decode().strip(),
        ALICE.public.text,
        f" {ALICE.public.text}\n",
    ],
)
def test_one_key_is_equal_however_it_is_written(text: str) -> None:
    """Comments and line ends are not part of it."""
    assert public_key_of(text) == ALICE.public
    assert public_key_of(text).id == ALICE.public.id


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Return the public part."""
    encoded = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (private_pem().decode(), "a PEM block of kind PRIVATE KEY, not PUBLIC KEY"),
        (PEM.decode() * 2, "2 keys in one text"),
        (public_pem(ec.generate_private_key(ec.SECP256R1())), "another kind than Ed25519"),
        ("", "another kind than Ed25519, or no key"),
        ("ssh-ed25519 AAAA", "neither PEM nor base64"),
        (ALICE.public.text[:-4], "an Ed25519 key has 32 bytes, not 30"),
    ],
)
def test_anything_else_is_no_key(text: str, message: str) -> None:
    """The message does not quote it: it could be a private key."""
    with pytest.raises(KeyInvalid, match=message) as refused:
        public_key_of(text)
    assert "MC4" not in str(refused.value)


def is_small(y: int) -> bool:
    """Return whether eight times a point with this y is the neutral element, whose y is 1."""
    for _ in range(3):
        x2 = (y * y - 1) * pow(D * y * y + 1, PRIME - 2, PRIME) % PRIME
        y = (y * y + x2) * pow(1 - D * x2 * y * y, PRIME - 2, PRIME) % PRIME
    return y == 1


ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
WEAK = (0, 1, PRIME - 1, PRIME, PRIME + 1, ORDER_8, PRIME - ORDER_8)


@pytest.mark.parametrize("y", WEAK)
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_under_which_anybody_can_sign_is_refused(y: int, sign: int) -> None:
    """Points of small order, in each of their encodings."""
    assert is_small(y % PRIME)

    with pytest.raises(KeyInvalid, match="a weak key"):
        PublicKey((y | sign << 255).to_bytes(32, "little"))


def test_a_weak_key_would_verify_anything() -> None:
    """Which is why the library alone is not enough."""
    weak = ed25519.Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))

    weak.verify((1).to_bytes(32, "little") + bytes(32), b"any message")


def test_a_private_key_is_read(tmp_path: Path) -> None:
    """PKCS#8, as openssl writes it; its representation has nothing of it."""
    file = tmp_path / "alice.key"
    file.write_bytes(private_pem())
    file.chmod(0o600)

    key = read_signing_key(file)

    assert key == ALICE
    assert "private" not in repr(key)


def test_an_encrypted_key_takes_its_password_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never from the command line."""
    file = tmp_path / "alice.key"
    file.write_bytes(private_pem(BestAvailableEncryption(b"secret")))
    file.chmod(0o600)
    for password, message in ((None, "set REPRO_GATE_KEY_PASSWORD"), ("wrong", "is wrong")):
        if password is not None:
            monkeypatch.setenv(PASSWORD_VARIABLE, password)
        with pytest.raises(InputInvalid, match=message):
            read_signing_key(file)

    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert read_signing_key(file) == ALICE

    file.write_bytes(private_pem())
    with pytest.raises(InputInvalid, match="an unencrypted key, though REPRO_GATE_KEY_PASSWORD"):
        read_signing_key(file)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_keys_made_by_openssl_are_read(tmp_path: Path) -> None:
    """By the commands that the documentation names."""
    file = tmp_path / "release.key"
    for command in (
        f"umask 077; openssl genpkey -algorithm ed25519 -out {file}",
        f"openssl pkey -in {file} -pubout -out {tmp_path / 'release.pub'}",
    ):
        subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True)

    key = read_signing_key(file)

    assert public_key_of((tmp_path / "release.pub").read_text("ascii")) == key.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Somebody else may have signed with it."""
    file = tmp_path / "alice.key"
    file.write_bytes(private_pem())
    file.chmod(mode)

    with pytest.raises(InputInvalid, match=rf"chmod 600 .*found the mode {mode:04o}"):
        read_signing_key(file)


def test_another_kind_of_private_key_is_refused(tmp_path: Path) -> None:
    """As is what is no key at all; neither is quoted."""
    file = tmp_path / "other.key"
    other = rsa.generate_private_key(65537, 2048)
    for data, message in (
        (
            other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "a key of another kind",
        ),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nsecret", "format of ssh-keygen"),
        (b"-----BEGIN PUBLIC KEY-----\nsecret", "found a public key"),
        (b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "something else"),
    ):
        file.write_bytes(data)
        file.chmod(0o600)
        with pytest.raises(InputInvalid, match=message) as refused:
            read_signing_key(file)
        assert "secret" not in str(refused.value)


def test_nobody_is_asked_to_hide_a_public_key(tmp_path: Path) -> None:
    """It is the wrong file, whoever can read it."""
    file = tmp_path / "release.pub"
    file.write_bytes(b"-----BEGIN PUBLIC KEY-----\n")
    file.chmod(0o644)

    with pytest.raises(InputInvalid, match=r"PKCS#8 PEM .*, found a public key$"):
        read_signing_key(file)
