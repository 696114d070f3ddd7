"""Nothing is accepted after a crash, and nothing after any changed byte."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro_gate.cli.app import app
from repro_gate.cli.release.verify import run_verify
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.cli.release.releases import Release, commit_all, policy_text, sha256
from tests.cli.workspaces import PROFILE

FOX = f"quick/tiny--fox--seed1/{PROFILE}"
STEPS = [
    *(
        f"repro_gate.cli.release.verify.{name}"
        for name in (
            "envelope_file",
            "read_policy",
            "read_envelope",
            "signers_in",
            "refuse_signatures",
            "statement_from",
            "commit_id_of",
            "read_checkout",
            "read_evidence",
            "digests_of",
            "verify",
            "_accepted",
            "one_line",
        )
    ),
    "repro_gate.adapters.sign_off.keys.PublicKey.verifies",
    "repro_gate.adapters.sign_off.envelope.Envelope.data",
    "repro_gate.adapters.sign_off.committed.run_git",
    "repro_gate.adapters.sign_off.committed.parse_golden",
    "repro_gate.adapters.sign_off.evidence.parse_result",
    "repro_gate.core.sign_off.measured.decide",
    *(
        f"repro_gate.core.sign_off.verification.{name}"
        for name in (
            "refuse_subjects",
            "_artifacts",
            "_configuration",
            "problems_of",
            "_result",
            "_required",
            "_age",
            "named_tests",
        )
    ),
]


def arguments_of(release: Release) -> list[str]:
    """Return the command line that verifies a release."""
    given = ("--policy", str(release.policy), "--artifact", str(release.artifact))
    return ["verify", str(release.evidence), *given]


def test_the_release_would_be_accepted(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a crash; the other tests of this file would pass for any other reason too."""
    monkeypatch.chdir(release.clone.folder)

    ran = CliRunner().invoke(app, arguments_of(release))

    assert (ran.exit_code, "accepted:" in ran.output) == (0, True)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_in_any_step_accepts_nothing(
    released_once: Release, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It ends with 1 and no word of success."""

    def crash(*_: Any, **__: Any) -> Any:
        raise RuntimeError(step)

    monkeypatch.chdir(released_once.clone.folder)
    monkeypatch.setattr(step, crash)

    ran = CliRunner().invoke(app, arguments_of(released_once))

    assert (ran.exit_code, "accepted" in ran.output) == (1, False)
    assert str(ran.exception) == step


def verified(release: Release) -> tuple[ExitCode | None, str]:
    """Return the exit code, or None for an error with a message, and the output."""
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            code = run_verify(
                release.evidence,
                release.policy,
                artifacts=(release.artifact,),
                folder=release.clone.folder,
            )
        except (InputInvalid, MeasurementUnavailable):
            code = None
    return code, shown.getvalue()


@pytest.fixture(scope="module")
def waived(drifting_once: Release, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Return an accepted release with a waiver; each test restores what it changes."""
    release = drifting_once.copied_to(tmp_path_factory.mktemp("waived"))
    keys = {"threshold": 1, "keys": ["carol"]}
    release.policy.write_text(policy_text(waivers=keys), "utf-8")
    release.sign(release.statement(waivers=[release.waive(FOX, "carol")], waived=[FOX]))
    assert verified(release)[0] is ExitCode.PASSED
    return release


@pytest.fixture(scope="module")
def committed(released_once: Release, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Return an accepted release with a baseline; each test restores what it changes."""
    release = released_once.copied_to(tmp_path_factory.mktemp("committed"))
    baseline = release.clone.snapshots / BASELINE
    baseline.parent.mkdir(parents=True)
    shutil.copy(ROOT / "snapshots" / BASELINE, baseline)
    commit_all(release.clone.folder)
    release.stamp()
    release.sign(release.statement())
    assert verified(release)[0] is ExitCode.PASSED
    return release


ROOT = Path(__file__).parents[3]
BASELINE = Path("baselines", "cpu-x86_64-avx2", "qwen2--autumn-leaves.json")
PLACES: dict[str, Callable[[Release], Path]] = {
    "envelope": lambda release: release.envelope,
    "report": lambda release: release.report,
    "waiver": lambda release: release.evidence / "waivers" / "w-1.dsse.json",
    "artifact": lambda release: release.artifact,
}
COMMITTED: dict[str, Callable[[Release], Path]] = {
    "matrix": lambda release: release.clone.folder / "repro-gate.toml",
    "golden": lambda release: release.clone.golden("tiny--fox--seed2"),
    "pins": lambda release: release.clone.snapshots / "models.json",
    "baseline": lambda release: release.clone.snapshots / BASELINE,
}
FEW = settings(
    max_examples=25,
    # The same examples every time; git and the disk take their time.
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


TIMES = count(1_000_000_000)


def flipped(good: bytes, data: st.DataObject) -> bytes:
    """Return bytes of which one differs; often near the end, where an envelope has signatures."""
    changed = bytearray(good)
    end = len(good) - 1
    at = data.draw(st.integers(0, end) | st.integers(max(0, end - 300), end))
    byte = st.integers(0, 255) | st.sampled_from(list(b"ABCDabcd0123 "))
    changed[at] = data.draw(byte.filter(lambda one: one != good[at]))
    return bytes(changed)


def is_accepted(release: Release) -> bool:
    """Return whether there is any sign of success."""
    code, shown = verified(release)
    return code is ExitCode.PASSED or "accepted" in shown


@pytest.mark.parametrize("place", PLACES)
@given(data=st.data())
@FEW
def test_no_changed_byte_is_accepted(waived: Release, place: str, data: st.DataObject) -> None:
    """Anywhere, unless the signed payload and the signers are the same: white space, a key id."""
    file = PLACES[place](waived)
    good = file.read_bytes()
    try:
        file.write_bytes(flipped(good, data))
        assert not is_accepted(waived) or (place == "envelope" and waived.is_signed_alike(good))
    finally:
        file.write_bytes(good)


@pytest.mark.parametrize("place", COMMITTED)
@given(data=st.data())
@FEW
def test_no_changed_byte_of_the_commit_is_accepted(
    committed: Release, place: str, data: st.DataObject
) -> None:
    """Even if everything else is signed for the new commit: the digests are those of before."""
    file = COMMITTED[place](committed)
    kept = {each: each.read_bytes() for each in (file, committed.report, committed.envelope)}
    statement, commit = committed.payload_data(), committed.commit
    try:
        file.write_bytes(flipped(kept[file], data))
        # git takes a file of the same size and time for unchanged.
        os.utime(file, (next(TIMES),) * 2)
        statement["subject"][0]["digest"]["gitCommit"] = commit_all(committed.clone.folder)
        committed.stamp()
        for entry in statement["predicate"]["configuration"]:
            if entry["name"] == "report.json":
                entry["digest"]["sha256"] = sha256(committed.report)
        committed.sign(statement)
        assert not is_accepted(committed)
    finally:
        committed.reset(commit)
        for each, content in kept.items():
            each.write_bytes(content)
