"""Models in real shapes, for benchmarks."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np

from benchmarks.shapes import write
from repro_gate.tiny_models.recipes import RECIPES, Encoding


def test_large_shapes_have_no_equal_rows_or_layers(tmp_path: Path) -> None:
    """A model from a pool of blocks has the tensors of its recipe, and no matrix repeats itself."""
    recipe = replace(RECIPES["tiny-phi3"], encoding=Encoding.Q8_0)
    path = tmp_path / "model.gguf"

    write(recipe, path)

    found = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert list(found) == [tensor.name for tensor in recipe.tensors()]
    matrices = [tensor.data for tensor in found.values() if tensor.data.ndim > 1]
    rows = np.concatenate([matrix[:, 2:34] for matrix in matrices])
    assert len(np.unique(rows, axis=0)) == len(rows)
