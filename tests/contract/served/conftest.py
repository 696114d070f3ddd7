"""llama-server with a tiny model, and vLLM where `make served` installed it."""

import os
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_ENVIRONMENT = Path(__file__).parents[3] / ".tools" / "vllm"
_REQUIRED = "vllm" in os.environ.get("REPRO_GATE_REQUIRE", "").split(",")


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file."""
    return make(RECIPES["tiny-qwen2"], tmp_path_factory.mktemp("models") / "tiny-qwen2.gguf").path


@pytest.fixture(scope="session")
def vllm() -> Path:
    """Return the Python that has vLLM; these tests are skipped where not asked for."""
    if not _REQUIRED:
        pytest.skip("`make served` runs these tests")
    python = _ENVIRONMENT / "bin" / "python"
    assert python.exists(), f"{python}: expected the environment that `make served` creates"
    return python
