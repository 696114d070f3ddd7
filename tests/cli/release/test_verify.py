"""`repro-gate verify`: good evidence is accepted, and each tampering refused for its own reason."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.release.releases import Release, commit_all, policy_text, sha256
from tests.cli.workspaces import PROFILE, Ran, Workspace
from tests.fakes.signing import envelope_bytes, key_of, signature_of

FOX = f"quick/tiny--fox--seed1/{PROFILE}"


def assert_refused(ran: Ran, message: str, *, code: int = 10) -> None:
    """Assert that a command ended with a code and a message, and without a word of success."""
    shown = ran.out + ran.err
    assert message in shown
    assert ran.code == code, shown
    assert "accepted:" not in shown


def test_good_evidence_is_accepted(release: Release) -> None:
    """With everything that it says, and what was verified."""
    ran = release.verify()

    report = release.report_file()
    evidence = json.loads(release.envelope.read_text("ascii"))["payload"]
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"accepted: git+https://github.com/acme/model at {release.commit}",
        "  signed by: alice, bob (threshold 2)",
        "  tests: 4 passed, 0 with waived drift",
        f"  suites: quick; profiles: {PROFILE}",
        f"  measured: {report.measured_at.isoformat()} (report.json)",
        f"  artifact: tiny.gguf, sha256 {sha256(release.artifact)}",
        f"  evidence: sha256 {hashlib.sha256(base64.b64decode(evidence)).hexdigest()}",
    ]


def test_the_work_tree_of_the_clone_does_not_matter(release: Release) -> None:
    """What is committed is read from its objects."""
    (release.clone.folder / "repro-gate.toml").write_text("broken", "utf-8")
    release.clone.golden("tiny--fox--seed1").unlink()

    assert release.verify().code == 0


def test_the_commit_may_be_named(release: Release) -> None:
    """Also when another one is checked out."""
    commit = release.commit
    (release.clone.folder / "more").write_text("x", "utf-8")
    other = commit_all(release.clone.folder)

    assert release.verify("--commit", commit).code == 0
    assert release.verify("--commit", "HEAD~1").code == 0
    assert_refused(release.verify(), f"expected {other}\n    found {commit}")


def test_evidence_of_another_commit_is_refused_for_nothing_else(release: Release) -> None:
    """Such as in the clone of another repository, which may not even have a matrix."""
    commit = release.commit
    (release.clone.folder / "repro-gate.toml").rename(release.clone.folder / "gone.toml")
    other = commit_all(release.clone.folder)

    assert release.verify().out.splitlines() == [
        "refused: 1 condition is not satisfied; nothing else was verified",
        "  commit: subject",
        f"    expected {other}",
        f"    found {commit}",
        "    fetch the evidence of this commit, or give the commit that you release as --commit",
    ]


def test_the_envelope_may_be_named(release: Release) -> None:
    """The other files are those beside it."""
    ran = release.clone.run(
        "verify",
        str(release.envelope),
        *("--policy", str(release.policy), "--artifact", str(release.artifact)),
    )

    assert ran.code == 0


def test_the_envelope_alone_is_not_enough(release: Release) -> None:
    """Its report is in the same folder."""
    release.report.unlink()

    message = (
        "report.json: expected a file beside evidence.dsse.json (copy its whole folder), found"
    )
    assert_refused(release.verify(), message, code=3)


def test_signatures_come_first(release: Release) -> None:
    """What nobody signed is anybody's text, and is not read."""
    release.sign_bytes(b"no JSON", "alice")

    ran = release.verify()

    first, *_ = ran.out.splitlines()
    assert (ran.code, first) == (
        10,
        "refused: 1 condition is not satisfied; nothing else was verified",
    )


def test_verifying_needs_no_engine_and_no_network(release: Release) -> None:
    """A recipient has neither, and waits for neither."""
    ran = release.verify(PYTHONPROFILEIMPORTTIME="1")

    lines = (line for line in ran.err.splitlines() if line.startswith("import time:"))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    slow = {"gguf", "httpx", "jsonschema", "llama_cpp", "numpy", "pytest", "securesystemslib"}
    assert (ran.code, "cryptography" in imported, imported & slow) == (0, True, set())


def test_artifacts_that_the_policy_does_not_name_are_mentioned(release: Release) -> None:
    """They were signed, and not seen."""
    release.policy.write_text(
        policy_text(required={"suites": ["quick"], "profiles": [PROFILE]}), "utf-8"
    )

    ran = release.clone.run("verify", str(release.evidence), "--policy", str(release.policy))

    assert ran.code == 0
    assert "not verified: tiny.gguf, as the policy does not name them" in ran.out


# Tampering after the signatures.

Tamper = Callable[[Release], object]


def replaced(file: Path, old: bytes, new: bytes) -> None:
    """Change a file."""
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new, 1))


def recommitted(release: Release, path: str, old: str, new: str) -> None:
    """Change a committed file, and release the new commit with the old evidence's content."""
    file = release.clone.folder / path
    replaced(file, old.encode(), new.encode())
    commit = release.commit
    commit_all(release.clone.folder)
    statement = json.loads(base64.b64decode(json.loads(release.envelope.read_bytes())["payload"]))
    text = json.dumps(statement).replace(commit, release.commit)
    release.sign(json.loads(text))


def resigned(**fields: Any) -> Tamper:
    """Return an envelope of the good payload with other fields."""
    return lambda release: release.sign_bytes(release.payload(), **fields)


def with_signatures(make: Callable[[bytes], list[Any]]) -> Tamper:
    """Return an envelope of the good payload with other signatures."""

    def tamper(release: Release) -> None:
        payload = release.payload()
        release.sign_bytes(payload, signatures=make(payload))

    return tamper


def appended(file: Path, data: bytes) -> None:
    """Append bytes to a file."""
    file.write_bytes(file.read_bytes() + data)


def grown(file: Path, size: int) -> None:
    """Make a file larger, with a hole."""
    with file.open("r+b") as stream:
        stream.truncate(size)


def re_measured(release: Release, moment: datetime) -> None:
    """Change the time of the report, and sign that."""
    started = release.report_file().report.started_at
    replaced(release.report, started.encode(), moment.isoformat(timespec="seconds").encode())
    release.sign(release.statement())


def edited(change: Callable[[Any], object]) -> Tamper:
    """Change the data of a statement, which both then sign."""
    return lambda release: release.sign_changed(change)


def spliced(old: bytes, new: bytes) -> Tamper:
    """Change the bytes of a statement, which both then sign."""

    def tamper(release: Release) -> None:
        payload = release.payload()
        assert old in payload
        release.sign_bytes(payload.replace(old, new, 1))

    return tamper


def predicate(**fields: Any) -> Tamper:
    """Change the predicate, which both then sign."""
    return edited(lambda data: data["predicate"].update(fields))


@pytest.mark.parametrize(
    ("tamper", "code", "message"),
    [
        pytest.param(
            lambda release: release.sign(release.statement(), "alice"),
            10,
            "found 1 (alice); the file claims the key ids",
            id="one-signer-of-two",
        ),
        pytest.param(
            with_signatures(lambda payload: [signature_of("alice", payload)] * 2),
            10,
            "found 1 (alice)",
            id="one-signer-twice",
        ),
        pytest.param(
            with_signatures(
                lambda payload: [
                    signature_of("alice", payload),
                    signature_of("alice", payload, keyid=key_of("bob").public.id),
                ]
            ),
            10,
            "found 1 (alice)",
            id="one-signer-under-two-ids",
        ),
        pytest.param(
            lambda release: release.sign(release.statement(), "alice", "eve"),
            10,
            f"the key ids {', '.join(sorted(key_of(name).public.id for name in ('alice', 'eve')))}",
            id="a-signer-that-nobody-lists",
        ),
        pytest.param(
            lambda release: replaced(
                release.envelope, b'"payload":"', b'"payload":"' + base64.b64encode(b"   ")
            ),
            10,
            "found 0 (none)",
            id="payload-changed",
        ),
        pytest.param(
            lambda release: replaced(release.envelope, b"+json", b"+JSON"),
            3,
            "payloadType: expected one of application/vnd.in-toto+json",
            id="payload-type-changed",
        ),
        pytest.param(
            lambda release: release.sign_bytes(release.payload(), kind="application/json"),
            3,
            "payloadType: expected one of application/vnd.in-toto+json",
            id="another-payload-type-signed",
        ),
        pytest.param(
            lambda release: appended(release.envelope, b"{}"),
            3,
            "expected nothing after the value",
            id="a-second-document",
        ),
        pytest.param(
            lambda release: grown(release.envelope, 64 << 20),
            3,
            "expected at most 1048576 bytes, found 67108864",
            id="64-MB-of-envelope",
        ),
        pytest.param(
            lambda release: release.envelope.write_bytes(b"[" * 10_000 + b"]" * 10_000),
            3,
            "nested too deeply",
            id="10000-deep",
        ),
        pytest.param(
            lambda release: release.sign_bytes(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
            3,
            "nested too deeply",
            id="payload-10000-deep",
        ),
        pytest.param(
            with_signatures(lambda payload: [signature_of("alice", payload)] * 17),
            3,
            "expected 1 to 16 signatures, found 17",
            id="17-signatures",
        ),
        pytest.param(
            resigned(Payload="e30=", Signatures=[]),
            3,
            "two names in one object that differ in case or underscores only",
            id="another-statement-in-capitals",
        ),
        pytest.param(
            spliced(b'"result":"PASSED"', b'"result":"FAILED","result":"PASSED"'),
            3,
            "the key 'result' twice",
            id="failed-then-passed",
        ),
        pytest.param(
            spliced(b'"result":"PASSED"', b'"result":"PASSED","Result":"FAILED"'),
            3,
            "two names in one object that differ in case or underscores only",
            id="passed-then-Failed",
        ),
        pytest.param(
            spliced(b'"files":4', b'"files":9007199254740993'),
            3,
            "an integer beyond 9007199254740991",
            id="an-integer-that-readers-round",
        ),
        pytest.param(
            spliced(b'"files":4', b'"files":4.0'),
            3,
            "a number with a fraction or an exponent",
            id="a-float",
        ),
        pytest.param(
            edited(lambda data: data.update(predicateType="https://slsa.dev/provenance/v1")),
            10,
            "statement: predicateType\n    expected https://in-toto.io/attestation/test-result/v0.1",
            id="another-predicate-type",
        ),
        pytest.param(
            edited(lambda data: data.update(_type="https://in-toto.io/Statement/v0.1")),
            10,
            "statement: _type\n    expected https://in-toto.io/Statement/v1",
            id="an-older-statement",
        ),
        pytest.param(
            edited(lambda data: data["subject"].append(data["subject"][1])),
            10,
            "statement: subject\n    expected each name once",
            id="two-subjects-of-one-name",
        ),
        pytest.param(
            edited(lambda data: data["subject"][1].update(name="Tiny.GGUF")),
            10,
            "artifact: tiny.gguf\n    expected an artifact that was signed\n"
            "    found that which was signed as Tiny.GGUF",
            id="a-name-in-capitals",
        ),
        pytest.param(
            edited(lambda data: data["subject"][1].update(name="../tiny.gguf")),
            10,
            "an artifact needs a plain ASCII file name",
            id="a-path",
        ),
        pytest.param(
            edited(lambda data: data["subject"][1].update(digest={})),
            10,
            "statement: subject[1].digest",
            id="a-subject-without-digest",
        ),
        pytest.param(
            predicate(result="passed"),
            10,
            "statement: predicate.result\n    expected one of PASSED, WARNED, FAILED",
            id="passed-in-small-letters",
        ),
        pytest.param(
            predicate(result="FAILED"),
            10,
            "result: result\n    expected PASSED\n    found FAILED",
            id="failed",
        ),
        pytest.param(
            predicate(failedTests=["x"]),
            10,
            "result: failedTests",
            id="passed-with-a-failed-test",
        ),
        pytest.param(
            predicate(passedTests=[]),
            10,
            "required: tests\n    expected at least 4\n    found 0",
            id="passed-without-tests",
        ),
        pytest.param(
            edited(
                lambda data: data["predicate"]["configuration"][0]["annotations"].update(kind="x")
            ),
            10,
            "statement: predicate.configuration[0].annotations.kind",
            id="an-entry-of-unknown-kind",
        ),
        pytest.param(
            edited(
                lambda data: data["predicate"]["configuration"][-1].update(name="../../etc/passwd")
            ),
            3,
            "expected a plain file name in the evidence folder, found ../../etc/passwd",
            id="a-report-elsewhere",
        ),
        pytest.param(
            edited(lambda data: data["subject"][0]["digest"].update(gitCommit="ab" * 20)),
            10,
            "commit: subject\n    expected",
            id="the-last-release-replayed",
        ),
        pytest.param(
            edited(lambda data: data["subject"][0].update(uri="git+https://github.com/fork/model")),
            10,
            "repository: subject\n    expected git+https://github.com/acme/model",
            id="a-fork",
        ),
        pytest.param(
            lambda release: appended(release.artifact, b"x"),
            10,
            "artifact: tiny.gguf\n    expected sha256 ",
            id="artifact-changed",
        ),
        pytest.param(
            lambda release: appended(release.report, b"\n"),
            10,
            "configuration: report.json\n    expected sha256 ",
            id="report-changed",
        ),
        pytest.param(
            lambda release: recommitted(
                release, "repro-gate.toml", '"temperature" = 0.7', '"temperature" = 0.8'
            ),
            10,
            "configuration: repro-gate.toml\n    expected digest.sha256 ",
            id="matrix-changed",
        ),
        pytest.param(
            lambda release: recommitted(
                release, f"snapshots/goldens/{PROFILE}/tiny--fox--seed1.json", '"TEST"', '"BEST"'
            ),
            10,
            "configuration: snapshots/goldens\n    expected digest.sha256 ",
            id="golden-changed",
        ),
        pytest.param(
            lambda release: recommitted(
                release, f"snapshots/goldens/{PROFILE}/tiny--fox--seed1.json", "242", "243"
            ),
            3,
            f"snapshots/goldens/{PROFILE}/tiny--fox--seed1.json: expected a consistent golden",
            id="golden-broken",
        ),
        pytest.param(
            lambda release: re_measured(release, datetime.now(UTC) - timedelta(days=3650)),
            10,
            "age: report.json\n    expected a measurement within 14 days",
            id="measured-ten-years-ago",
        ),
        pytest.param(
            lambda release: re_measured(release, datetime.now(UTC) + timedelta(days=3650)),
            10,
            "age: report.json\n    expected measured before now, ",
            id="measured-in-ten-years",
        ),
        pytest.param(
            lambda release: replaced(release.report, b'"started_at":"20', b'"started_at":"x'),
            10,
            "configuration: report.json\n    expected sha256 ",
            id="measured-at-no-time",
        ),
        pytest.param(
            lambda release: recommitted(release, "snapshots/models.json", "9a", "9b"),
            10,
            "configuration: snapshots/models.json\n    expected digest.sha256 ",
            id="pins-changed",
        ),
        pytest.param(
            lambda release: recommitted(release, "snapshots/models.json", "9a", "9b"),
            10,
            "model: tiny\n    expected 9b",
            id="another-model-pinned",
        ),
        pytest.param(
            lambda release: (
                commit_all(release.clone.folder, "--allow-empty"),
                release.sign(release.statement()),
            ),
            10,
            "report: report.json: the commit\n    expected ",
            id="a-check-of-the-last-commit",
        ),
        pytest.param(
            lambda release: release.report.unlink(),
            3,
            "report.json: expected a file beside evidence.dsse.json",
            id="no-report",
        ),
        pytest.param(
            lambda release: (
                release.report.rename(release.report.with_name("x")),
                release.report.symlink_to("x"),
            ),
            3,
            "report.json: expected no symbolic link, found one",
            id="report-is-a-link",
        ),
    ],
)
def test_tampering_is_refused(release: Release, tamper: Tamper, code: int, message: str) -> None:
    """Each for its own reason, and never with a word of success."""
    tamper(release)

    assert_refused(release.verify(), message, code=code)


def test_matrix_goldens_and_pins_are_those_of_the_commit(release: Release) -> None:
    """Each digest is computed again, and a golden by which nothing was judged is noticed."""
    golden = release.clone.golden("tiny--fox--seed1")
    replaced(golden, b'"TEST"', b'"BEST"')
    commit_all(release.clone.folder)
    release.stamp()
    release.sign(release.statement())
    assert release.verify().code == 0

    other = release.clone.golden("tiny--fox--seed2")
    changed = json.loads(golden.read_bytes()) | {"cell": json.loads(other.read_bytes())["cell"]}
    other.write_text(json.dumps(changed), "utf-8")
    commit_all(release.clone.folder)
    release.stamp()
    release.sign(release.statement())
    assert_refused(
        release.verify(),
        f"test: quick/tiny--fox--seed2/{PROFILE}\n"
        "    expected a golden in the commit from which the verdict follows\n"
        "    found another one than the report was judged by",
    )


def test_a_refusal_says_what_to_do(release: Release) -> None:
    """The whole output, with every condition."""
    release.sign(release.statement(commit="ab" * 20))
    appended(release.artifact, b"x")

    ran = release.verify()

    assert (ran.code, ran.err) == (10, "")
    assert ran.out.splitlines() == [
        "refused: 2 conditions are not satisfied; nothing else was verified",
        "  commit: subject",
        f"    expected {release.commit}",
        f"    found {'ab' * 20}",
        "    fetch the evidence of this commit, or give the commit that you release as --commit",
        "  artifact: tiny.gguf",
        f"    expected sha256 {release.statement().artifacts['tiny.gguf']}".replace(
            sha256(release.artifact), hashlib.sha256(b"weights").hexdigest()
        ),
        f"    found sha256 {sha256(release.artifact)}",
        "    use the files that were signed, under their names, or have these signed",
    ]


# Drift and waivers.

WAIVERS = {"waivers": {"threshold": 1, "keys": ["carol"]}}


def test_a_waived_drift_is_accepted_and_shown(drifting: Release) -> None:
    """Who waived it, and that it is counted apart."""
    drifting.policy.write_text(policy_text(**WAIVERS), "utf-8")
    waiver = drifting.waive(FOX, "carol")
    drifting.sign(drifting.statement(waivers=[waiver], waived=[FOX]))

    ran = drifting.verify()

    assert ran.code == 0, ran.out
    assert "  tests: 3 passed, 1 with waived drift\n" in ran.out
    assert "  waiver: waivers/w-1.dsse.json, signed by carol\n" in ran.out


def test_drift_is_refused_whatever_is_signed(drifting: Release) -> None:
    """The decision is made again from the report."""
    assert_refused(
        drifting.verify(), f"test: {FOX}\n    expected agreement with what is committed\n"
    )


@pytest.mark.parametrize(
    ("tamper", "code", "message"),
    [
        pytest.param(
            lambda release, _: release.policy.write_text(policy_text(), "utf-8"),
            10,
            "expected no waivers, as the policy lists no keys for them",
            id="a-strict-policy",
        ),
        pytest.param(
            lambda release, _: resealed(release, "alice"),
            10,
            "signatures: waivers/w-1.dsse.json\n    expected a signature by a key of the policy",
            id="waived-by-a-releaser",
        ),
        pytest.param(
            lambda release, _: resealed(release, "carol", commit="ab" * 20),
            10,
            "expected a waiver for the commit",
            id="of-another-commit",
        ),
        pytest.param(
            lambda release, _: resealed(
                release,
                "carol",
                not_before=datetime(2026, 1, 1, tzinfo=UTC),
                not_after=datetime(2026, 2, 1, tzinfo=UTC),
            ),
            10,
            "one expired on 2026-02-01T00:00:00Z",
            id="expired",
        ),
        pytest.param(
            lambda _, waiver: appended(waiver, b"\n"),
            10,
            "configuration: waivers/w-1.dsse.json\n    expected sha256 ",
            id="changed",
        ),
        pytest.param(
            lambda _, waiver: waiver.unlink(),
            3,
            "w-1.dsse.json: expected a file beside evidence.dsse.json",
            id="missing",
        ),
        pytest.param(
            lambda release, waiver: (
                waiver.write_bytes(envelope_bytes(b"{}", signatures=[])),
                release.sign(release.statement(waivers=[waiver], waived=[FOX])),
            ),
            3,
            "expected 1 to 16 signatures, found 0",
            id="unsigned",
        ),
        pytest.param(
            lambda release, waiver: (
                waiver.write_bytes(envelope_bytes(release.payload(), "carol")),
                release.sign(release.statement(waivers=[waiver], waived=[FOX])),
            ),
            10,
            "waiver: waivers/w-1.dsse.json\n    expected predicateType: "
            "https://repro-gate.dev/waiver/v1",
            id="a-release-instead",
        ),
        pytest.param(
            lambda release, waiver: release.sign_bytes(
                json.dumps(
                    json.loads(base64.b64decode(json.loads(waiver.read_bytes())["payload"]))
                ).encode()
            ),
            10,
            "statement: predicateType\n    expected https://in-toto.io/attestation/test-result/",
            id="instead-of-a-release",
        ),
    ],
)
def test_a_waiver_that_does_not_hold_is_refused(
    drifting: Release, tamper: Callable[[Release, Path], object], code: int, message: str
) -> None:
    """And the release with it."""
    drifting.policy.write_text(policy_text(**WAIVERS), "utf-8")
    waiver = drifting.waive(FOX, "carol")
    drifting.sign(drifting.statement(waivers=[waiver], waived=[FOX]))
    tamper(drifting, waiver)

    assert_refused(drifting.verify(), message, code=code)


def resealed(release: Release, *names: str, **changes: Any) -> None:
    """Sign another waiver, and a release with it."""
    waiver = release.waive(FOX, *names, **changes)
    release.sign(release.statement(waivers=[waiver], waived=[FOX]))


# Where it runs.


def test_without_evidence_there_is_nothing_to_verify(release: Release) -> None:
    """Which is no acceptance."""
    release.envelope.unlink()

    assert_refused(release.verify(), "there is nothing to verify: no file", code=4)


def test_outside_of_a_clone_nothing_can_be_verified(release: Release, tmp_path: Path) -> None:
    """Nor in the clone of something else."""
    outside = Release(
        clone=Workspace(folder=tmp_path / "evidence", cache=release.clone.cache),
        evidence=release.evidence,
        policy=release.policy,
        artifact=release.artifact,
    )
    ran = outside.verify(GIT_CEILING_DIRECTORIES=str(tmp_path))

    assert_refused(ran, "there is no repository that git reads at", code=4)
    assert "not a git repository" in ran.err


@pytest.mark.parametrize("commit", ["ab" * 20, "gone", "--help", "-h", "HEAD:repro-gate.toml", ""])
def test_an_unknown_commit_cannot_be_verified(release: Release, commit: str) -> None:
    """An option of git is no commit."""
    ran = release.verify(f"--commit={commit}")

    assert_refused(ran, "is not in the repository at", code=4)


def test_the_policy_is_never_that_of_the_evidence(release: Release) -> None:
    """One in the folder of the evidence or in the current one is not looked at."""
    for folder in (release.evidence, release.clone.folder):
        (folder / "policy.toml").write_text(policy_text(), "utf-8")

    ran = release.clone.run("verify", str(release.evidence))
    assert_refused(ran, "Missing option '--policy'", code=2)

    release.policy.write_text(policy_text(signers={"threshold": 1, "keys": ["carol"]}), "utf-8")
    assert_refused(release.verify(), "signatures: evidence.dsse.json")


def test_a_bad_policy_is_refused_before_anything_is_read(release: Release) -> None:
    """With 3, also when there is no evidence."""
    release.policy.write_text("threshold = 0", "utf-8")

    assert_refused(release.verify(), "policy.toml: ", code=3)


@pytest.mark.parametrize("what", ["a link", "a folder", "none"])
def test_an_artifact_is_a_file(release: Release, what: str) -> None:
    """Not a link to one that may be exchanged after it was verified."""
    release.artifact.rename(release.artifact.with_name("other"))
    if what == "a link":
        release.artifact.symlink_to("other")
    elif what == "a folder":
        release.artifact.mkdir()

    assert_refused(release.verify(), "tiny.gguf: expected", code=3)


def test_an_artifact_is_given_once(release: Release) -> None:
    """Two files of one name would hide each other."""
    ran = release.verify("--artifact", str(release.artifact))

    assert_refused(ran, "tiny.gguf: expected each file name once, found it twice", code=3)
