"""The scripts that build, sign and publish a release, with programs that only log what they do."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.action.files import ROOT, jobs_of, steps_of

_BUILT = ("repro_gate-1.2.3.tar.gz", "repro_gate-1.2.3-py3-none-any.whl")
_UV = f"""\
mkdir -p dist
for name in {" ".join(_BUILT)}; do echo "$name" >"dist/$name"; done
"""
_GH = """\
echo "$*" >>gh.log
case "$*" in
*isDraft*) [[ -f state ]] && cat state ;;
*matching-refs*) cat refs ;;
*PATCH*) exit "$(cat patched)" ;;
esac
"""
_GATE = """\
echo "$*" >>gate.log
if [[ $1 == sign-off ]]; then
  { stat --format %a "$RUNNER_TEMP/release.pem"; env | grep -c PRIVATE || true; } >mode
fi
"""
_RELEASE = ROOT / ".github" / "workflows" / "release.yml"
_KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Result:
    """How a script ended, and what it printed."""

    code: int
    printed: str


class Job:
    """A workspace with the programs that a script calls."""

    def __init__(self, folder: Path) -> None:
        """Make an empty one."""
        self.folder = folder
        self._install("uv/bin/python", "")
        self._install("uv/bin/uv", _UV)
        self._install("tool/bin/repro-gate", _GATE)
        self._install("programs/python3", "")
        self._install("programs/gh", _GH)

    def _install(self, name: str, script: str) -> None:
        program = self.folder / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/usr/bin/env bash\n{script}", "utf-8")
        program.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        """Write a file of the workspace."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, "utf-8")

    def read(self, name: str) -> str:
        """Return a file of the workspace."""
        return (self.folder / name).read_text("utf-8")

    def run(self, name: str, **variables: str) -> Result:
        """Run the step of a name as the runner would."""
        scripts = {step.run for step in steps_of(_RELEASE) if step.name == name}
        (script,) = scripts - {""}
        return self.run_script(script, **variables)

    def run_script(self, script: str, **variables: str) -> Result:
        """Run a script as the runner would."""
        bash = shutil.which("bash")
        assert bash is not None
        environment = {
            "PATH": f"{self.folder / 'programs'}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_OUTPUT": str(self.folder / "outputs"),
        }
        done = subprocess.run(
            [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=environment | variables,
            capture_output=True,
            check=False,
            text=True,
        )
        return Result(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Return the workspace of a job."""
    return Job(tmp_path)


_BUILD = "Build with tools that are pinned by hash"


@pytest.mark.parametrize("tag", ["v1.2.3", ""], ids=["tag", "dry run"])
def test_what_was_built_is_shown(job: Job, tag: str) -> None:
    """The page of the run has the digests of what somebody approves."""
    assert job.run(_BUILD, TAG=tag).code == 0

    assert [line.split()[1] for line in job.read("summary").splitlines()] == sorted(_BUILT)
    assert sorted(file.name for file in (job.folder / "dist").iterdir()) == sorted(_BUILT)


def test_a_tag_of_another_version_is_not_built(job: Job) -> None:
    """It would mislead everybody."""
    built = job.run(_BUILD, TAG="v1.2.4")

    assert built.code == 1
    assert "::error title=release::the tag v1.2.4 does not name the version" in built.printed


@pytest.fixture
def gated(job: Job) -> Job:
    """Return the workspace with two reports and the files of a release."""
    for device in ("cpu", "cuda"):
        job.write(f"gates/{device}/report.json", "{}")
    for name in _BUILT:
        job.write(f"files/{name}", name)
    job.write(".github/release-policy.toml", 'at = "REPOSITORY"\nkey = "PUBLIC_KEY"\n')
    return job


_SIGN = {"REPOSITORY": "https://github.com/octo-org/repro-gate", "IS_DRY_RUN": "false"}


def test_the_key_is_read_by_nobody_else_and_does_not_stay(gated: Job) -> None:
    """It is a file of mode 600 as long as the command runs, and no variable of the command."""
    signed = gated.run("Sign off", **_SIGN, KEY=_KEY, PUBLIC_KEY="MCowBQ+/&=")

    assert (signed.code, signed.printed) == (0, "")
    assert gated.read("mode") == "600\n0\n"
    assert not (gated.folder / "release.pem").exists()
    assert gated.read("policy.toml") == f'at = "{_SIGN["REPOSITORY"]}"\nkey = "MCowBQ+/&="\n'


def test_every_report_and_every_file_is_signed(gated: Job) -> None:
    """Neither a device nor a distribution is forgotten."""
    gated.run("Sign off", **_SIGN, KEY=_KEY, PUBLIC_KEY="MCowBQ")
    words = gated.read("gate.log").replace(f"{gated.folder}/", "").split()

    assert [words[at + 1] for at, word in enumerate(words) if word == "--from"] == [
        "gates/cpu",
        "gates/cuda",
    ]
    assert [words[at + 1] for at, word in enumerate(words) if word == "--artifact"] == [
        f"files/{name}" for name in sorted(_BUILT)
    ]


@pytest.mark.parametrize("given", [{"KEY": _KEY, "PUBLIC_KEY": ""}, {"KEY": "", "PUBLIC_KEY": "M"}])
def test_without_a_key_nothing_is_signed(gated: Job, given: dict[str, str]) -> None:
    """The owner of the repository reads what is missing."""
    signed = gated.run("Sign off", **_SIGN, **given)

    assert signed.code == 1
    assert "there is no secret SIGN_OFF_KEY in the environment release" in signed.printed
    assert not (gated.folder / "gate.log").exists()


def test_a_dry_run_never_uses_the_key(gated: Job) -> None:
    """A key of its own is in the policy."""
    dry = _SIGN | {"IS_DRY_RUN": "true"}
    assert gated.run("Sign off", **dry, KEY=_KEY, PUBLIC_KEY="MCowBQ").code == 0

    assert 'key = "MCowBQYDK2VwAyEA' in gated.read("policy.toml")


@dataclass(frozen=True, slots=True)
class Guard:
    """The step of a job that publishes by which it takes only what was signed off."""

    script: str
    folders: tuple[str, ...]

    def admits(self, job: Job, files: str) -> bool:
        """Return whether the files of a workspace are those of a list."""
        ended = job.run_script(self.script, FOLDERS=" ".join(self.folders), FILES=files)
        assert (ended.code == 0) != ("::error title=release::these are not" in ended.printed)
        return ended.code == 0


def _guard_of(name: str) -> Guard:
    steps = jobs_of(_RELEASE)[name]["steps"]
    known = "Require the files that were signed off"
    (at,) = (at for at, step in enumerate(steps) if step.get("name") == known)
    # Nothing is published before, and everything is downloaded.
    assert all(
        step.get("uses", "").startswith("actions/download-artifact@") or "run" in step
        for step in steps[:at]
    )
    assert "download-artifact" not in str(steps[at:])
    assert steps[at]["env"]["FILES"] == "${{ needs.sign-off.outputs.files }}"
    return Guard(steps[at]["run"], tuple(steps[at]["env"]["FOLDERS"].split()))


@pytest.fixture
def verified(gated: Job) -> str:
    """Return the files that the evidence was verified with, as an output of the job."""
    gated.write("files/sbom.cdx.json", "{}")
    for name in ("evidence.dsse.json", "signoff.md", "waivers/w-1.dsse.json"):
        gated.write(f"sign-off/{name}", name)
    assert gated.run("Verify it by the policy").code == 0
    first, *listed, last, _ = gated.read("outputs").split("\n")
    assert (first, last) == ("files<<END", "END")
    assert len(listed) == len(_BUILT) + 4
    return "\n".join(listed)


@pytest.mark.parametrize("name", ["attest", "publish", "pypi"])
def test_only_what_was_signed_off_is_published(gated: Job, verified: str, name: str) -> None:
    """Any other job of the run, such as one on a machine of ours, can replace its artifacts."""
    guard = _guard_of(name)
    artifacts = {"dist": _BUILT, "sbom": ("sbom.cdx.json",)}
    for folder in guard.folders:
        for file in artifacts.get(folder.rpartition("/")[2], ()):
            gated.write(f"{folder}/{file}", gated.read(f"files/{file}"))
        if folder.endswith("/sign-off"):
            shutil.copytree(gated.folder / "sign-off", gated.folder / folder)
    assert guard.admits(gated, verified)

    wheel = f"{guard.folders[0]}/{_BUILT[1]}"
    for changed, text in ((wheel, "other"), (f"{guard.folders[0]}/more.whl", "more")):
        before = gated.read(changed) if (gated.folder / changed).exists() else None
        gated.write(changed, text)
        assert not guard.admits(gated, verified)
        (gated.folder / changed).unlink()
        if before is not None:
            assert not guard.admits(gated, verified)
            gated.write(changed, before)
    assert guard.admits(gated, verified)
    assert not guard.admits(gated, "")


_PUBLISH = "Draft the release, and publish it when it is whole"


@pytest.fixture
def finished(job: Job) -> Job:
    """Return the workspace with all artifacts of a run."""
    for name in _BUILT:
        job.write(f"artifacts/dist/{name}", name)
    for name in ("sbom/sbom.cdx.json", "sign-off/evidence.dsse.json", "sign-off/signoff.md"):
        job.write(f"artifacts/{name}", name)
    job.write("artifacts/attestations/provenance.sigstore.json", "{}")
    return job


def _calls(job: Job) -> list[str]:
    return [" ".join(line.split()[:2]) for line in job.read("gh.log").splitlines()]


def test_a_release_is_published_only_when_it_is_whole(finished: Job) -> None:
    """It is a draft until every file is there, each with its digest."""
    assert finished.run(_PUBLISH, TAG="v1.2.3").code == 0

    assert _calls(finished) == ["release view", "release create", "release upload", "release edit"]
    log = finished.read("gh.log").splitlines()
    assert "--draft --verify-tag" in log[1]
    assert "--prerelease" not in log[1]
    assert log[3] == "release edit v1.2.3 --draft=false"
    sums = finished.read("assets/SHA256SUMS").splitlines()
    assert [line.split()[1] for line in sums] == sorted(
        {*_BUILT, "provenance.sigstore.json", "sbom.cdx.json", "sign-off.tar.gz"}
    )
    assert {word.rpartition("/")[2] for word in log[2].split()[4:]} == {
        *(line.split()[1] for line in sums),
        "SHA256SUMS",
    }


def test_a_draft_of_an_earlier_attempt_is_finished(finished: Job) -> None:
    """A job that is run again makes no second release."""
    finished.write("state", "true\n")
    assert finished.run(_PUBLISH, TAG="v1.2.3").code == 0

    assert _calls(finished) == ["release view", "release upload", "release edit"]


def test_a_published_release_is_not_changed(finished: Job) -> None:
    """Who has downloaded it would have something else."""
    finished.write("state", "false\n")
    published = finished.run(_PUBLISH, TAG="v1.2.3")

    assert published.code == 1
    assert "::error title=release::v1.2.3 is published already" in published.printed
    assert _calls(finished) == ["release view"]


def test_a_release_candidate_is_a_prerelease(finished: Job) -> None:
    """It is not the latest release."""
    finished.run(_PUBLISH, TAG="v1.2.3rc1")

    assert "--prerelease" in finished.read("gh.log").splitlines()[1]


_MOVE = "Move it to the latest release"
_REFS = "refs/tags/v1.2.3\nrefs/tags/v1.10.0rc1\nrefs/tags/v1.2.10\nrefs/tags/v1.0.0\n"


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("v1.2.3", "v1 stays at v1.2.10, which is later than v1.2.3"),
        ("v1.10.0rc1", "v1.10.0rc1 is a pre-release: nobody who follows a major tag gets it"),
    ],
)
def test_the_major_tag_stays_at_the_latest_release(job: Job, tag: str, shown: str) -> None:
    """A correction of an older version is not what its users wait for."""
    job.write("refs", _REFS)
    moved = job.run(_MOVE, TAG=tag, SHA="c0ffee", REPOSITORY="octo-org/repro-gate")

    assert (moved.code, moved.printed) == (0, f"{shown}\n")
    assert "PATCH" not in (job.read("gh.log") if (job.folder / "gh.log").exists() else "")


@pytest.mark.parametrize(("patched", "posts"), [("0", 0), ("1", 1)], ids=["there", "new"])
def test_the_major_tag_moves_to_the_latest_release(job: Job, patched: str, posts: int) -> None:
    """It is made if there is none yet."""
    job.write("refs", _REFS)
    job.write("patched", patched)
    assert job.run(_MOVE, TAG="v1.2.10", SHA="c0ffee", REPOSITORY="octo-org/repro-gate").code == 0

    assert job.read("gh.log").count("PATCH repos/octo-org/repro-gate/git/refs/tags/v1 ") == 1
    assert job.read("gh.log").count("POST") == posts
    assert "sha=c0ffee" in job.read("gh.log")
