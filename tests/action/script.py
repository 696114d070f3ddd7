"""Runs install.sh with programs that only log their arguments."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.action.files import ROOT

SCRIPT = ROOT / ".github" / "action" / "install.sh"
_TOOLS = (
    *("bash", "cat", "chmod", "cp", "getconf", "grep", "mkdir", "mktemp", "mv", "sed"),
    *("sha256sum", "sort", "uname"),
)
_UV = """\
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "uv {version} (linux)"; exit; fi
echo "$PWD|${{UV_CACHE_DIR-}}|$*" >>"{log}"
if [[ "$*" == *--offline* && -n "{prints}" && "{has}" != "${{UV_CACHE_DIR-}}" ]]; then
  echo "{prints}" >&2
  exit 1
fi
if [[ $1 == "{fails}" ]]; then echo "no {fails} today" >&2; exit 2; fi
if [[ $1 == venv ]]; then
  mkdir -p "${{@: -1}}/lib/python3.11/site-packages" "${{@: -1}}/bin"
  cp "{python}" "${{@: -1}}/bin/python"
fi
exit 0
"""
_OLD_PYTHON = """\
if [[ $2 == -m ]]; then echo "$PWD||$*" >>"{log}"; fi
if [[ $3 == venv ]]; then
  mkdir -p "$4/bin"
  cp "$0" "$4/bin/python"
elif [[ $3 == pip ]]; then
  mkdir -p "${{@: -1}}"
  cp "{wheel}" "${{@: -1}}"
  exit {code}
else
  exec "{python}" "$@"
fi
"""
_PYTHON = f'exec "{sys.executable}" "$@"'
"""Of every environment: that of the tests, which has all packages."""
_INPUTS = {
    "SETUP_ACCELERATOR": "cpu",
    "SETUP_ARTIFACT_NAME": "repro-gate",
    "SETUP_ACCEPT": "false",
    "SETUP_CACHE": "false",
    "SETUP_COMMENT": "",
    "SETUP_CUDA_ARCHITECTURE": "",
    "SETUP_FAIL_ON": "",
    "SETUP_KEY": "key-of-the-library",
    "SETUP_PYTHON_VERSION": "3.11",
    "SETUP_TASKS": "  ",
    "SETUP_UV": "uv",
    "SETUP_WORKING_DIRECTORY": ".",
}


@dataclass(frozen=True, slots=True)
class Result:
    """How a phase ended, and what it printed."""

    code: int
    printed: str
    outputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of uv, or of the Python that fetches it."""

    folder: str
    cache: str
    arguments: Sequence[str]


class Machine:
    """A runner with no programs but those that it is given."""

    def __init__(self, folder: Path) -> None:
        """Make an empty one, with the tools that every system has."""
        self._programs = folder / "programs"
        self.temp = folder / "temp"
        self.workspace = folder / "workspace"
        for each in (self._programs, self.temp, self.workspace):
            each.mkdir()
        for name in _TOOLS:
            found = shutil.which(name)
            assert found is not None
            (self._programs / name).symlink_to(found)
        self._log = folder / "calls"
        self._log.touch()
        self._script = SCRIPT
        self.tools = folder / "tools"
        """The folder of tools that the runner keeps; not there yet."""
        self.python = folder / "python"
        """What each environment gets as its Python."""
        _write(self.python, _PYTHON)

    def install(self, name: str, script: str) -> None:
        """Put a program on the PATH; the script begins after its first line."""
        _write(self._programs / name, script)

    def install_uv(
        self, version: str = "0.13.9", *, prints: str = "", fails: str = "", has: str = "nothing"
    ) -> None:
        """Put a uv on the PATH, which prints something unless it may use the network, or fails.

        Args:
            version: what it calls itself.
            prints: what it prints offline before it fails; nothing where its cache has everything.
            fails: the command that fails online.
            has: the cache that has everything all the same; an empty one is uv's own.
        """
        values = {"prints": prints, "fails": fails, "has": has}
        script = _UV.format(version=version, log=self._log, python=self.python, **values)
        self.install("uv", script.partition("\n")[2])

    def install_python(self, *, index_is_there: bool = True) -> None:
        """Put a Python on the PATH that can make an environment, and fetch uv from an index.

        The action is a copy from then on, whose lock has the hash of what is fetched.
        """
        wheel = self._log.with_name("uv-0.13.9-py3-none-linux_x86_64.whl")
        with zipfile.ZipFile(wheel, "w") as packed:
            packed.write(self.uv, "uv-0.13.9.data/scripts/uv")
        self._lock(hashlib.sha256(wheel.read_bytes()).hexdigest())
        values = {"log": self._log, "wheel": wheel, "python": sys.executable}
        self.install("python3", _OLD_PYTHON.format(code=0 if index_is_there else 1, **values))

    def _lock(self, digest: str) -> None:
        root = self._log.with_name("action")
        shutil.copytree(SCRIPT.parent, root / ".github" / "action")
        for name in ("pyproject.toml", "repro_gate", "requirements-report.lock"):
            (root / name).symlink_to(ROOT / name)
        lock = root / ".github" / "action" / "requirements-uv.lock"
        lock.write_text(f"uv==0.13.9 \\\n    --hash=sha256:{digest}\n", "utf-8")
        self._script = root / SCRIPT.relative_to(ROOT)

    def prepared(self) -> Path:
        """Return a folder as the phase `gate` leaves it."""
        folder = self.temp / "repro-gate.prepared"
        (folder / "environment" / "bin").mkdir(parents=True)
        shutil.copy2(self.python, folder / "environment" / "bin" / "python")
        return folder

    @property
    def uv(self) -> Path:
        """Where uv is."""
        return self._programs / "uv"

    def calls(self) -> list[Call]:
        """Return the calls so far."""
        lines = self._log.read_text("utf-8").splitlines()
        parts = (line.split("|", 2) for line in lines)
        return [Call(folder, cache, arguments.split()) for folder, cache, arguments in parts]

    def run(self, phase: str, **inputs: str) -> Result:
        """Run a phase in the workspace."""
        outputs = self.temp / "outputs"
        outputs.write_text("", "utf-8")
        environment = {
            "PATH": str(self._programs),
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_TOOL_CACHE": str(self.tools),
            "GITHUB_OUTPUT": str(outputs),
            "CUDA_HOME": os.devnull,
        }
        done = subprocess.run(
            [str(self._programs / "bash"), str(self._script), phase],
            cwd=self.workspace,
            env=environment | _INPUTS | inputs,
            capture_output=True,
            check=False,
            timeout=60,
            text=True,
        )
        pairs = (line.partition("=") for line in outputs.read_text("utf-8").splitlines())
        given = {name: value for name, _, value in pairs}
        return Result(code=done.returncode, printed=done.stdout + done.stderr, outputs=given)


def _write(program: Path, script: str) -> None:
    program.write_text(f"#!/usr/bin/env bash\n{script}\n", "utf-8")
    program.chmod(0o755)
