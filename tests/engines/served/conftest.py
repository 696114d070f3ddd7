"""Servers on free ports: a real llama-server with a tiny model, and one like vLLM."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.docs.pages import ROOT

_PROGRAM = str(ROOT / "tests" / "fakes" / "llama_server.py")


@contextmanager
def printing(*command: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give the last word of the first line that a server prints, and its process."""
    child = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        cwd=ROOT,
    )
    assert child.stdout is not None
    with child, child.stdout:
        try:
            yield child.stdout.readline().rpartition(" ")[2].strip(), child
        finally:
            child.terminate()


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give the address and the process of a llama-server on a free port."""
    with printing(_PROGRAM, "-m", str(model), "--port", "0", "-t", "1", *options) as served:
        yield served


@contextmanager
def vllm(*options: str) -> Iterator[str]:
    """Give the address of a server with the answers of vLLM."""
    command = ("-m", "tests.fakes.vllm", "serve", "model", "--port", "0")
    with printing(*command, "--served-model-name", "tiny", *options) as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(name="model_file", scope="session")
def _model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file."""
    return make(RECIPES["tiny-qwen2"], tmp_path_factory.mktemp("models") / "tiny-qwen2.gguf").path


@pytest.fixture(name="url", scope="session")
def _url(model_file: Path) -> Iterator[str]:
    """Yield the address of a server of four slots."""
    with serving(model_file, "-c", "1024", "-np", "4", "-kvu") as (url, _):
        yield url
