"""The release of this repository, up to the first step that needs the real GitHub."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import repro_gate
from repro_gate.core.comments import RunId
from tests.action.act.callers import Caller
from tests.action.act.conftest import RunnerMaker
from tests.action.act.events import dispatch, tag
from tests.action.act.repositories import copy_of_project
from tests.action.act.runner import Runner
from tests.fakes.github.server import Github
from tests.fakes.github.world import REPOSITORY, World

pytestmark = pytest.mark.act

_RELEASE = ".github/workflows/release.yml"
_POLICY = ".github/release-policy.toml"
_GPU_REPORT = re.compile(
    r" {6}- uses: actions/download-artifact@\S+ # \S+\n.*\n +name: gate-cuda\n.*\n"
)
_ADDRESS = f"https://github.com/{REPOSITORY}"
_PATIENCE_S = 600


@pytest.fixture
def ours(tmp_path: Path) -> Caller:
    """Return this repository, for a runner without a GPU and with the models built in."""
    caller = Caller(copy_of_project(tmp_path / "project"))
    workflow = caller.folder / _RELEASE
    (gpu,) = _GPU_REPORT.findall(workflow.read_text("utf-8"))
    for before, after in (
        ("          - { device: cuda, runner: [self-hosted, gpu] }\n", ""),
        (gpu, ""),
        ("release-smollm2", "embedded"),
        ("models fetch smollm2-135m", "models fetch tiny-qwen2 tiny-phi3"),
    ):
        caller.edit(_RELEASE, before, after)
    caller.edit(_POLICY, "release-smollm2", "embedded")
    caller.edit(_POLICY, ', "cuda-sm90-132sm"', "")
    shutil.rmtree(caller.folder / "snapshots" / "goldens" / "cuda-sm90-132sm")
    return caller


@pytest.fixture
def runner(runner_for: RunnerMaker) -> Runner:
    """Return a runner that needs no GitHub and is patient: packages come from an index."""
    return replace(runner_for(Github(world=World(), port=9)), patience_s=_PATIENCE_S)


def test_a_dry_run_is_signed_off_and_publishes_nothing(ours: Caller, runner: Runner) -> None:
    """The gate, the build and the sign-off are green, and no job that publishes has run."""
    ours.commit()
    log = runner.run(ours.folder, "release.yml", dispatch(), id=RunId(1, 1))

    assert set(log.results.values()) == {"success"}, log.text
    assert {"build", "sign off"} < log.results.keys()
    assert not {"attest", "publish on GitHub", "publish on PyPI"} & log.results.keys()
    assert "accepted: " in log.text


def test_a_tag_is_signed_off_up_to_the_first_step_that_needs_github(
    ours: Caller, runner: Runner, tmp_path: Path
) -> None:
    """The evidence verifies by the policy of somebody else; nothing is published."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    line = public.decode().splitlines()[1]
    event = tag(f"v{repro_gate.__version__}", ours.commit())
    log = replace(runner, secrets={"SIGN_OFF_KEY": pem}).run(
        ours.folder, "release.yml", event, id=RunId(1, 1), variables={"SIGN_OFF_PUBLIC_KEY": line}
    )

    failed = {name for name, result in log.results.items() if result != "success"}
    assert failed == {"attest"}, log.text
    assert [one.message for one in log.annotations if one.level == "error"] == [
        "nothing can be attested: this runner gives jobs no OIDC identity"
    ]
    assert not any(line in log.text for line in pem.splitlines()[1:2])
    assert "accepted: " in _verified(ours, runner, tmp_path, line)


def _verified(ours: Caller, runner: Runner, folder: Path, public_key: str) -> str:
    """Verify what was uploaded, in a clone, by the policy with the key that is trusted."""
    text = (ours.folder / _POLICY).read_text("utf-8").replace('"REPOSITORY"', f'"{_ADDRESS}"')
    policy = folder / "policy.toml"
    policy.write_text(text.replace("PUBLIC_KEY", public_key), "utf-8")
    files = [*runner.artifact(1, "dist").iterdir(), *runner.artifact(1, "sbom").iterdir()]
    given = [option for file in sorted(files) for option in ("--artifact", str(file))]
    command = [sys.executable, "-m", "repro_gate", "verify", "--policy", str(policy), *given]
    evidence = str(runner.artifact(1, "sign-off"))
    done = subprocess.run(
        [*command, evidence], cwd=ours.folder, check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr
