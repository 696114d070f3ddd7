"""Folders with the matrix of a server that the gate starts."""

import os
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.contract.served.workspaces import ROOT, ServedWorkspace, write_program, write_programs

_VLLM = ROOT / ".tools" / "vllm" / "bin" / "python"
_IS_REQUIRED = "vllm" in os.environ.get("REPRO_GATE_REQUIRE", "").split(",")


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file."""
    return make(RECIPES["tiny-qwen2"], tmp_path_factory.mktemp("models") / "tiny-qwen2.gguf").path


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `llama-server` and an imitation of `vllm`."""
    folder = tmp_path_factory.mktemp("programs")
    write_programs(folder)
    return folder


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both real programs; their tests are skipped where not asked for."""
    if not _IS_REQUIRED:
        pytest.skip("`make served` runs these tests")
    assert _VLLM.exists(), f"{_VLLM}: expected the environment that `make served` creates"
    folder = tmp_path_factory.mktemp("programs")
    write_programs(folder)
    # The program of the package for CPUs looks for a distribution of another name.
    module = "-m vllm.entrypoints.openai.api_server --model"
    write_program(folder / "vllm", f'"{_VLLM}" {module}', first="shift")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, programs: Path) -> ServedWorkspace:
    """Return an empty folder, with a cache of its own."""
    folder, cache = tmp_path / "folder", tmp_path / "cache"
    folder.mkdir()
    return ServedWorkspace(folder=folder, cache=cache, programs=programs)
