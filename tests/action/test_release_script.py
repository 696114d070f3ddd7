"""The script that builds a release, with programs that only write what they would have built."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.action.files import ROOT, steps_of

_BUILT = ("repro_gate-1.2.3.tar.gz", "repro_gate-1.2.3-py3-none-any.whl")
_BUILDS = f"""\
#!/usr/bin/env bash
mkdir -p dist
for name in {" ".join(_BUILT)}; do echo "$name" >"dist/$name"; done
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a checkout, with a uv that was installed before."""
    for name in ("uv/bin/python", "uv/bin/uv", "programs/python3"):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(_BUILDS if name.endswith("/uv") else "#!/usr/bin/env bash\n", "utf-8")
        program.chmod(0o755)
    return tmp_path


def _build(folder: Path, tag: str = "v1.2.3") -> int:
    """Build as the runner would, and return the exit code."""
    release = ROOT / ".github" / "workflows" / "release.yml"
    (step,) = (step for step in steps_of(release) if step.name.startswith("Build"))
    bash = shutil.which("bash")
    assert bash is not None
    environment = {
        "PATH": f"{folder / 'programs'}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(folder),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "TAG": tag,
    }
    command = [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.run]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def test_the_checksums_are_those_of_what_was_built(folder: Path) -> None:
    """Each time: the list must not hold itself, which it would have done now and then."""
    check = shutil.which("sha256sum")
    assert check is not None
    for _ in range(60):
        shutil.rmtree(folder / "dist", ignore_errors=True)
        assert _build(folder) == 0
        checked = subprocess.run(
            [check, "--check", "--strict", "SHA256SUMS"],
            cwd=folder / "dist",
            capture_output=True,
            check=True,
            text=True,
        )
        assert checked.stdout == "".join(f"{name}: OK\n" for name in sorted(_BUILT))


def test_the_checksums_are_shown(folder: Path) -> None:
    """The page of the run shows what was approved."""
    assert _build(folder) == 0
    shown = (folder / "summary").read_text("utf-8")
    assert shown == (folder / "dist" / "SHA256SUMS").read_text("utf-8")


def test_a_tag_of_another_version_is_not_built(folder: Path) -> None:
    """It would mislead everybody."""
    assert _build(folder, "v1.2.4") != 0
