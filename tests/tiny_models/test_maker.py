"""Models are written atomically, with the same bytes every time."""

import hashlib
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize, quantize

from repro_gate.tiny_models.architectures import Tensor
from repro_gate.tiny_models.maker import MadeModel, make
from repro_gate.tiny_models.recipes import RECIPES, Encoding
from repro_gate.tiny_models.weights import bell, encoded, layout, stream_seed

if TYPE_CHECKING:
    from tests.tiny_models.conftest import ModelMaker

TINY = ("tiny-qwen2", "tiny-phi3")
BIG = "qwen2.5-0.5b-shape"

# Goldens that are committed anywhere rest on these; a change here invalidates them.
PINNED = {
    "tiny-qwen2": (
        "f0208ce79012f3aea973b730ca9c1d97655bc220d9ba1e487b41e64e8d7eff0d",
        642304,
    ),
    "tiny-phi3": (
        "81c17a646bd3497140e3361bd833b0b61b4b46bd8af805898a8a43f8a01a711e",
        706240,
    ),
}


@pytest.mark.parametrize("name", TINY)
def test_the_bytes_are_pinned(made_model: "ModelMaker", name: str) -> None:
    """The digest and the size of a tiny model never change."""
    made = made_model(name)
    assert (made.sha256, made.size) == PINNED[name]


@pytest.mark.parametrize("name", TINY)
def test_the_answer_describes_the_file(made_model: "ModelMaker", name: str) -> None:
    """Path, digest and size are those of the file that was written."""
    made = made_model(name)
    content = made.path.read_bytes()
    assert made == MadeModel(
        path=made.path, sha256=hashlib.sha256(content).hexdigest(), size=len(content)
    )


@pytest.mark.parametrize("name", TINY)
def test_making_again_gives_the_same_bytes(
    made_model: "ModelMaker", name: str, tmp_path: Path
) -> None:
    """In the same process too."""
    assert make(RECIPES[name], tmp_path / "again.gguf").sha256 == made_model(name).sha256


@pytest.mark.parametrize("name", TINY)
def test_every_tensor_and_key_is_in_the_file(made_model: "ModelMaker", name: str) -> None:
    """The file has what the recipe defines, and no date or tool version."""
    reader = GGUFReader(made_model(name).path)
    recipe = RECIPES[name]
    assert [(tensor.name, tuple(map(int, tensor.shape))) for tensor in reader.tensors] == [
        (tensor.name, tensor.shape[::-1]) for tensor in recipe.tensors()
    ]
    header = ["GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture"]
    assert list(reader.fields) == [*header, *recipe.metadata()]


def test_numbers_do_not_depend_on_chunks() -> None:
    """A tensor that is made in parts has one unbroken stream."""
    tensor = Tensor(name="wide", shape=(5, 100_000), exponent=0)
    whole = bell(stream_seed(9, "wide"), start=0, count=500_000, exponent=0)
    parts = encoded(layout(tensor, Encoding.F32), seed=9)
    assert np.array_equal(parts, whole.reshape(5, 100_000))


def test_quantised_blocks_hold_the_same_numbers() -> None:
    """Q8_0 rounds each number by at most half a step of its block."""
    tensor = Tensor(name="matrix", shape=(64, 96), exponent=0)
    exact = encoded(layout(tensor, Encoding.F32), seed=9)
    target = layout(tensor, Encoding.Q8_0)
    rounded = encoded(target, seed=9)
    assert np.array_equal(rounded, quantize(exact, target.kind))
    assert np.abs(dequantize(rounded, target.kind) - exact).max() < 2 / 127


def test_vectors_stay_float32_in_a_quantised_model() -> None:
    """Norms and biases are not quantised, as in real files."""
    vector = Tensor(name="norm", shape=(64,), exponent=0)
    assert layout(vector, Encoding.Q8_0) == layout(vector, Encoding.F32)


def test_an_existing_file_is_replaced(tmp_path: Path, made_model: "ModelMaker") -> None:
    """And no other file is left."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"something older")
    make(RECIPES["tiny-qwen2"], path)
    assert path.read_bytes() == made_model("tiny-qwen2").path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """The partial file is removed."""
    path = tmp_path / "folder.gguf"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        make(RECIPES["tiny-qwen2"], path)
    assert list(tmp_path.iterdir()) == [path]


def test_processes_may_make_one_file_at_once(tmp_path: Path) -> None:
    """Four of them leave one complete file."""
    path = tmp_path / "model.gguf"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(make, [RECIPES["tiny-phi3"]] * 4, [path] * 4))
    assert {each.sha256 for each in made} == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    """A kill while writing does not touch the existing file."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"something older")
    maker = subprocess.Popen([sys.executable, "-m", "repro_gate.tiny_models", BIG, str(path)])
    while not any(file.stat().st_size for file in tmp_path.glob(".repro-gate-*.tmp")):
        assert maker.poll() is None
        time.sleep(0.01)
    maker.kill()
    maker.wait()
    assert path.read_bytes() == b"something older"
