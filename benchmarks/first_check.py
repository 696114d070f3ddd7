"""Seconds from `pip install` of the wheel to the first green check, step by step.

python -m benchmarks.first_check --model FILE [--wheels DIR]

Builds the wheel of this checkout and installs it with pip into a new environment, with the settings
of pip on this machine. pip compiles llama-cpp-python, unless its cache, or DIR, has a wheel of it:
the line of that step shows which. Then a copy of the model file is gated in an empty folder, as a
new user would do it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.workplace import local_environment

_ROOT: Final = Path(__file__).parents[1]
_LLAMA: Final = "llama-cpp-python"
_OURS: Final = ("PYTHON", "REPRO_GATE_", "VIRTUAL_ENV")
_COMMANDS: Final = (
    ("init", "{model}", "--yes"),
    ("update-snapshots", "--yes"),
    ("check",),
)
_COMPILED: Final = f"Building wheel for {_LLAMA}"
"""What pip prints when it does so."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="a GGUF file")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="a folder with compiled wheels")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        total = 0.0
        for step, seconds in _steps(Path(folder), options.model, options.wheels):
            total += seconds
            print(f"{seconds:8.1f}  {step}", flush=True)
        print(f"{total:8.1f}  from the wheel to the first green check, on {os.cpu_count()} cores")


def _steps(folder: Path, model: Path, wheels: Path | None) -> Iterator[tuple[str, float]]:
    """Yield each step with its seconds; building our own wheel is none of them."""
    environ = _environment(folder)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    _run(build, _ROOT, environ)
    (wheel,) = (folder / "dist").glob("*.whl")
    started = time.monotonic()
    venv.create(folder / "venv", with_pip=True)
    yield "python -m venv", time.monotonic() - started
    program = folder / "venv" / "bin"
    more = [] if wheels is None else ["--find-links", str(wheels.resolve())]
    install = [str(program / "pip"), "install", "--prefer-binary", *more, str(wheel)]
    started = time.monotonic()
    printed = _run(install, folder, environ)
    how = "compiled" if _COMPILED in printed else "from a wheel"
    yield f"pip install, {_LLAMA} {how}", time.monotonic() - started
    gate = folder / "gate"
    gate.mkdir()
    shutil.copyfile(model, gate / model.name)
    for command in _COMMANDS:
        arguments = [word.format(model=model.name) for word in command]
        started = time.monotonic()
        printed = _run([str(program / "repro-gate"), *arguments], gate, environ)
        yield f"repro-gate {' '.join(arguments)}", time.monotonic() - started
    if "passed: " not in printed:
        raise SystemExit(f"the check did not pass:\n{printed}")


def _environment(folder: Path) -> Mapping[str, str]:
    """Return that of a new user, with the instruction sets that the README names."""
    document = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    variables = document["tool"]["uv"]["extra-build-variables"][_LLAMA]
    known = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    cache = os.environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
    usual = {
        name: value for name, value in local_environment().items() if not name.startswith(_OURS)
    }
    return {**usual, **known, "PIP_CACHE_DIR": cache, **variables}


def _run(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> str:
    """Return what a command prints; the end of the benchmark if it fails."""
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
