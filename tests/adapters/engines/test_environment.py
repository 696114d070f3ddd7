"""What an engine sees of the gate's environment: what it needs, and no secrets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.processes import EngineStarter, command_spec, speaking

SECRETS = ("FIREWORKS_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN")
SETTINGS = (
    "GGML_CUDA_FORCE_MMQ",
    "OMP_NUM_THREADS",
    "LLAMA_ARG_THREADS",
    "CUBLAS_WORKSPACE_CONFIG",
)
ALWAYS = {
    "GGML_NO_BACKTRACE": "1",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "PYTHONUNBUFFERED": "1",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the gate an environment of which every variable is known."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name in (*SECRETS, *SETTINGS, "PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, f"the {name} of the gate")


def environment_of(start: EngineStarter, *pass_env: str) -> dict[str, str]:
    """Return the environment that an engine sees."""
    spec = command_spec(*speaking({"facts": "environment"}), pass_env=pass_env)
    facts = dict(start(spec).describe().facts)
    # Python sets the locale for itself.
    ours = {"engine", "LC_CTYPE", "REPRO_GATE_ENGINE"}
    return {name: facts[name] for name in facts if name not in ours}


def test_an_engine_sees_neither_secrets_nor_settings(start: EngineStarter) -> None:
    """A token could leak, and a setting would change results unnoticed."""
    assert environment_of(start) == ALWAYS | {
        "PATH": "the PATH of the gate",
        "CUDA_VISIBLE_DEVICES": "the CUDA_VISIBLE_DEVICES of the gate",
    }


def test_pass_env_adds_a_variable_by_name(start: EngineStarter) -> None:
    """`pass_env` adds exactly the variables that it names."""
    assert environment_of(start, "OMP_NUM_THREADS", "UNSET") == ALWAYS | {
        "PATH": "the PATH of the gate",
        "CUDA_VISIBLE_DEVICES": "the CUDA_VISIBLE_DEVICES of the gate",
        "OMP_NUM_THREADS": "the OMP_NUM_THREADS of the gate",
    }


def test_fixed_variables_cannot_be_overridden(start: EngineStarter) -> None:
    """The order of the devices decides which of them made a golden."""
    assert environment_of(start, "CUDA_DEVICE_ORDER")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


_ROOT = Path(__file__).parents[3]
_PROGRAM = (
    "from repro_gate.adapters.engines.environment import python_module_argv\n"
    "print(*python_module_argv('a.module'))"
)


@pytest.mark.parametrize(("given", "kept"), [("-I", "-I"), ("-P", "-P"), ("-B", "-P")])
def test_a_module_is_as_isolated_as_the_gate(given: str, kept: str) -> None:
    """No module is imported from the current folder; an isolated gate passes its isolation on."""
    done = subprocess.run(
        [sys.executable, given, "-c", _PROGRAM], capture_output=True, check=True, text=True
    )
    assert done.stdout.split()[1:] == [kept, "-m", "a.module"]


@pytest.mark.parametrize("command", [["doctor"], ["models", "fetch", "tiny-qwen2"]])
def test_an_isolated_gate_measures_the_installed_library(
    tmp_path: Path, command: list[str]
) -> None:
    """A job sets `PYTHONPATH` for its own code, which may contain modules of any name."""
    for name in ("gguf", "llama_cpp", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another library')\n", "utf-8")
    hostile = {"PYTHONPATH": str(tmp_path), "REPRO_GATE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-I", "-m", "repro_gate", *command],
        cwd=_ROOT,
        env=os.environ | hostile,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
