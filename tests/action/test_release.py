"""The release publishes what was gated and signed, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.adapters.sign_off.policy import read_policy
from tests.action.files import ROOT, WORKFLOWS, document, jobs_of
from tests.docs.pages import page

(_RELEASE,) = (file for file in WORKFLOWS if file.stem == "release")
_JOBS = jobs_of(_RELEASE)
_CHAIN = ["attest", "publish", "pypi", "major-tag"]
"""The jobs that publish, in their order."""
_GUIDE = page("CONTRIBUTING.md").sections()["Release"]
_PUBLIC_KEY = "MCowBQYDK2VwAyEALbncdP9jLhdWUcJQLHj7Cy+o1uYwaUQbSKBfHjMItdM="


@pytest.mark.parametrize("name", _CHAIN)
def test_what_publishes_runs_nothing_of_the_repository(name: str) -> None:
    """It has rights that code from elsewhere must not get, so it has no checkout."""
    uses = [step.get("uses", "").partition("@")[0] for step in _JOBS[name]["steps"]]
    known = {"actions/attest", "actions/download-artifact", "actions/upload-artifact"}
    assert set(uses) - {""} <= known | {"pypa/gh-action-pypi-publish"}


@pytest.mark.parametrize("name", ["attest", "pypi"])
def test_a_job_without_an_identity_fails_first(name: str) -> None:
    """It ends with a sentence of its own, before anything is downloaded or uploaded."""
    job = _JOBS[name]
    first = job["steps"][0]["run"]
    assert job["permissions"]["id-token"] == "write"
    assert "ACTIONS_ID_TOKEN_REQUEST_URL" in first
    assert "::error title=release::" in first
    assert "if" not in job["steps"][0]


def test_only_a_tag_publishes() -> None:
    """Started by hand it is a dry run: every job that publishes needs the one that asks."""
    condition = "${{ github.event_name == 'push' && github.ref_type == 'tag' }}"
    assert [_JOBS[name].get("if") for name in _CHAIN] == [condition, None, None, None]
    assert [_JOBS[name]["needs"] for name in _CHAIN] == [
        "sign-off",
        ["sign-off", "attest"],
        ["sign-off", "publish"],
        "pypi",
    ]
    assert set(_JOBS) - set(_CHAIN) == {"gate", "build", "sign-off"}


def test_the_moving_tag_starts_no_release() -> None:
    """The pattern of tags is one of whole versions."""
    (pattern,) = document(_RELEASE)[True]["push"]["tags"]
    assert pattern == "v[0-9]+.[0-9]+.[0-9]+*"


def test_only_distributions_go_to_the_index() -> None:
    """The job has that artifact alone, and the build puts nothing else into it."""
    downloads = [step["with"] for step in _JOBS["pypi"]["steps"] if "with" in step]
    uploads = [step["with"] for step in _JOBS["build"]["steps"] if "with" in step]
    assert downloads == [{"name": "dist", "path": "dist"}]
    assert {(one.get("name"), one.get("path")) for one in uploads} == {
        (None, None),
        ("dist", "dist"),
        ("sbom", "sbom.cdx.json"),
    }


def test_the_guide_lists_the_jobs_with_their_rights() -> None:
    """In their order, with everything that they may write."""
    rows = re.findall(r"^\| `(\S+)` \|.*\| ([^|]*) \|$", _GUIDE, re.MULTILINE)
    rights = {name: set(re.findall(r"`(\S+)`", cell)) for name, cell in rows}
    found = {
        name: {what for what, access in job["permissions"].items() if access == "write"}
        for name, job in _JOBS.items()
    }

    assert list(rights.items()) == list(found.items())


def test_the_policy_of_a_release_is_one(tmp_path: Path) -> None:
    """Filled in, it is read, and it requires the suite and the devices that the workflow gates."""
    text = (ROOT / ".github" / "release-policy.toml").read_text("utf-8")
    file = tmp_path / "policy.toml"
    filled = text.replace("REPOSITORY", "https://github.com/octo-org/repro-gate")
    file.write_text(filled.replace("PUBLIC_KEY", _PUBLIC_KEY), "utf-8")
    policy = read_policy(file)
    gate = _JOBS["gate"]
    legs = gate["strategy"]["matrix"]["include"]

    assert policy.suites == (gate["steps"][-1]["with"]["suite"],)
    assert [one.partition("-")[0] for one in policy.profiles] == [leg["device"] for leg in legs]
    matrix = read_matrix(ROOT / "repro-gate.toml")
    cells = [matrix.suites[name].cells for name in policy.suites]
    assert policy.minimum_tests == sum(map(len, cells)) * len(legs)


def test_the_bill_of_materials_knows_the_llama_cpp_that_was_measured() -> None:
    """Its commit is the one that the library of the goldens reports, for the locked version."""
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    bindings = re.search(r"^llama-cpp-python==(\S+)", lock, re.MULTILINE)
    assert bindings is not None
    wheel = {"bom-ref": "b", "name": "llama-cpp-python", "version": bindings[1]}
    sbom = {
        "components": [wheel],
        "dependencies": [{"ref": "b"}, {"ref": "root"}],
        "metadata": {"component": {"bom-ref": "root", "name": "repro-gate"}},
    }
    script = [sys.executable, str(ROOT / ".github" / "action" / "sbom.py"), "1.2.3"]
    done = subprocess.run(script, input=json.dumps(sbom).encode(), check=True, capture_output=True)
    made = json.loads(done.stdout)
    _, native = made["components"]
    golden = next((ROOT / "snapshots" / "goldens").glob("cpu-*/smollm2*.json"))
    measured = json.loads(golden.read_text("utf-8"))["provenance"]["engine.ggml_commit"]

    assert native["version"].startswith(measured.partition("-")[0])
    assert made["metadata"]["component"]["version"] == "1.2.3"
    assert {one["ref"]: one.get("dependsOn") for one in made["dependencies"]} == {
        "root": ["b"],
        "b": [native["bom-ref"]],
        native["bom-ref"]: None,
    }


def test_a_bill_of_unknown_bindings_is_refused() -> None:
    """Another llama.cpp is inside, and nobody has looked which."""
    wheel = {"bom-ref": "b", "name": "llama-cpp-python", "version": "9.9.9"}
    sbom = {"components": [wheel], "metadata": {"component": {"bom-ref": "root"}}}
    script = [sys.executable, str(ROOT / ".github" / "action" / "sbom.py"), "1.2.3"]
    done = subprocess.run(script, input=json.dumps(sbom).encode(), check=False, capture_output=True)

    assert done.returncode == 1
    assert done.stderr == b"sbom.py: add the llama.cpp of llama-cpp-python 9.9.9\n"
