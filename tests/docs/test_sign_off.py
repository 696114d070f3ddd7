"""The pages about signed releases name what is signed, and their policy is one."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.adapters.sign_off.policy import read_policy
from repro_gate.core.outcome import ExitCode
from repro_gate.core.sign_off.policy import MAX_WAIVER
from repro_gate.core.sign_off.statement import TEST_RESULT, WAIVER, Kind
from tests.docs.pages import ROOT, page
from tests.fakes.releases import FOX, HAIKU, drifted, evidence_of, matched, report_of, waiver_of

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine

_EVIDENCE = page("docs/reference/evidence-v1.md")
_POLICY = page("docs/reference/policy.md")
_WAIVER = waiver_of(report_of(matched(HAIKU), drifted(FOX)), issue="https://example.org/1")


def _keys(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            # What is below is named by the report.
            if key not in {"engines", "models", "counts"}:
                yield from _keys(value)
    elif isinstance(data, list):
        for item in data:
            yield from _keys(item)


def test_the_policy_of_the_page_is_read(tmp_path: Path) -> None:
    """As a whole."""
    (example,) = _POLICY.blocks("toml")
    (tmp_path / "policy.toml").write_text(example, "utf-8")

    policy = read_policy(tmp_path / "policy.toml")

    assert [key.name for key in policy.signers.keys] == ["release", "qa"]
    assert policy.waivers is None


def test_every_field_that_is_signed_is_named() -> None:
    """Those of in-toto that need no explanation excepted."""
    known = {"_type", "predicateType", "predicate", "digest", "annotations", "failedTests"}
    statement = evidence_of().statement.to_data()
    named = _EVIDENCE.code()

    assert set(_keys(statement)) - named == known
    assert set(_keys(_WAIVER.to_data())) - named == known - {"annotations", "failedTests"}
    assert {TEST_RESULT, WAIVER, *Kind} <= named
    assert f"{MAX_WAIVER.days} days" in _EVIDENCE.text


_HOWTO = page("docs/how-to/sign-off-a-release.md")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
_DIGEST = re.compile(r"\b[0-9a-f]{40,64}\b")


def _without_times(text: str) -> str:
    return _DIGEST.sub("DIGEST", _TIME.sub("TIME", text))


def _shown(first: str) -> str:
    """Return the output on the page that starts with these words."""
    (block,) = [block for block in _HOWTO.blocks("text") if block.startswith(first)]
    return _without_times(block)


def _command(name: str) -> list[str]:
    """Return the first command of the page of this name."""
    lines = [line for block in _HOWTO.blocks("sh") for line in block.splitlines()]
    return shlex.split(next(line for line in lines if line.startswith(f"repro-gate {name}")))[1:]


def _git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    command = ["git", "-C", str(folder), *author, *arguments]
    subprocess.run(command, check=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone of a repository with the embedded suite, and the keys of the page."""
    matrix = (ROOT / "repro-gate.toml").read_text("utf-8")
    (tmp_path / "repro-gate.toml").write_text(matrix, "utf-8")
    shutil.copytree(ROOT / "snapshots", tmp_path / "snapshots")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "remote", "add", "origin", "git@github.com:acme/model.git")
    _commit(tmp_path)
    (tmp_path / "model.gguf").write_text("hello\n", "utf-8")
    shell = ["sh", "-e", "-c", next(iter(_HOWTO.blocks("sh")))]
    made = subprocess.run(shell, cwd=tmp_path, check=True, capture_output=True, text=True)
    (policy,) = _HOWTO.blocks("toml")
    key = f'public_key = """{made.stdout}"""'
    (tmp_path / "policy.toml").write_text(re.sub("public_key = .*", key, policy), "utf-8")
    for name in ("qa", "waivers"):
        shutil.copy(tmp_path / "release.pem", tmp_path / f"{name}.pem")
    (tmp_path / ".git" / "info" / "exclude").write_text("*.pem\npolicy.toml\n*-result\n", "utf-8")
    return tmp_path


def _commit(folder: Path) -> None:
    _git(folder, "add", "--all", ".")
    _git(folder, "commit", "--quiet", "--no-gpg-sign", "--message", "x")


def test_both_sides_see_what_the_page_shows(clone: Path, repro_gate: "CommandLine") -> None:
    """The signer, the recipient, and one who has another file."""
    signed = repro_gate(*_command("sign-off"))
    assert signed.exit_code == ExitCode.PASSED, signed.output
    assert _without_times(signed.stdout).endswith(_shown("signed off:"))

    verify = _command("verify")
    assert _without_times(repro_gate(*verify).stdout) == _shown("accepted:")
    (clone / "model.gguf").write_text("world\n", "utf-8")
    assert _without_times(repro_gate(*verify).stdout) == _shown("refused:")

    countersigned = repro_gate(*_command("countersign"), "--yes")
    assert countersigned.exit_code == ExitCode.PASSED


def test_what_is_missing_is_shown_as_on_the_page(clone: Path, repro_gate: "CommandLine") -> None:
    """Reports of other machines are taken; the GPU was not measured."""
    repro_gate("check", "--suite", "embedded", "--output", str(clone / "cpu-result"))
    command = _command("sign-off --suite embedded --from")
    command = (
        command[: command.index("gpu-result") - 1] + command[command.index("gpu-result") + 1 :]
    )

    refused = repro_gate(*command)

    assert refused.exit_code == ExitCode.INCONCLUSIVE
    assert refused.stdout == _shown("nothing was signed:")


def test_a_drift_is_waived_as_on_the_page(clone: Path, repro_gate: "CommandLine") -> None:
    """By the finding in the report of a check."""
    matrix = clone / "repro-gate.toml"
    matrix.write_text(matrix.read_text("utf-8").replace('"f32"', '"f16"'), "utf-8")
    _commit(clone)
    repro_gate("check", "--suite", "embedded", "--runs", "1")
    until = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
    command = [until if word == "2026-12-31" else word for word in _command("waive")]

    waived = repro_gate(*command)

    assert waived.exit_code == ExitCode.PASSED, waived.output
    assert _without_times(waived.stdout).replace(until, "2026-12-31") == _shown("waived until")
