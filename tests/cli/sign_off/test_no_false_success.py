"""Nothing is accepted after a crash, and nothing after any changed byte."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro_gate.cli.app import app
from repro_gate.cli.verify import VerifyOptions, run_verify
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.cli.sign_off.releases import Release, commit_all, policy_text
from tests.cli.workspaces import PROFILE

FOX = f"quick/tiny--fox--seed1/{PROFILE}"
STEPS = [
    *(
        f"repro_gate.cli.verify.{name}"
        for name in (
            "_envelope_file",
            "read_policy",
            "read_envelope",
            "public_keys_of",
            "names_of",
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
            "_source",
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
    options = VerifyOptions(
        evidence=release.evidence,
        policy=release.policy,
        artifacts=(release.artifact,),
        folder=release.clone.folder,
    )
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            code = run_verify(options)
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


PLACES: dict[str, Callable[[Release], Path]] = {
    "envelope": lambda release: release.envelope,
    "report": lambda release: release.report,
    "waiver": lambda release: release.evidence / "waivers" / "w-1.dsse.json",
    "artifact": lambda release: release.artifact,
    "matrix": lambda release: release.clone.folder / "repro-gate.toml",
    "golden": lambda release: release.clone.golden("tiny--fox--seed2"),
    "pins": lambda release: release.clone.snapshots / "models.json",
}
COMMITTED = ("matrix", "golden", "pins")


@pytest.mark.parametrize("place", PLACES)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_byte_is_accepted(waived: Release, place: str, data: st.DataObject) -> None:
    """Anywhere, unless the signed payload and the signers are the same: white space, a key id.

    A changed file of the commit is signed for under its new commit: only its digest can refuse it.
    """
    file = PLACES[place](waived)
    good, envelope, commit = file.read_bytes(), waived.envelope.read_bytes(), waived.commit
    changed = bytearray(good)
    at = data.draw(st.integers(0, len(good) - 1))
    changed[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[at]))
    try:
        file.write_bytes(bytes(changed))
        if place in COMMITTED:
            statement = waived.payload_data()
            new = commit_all(waived.clone.folder)
            statement["subject"][0]["digest"]["gitCommit"] = new
            waived.sign(statement)
        code, shown = verified(waived)
        is_accepted = code is ExitCode.PASSED or "accepted" in shown
        assert not is_accepted or (place == "envelope" and waived.is_signed_alike(good))
    finally:
        if place in COMMITTED:
            waived.reset(commit)
        file.write_bytes(good)
        waived.envelope.write_bytes(envelope)
