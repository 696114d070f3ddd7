"""Signed evidence, verified by other implementations and other schemas than ours."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement as PublishedStatement

from repro_gate.adapters.sign_off.envelope import Envelope, envelope_of, signed
from repro_gate.core.sign_off.statement import TEST_RESULT
from tests.fakes.releases import (
    FOX,
    FOX_TEST,
    HAIKU,
    drifted,
    evidence_of,
    file_of,
    matched,
    report_of,
    waiver_file_of,
    waiver_of,
)
from tests.fakes.signing import key_of

GO = Path(__file__).parents[3] / ".tools" / "bin" / "interop"
PYTHON = """
import json, sys, hashlib
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

def key(name):
    public = load_pem_public_key(open(name, "rb").read())
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(public, keyid=hashlib.sha256(der).hexdigest())

threshold, file, *keys = sys.argv[1:]
envelope = Envelope.from_dict(json.load(open(file)))
envelope.verify([key(name) for name in keys], threshold=int(threshold))
statement = json.loads(envelope.payload)
predicate = statement["predicate"]
print(statement["predicateType"], predicate["result"], len(predicate["passedTests"]))
"""
WAIVED = report_of(matched(HAIKU), drifted(FOX))
STATEMENTS = {
    "PASSED 3": evidence_of().statement,
    "WARNED 2": evidence_of(
        file_of(WAIVED), waivers=[waiver_file_of(waiver_of(WAIVED, FOX_TEST), "carol")]
    ).statement,
    "PASSED 0": replace(evidence_of().statement, artifacts={}, passed=()),
}
"""By result and number of tests."""


@pytest.fixture(scope="session")
def go() -> tuple[str, ...]:
    """Return the verifier in Go, which `make interop` builds."""
    if not GO.exists():
        missing = "the verifier in Go is not built: run `make interop`"
        if "interop" in os.environ.get("REPRO_GATE_REQUIRE", ""):
            pytest.fail(missing)
        pytest.skip(missing)
    return (str(GO),)


@pytest.fixture(params=["securesystemslib", "go-securesystemslib"])
def verifier(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return the command of another implementation, which runs in its own process."""
    if request.param == "securesystemslib":
        return (sys.executable, "-c", PYTHON)
    found: tuple[str, ...] = request.getfixturevalue("go")
    return found


def verified(
    command: tuple[str, ...], folder: Path, envelope: Envelope, *names: str
) -> subprocess.CompletedProcess[str]:
    """Verify an envelope with the keys of some people, with threshold 2."""
    file = folder / "evidence.dsse.json"
    file.write_text(envelope.text(), "ascii")
    keys: list[str] = []
    for name in names:
        public = key_of(name).private.public_key()
        path = folder / f"{name}.pub"
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        keys.append(str(path))
    return subprocess.run(
        [*command, "2", str(file), *keys], capture_output=True, check=False, text=True, timeout=60
    )


def made(statement: Any, *names: str) -> Envelope:
    """Return an envelope that these people signed."""
    envelope = envelope_of(statement.to_data())
    for name in names:
        envelope = signed(envelope, key_of(name))
    return envelope


@pytest.mark.parametrize("result", STATEMENTS)
def test_other_implementations_accept_what_is_signed(
    verifier: tuple[str, ...], tmp_path: Path, result: str
) -> None:
    """Both signatures, and the statement by the types of its authors."""
    envelope = made(STATEMENTS[result], "alice", "bob")

    ran = verified(verifier, tmp_path, envelope, "alice", "bob")

    assert (ran.returncode, ran.stdout) == (0, f"{TEST_RESULT} {result}\n"), ran.stderr


def test_other_implementations_accept_a_signature_that_was_added(
    verifier: tuple[str, ...], tmp_path: Path
) -> None:
    """As countersigning does, in another order."""
    envelope = made(STATEMENTS["PASSED 3"], "eve", "bob", "alice")

    assert verified(verifier, tmp_path, envelope, "alice", "bob").returncode == 0


@pytest.mark.parametrize("names", [("alice",), ("alice", "eve"), ("alice", "alice")])
def test_other_implementations_refuse_one_signer_of_two(
    verifier: tuple[str, ...], tmp_path: Path, names: tuple[str, ...]
) -> None:
    """They could have accepted it for any other reason."""
    envelope = made(STATEMENTS["PASSED 3"], *names)

    ran = verified(verifier, tmp_path, envelope, "alice", "bob")

    assert (ran.returncode, ran.stdout) == (1, "")


@pytest.mark.parametrize("result", STATEMENTS)
def test_the_published_types_read_a_statement(result: str) -> None:
    """Strictly: a field that they do not know is an error."""
    data = STATEMENTS[result].to_data()

    statement = json_format.Parse(json.dumps(data), statement_pb2.Statement())
    PublishedStatement.copy_from_pb(statement).validate()
    predicate = json_format.ParseDict(data["predicate"], test_result_pb2.TestResult())

    assert f"{predicate.result} {len(predicate.passed_tests)}" == result
    assert json_format.MessageToDict(predicate) == {
        key: value for key, value in data["predicate"].items() if value != []
    }


def test_the_published_types_refuse_a_field_of_our_own() -> None:
    """So the test above would notice one."""
    data = STATEMENTS["PASSED 3"].to_data()["predicate"]

    with pytest.raises(json_format.ParseError, match="no field named"):
        json_format.ParseDict({**data, "time": "now"}, test_result_pb2.TestResult())
