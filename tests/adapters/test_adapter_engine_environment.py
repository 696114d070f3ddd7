"""What an engine sees of the gate's environment: what it needs, and nothing that it could tell."""

import os

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
    """A token could be told to anyone, and a setting would change tokens behind our back."""
    assert environment_of(start) == ALWAYS | {
        "PATH": "the PATH of the gate",
        "CUDA_VISIBLE_DEVICES": "the CUDA_VISIBLE_DEVICES of the gate",
    }


def test_a_variable_is_let_through_by_name(start: EngineStarter) -> None:
    """`pass_env` opens the way for one variable, and for no other."""
    assert environment_of(start, "OMP_NUM_THREADS", "UNSET") == ALWAYS | {
        "PATH": "the PATH of the gate",
        "CUDA_VISIBLE_DEVICES": "the CUDA_VISIBLE_DEVICES of the gate",
        "OMP_NUM_THREADS": "the OMP_NUM_THREADS of the gate",
    }


def test_what_is_always_set_cannot_be_let_through(start: EngineStarter) -> None:
    """The order of the devices decides on which of them a golden was made."""
    assert environment_of(start, "CUDA_DEVICE_ORDER")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
