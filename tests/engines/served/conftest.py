"""A real llama-server with a tiny model."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.docs.pages import ROOT

_PROGRAM = ROOT / "tests" / "fakes" / "llama_server.py"


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give the address and the process of a server on a free port."""
    command = [sys.executable, str(_PROGRAM), "-m", str(model), "--port", "0", "-t", "1", *options]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    )
    assert child.stdout is not None
    with child, child.stdout:
        try:
            yield child.stdout.readline().rpartition(" ")[2].strip(), child
        finally:
            child.terminate()


@pytest.fixture(name="model_file", scope="session")
def _model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file."""
    return make(RECIPES["tiny-qwen2"], tmp_path_factory.mktemp("models") / "tiny-qwen2.gguf").path


@pytest.fixture(name="url", scope="session")
def _url(model_file: Path) -> Iterator[str]:
    """Yield the address of a server of four slots."""
    with serving(model_file, "-c", "1024", "-np", "4", "-kvu") as (url, _):
        yield url
