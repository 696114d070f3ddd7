"""Models of random weights in the shapes of real ones, for benchmarks.

    python benchmarks/shapes.py NAME [PATH]

Prints the path, which is in the user's cache unless it is given; a file that exists is kept.
`qwen2.5-0.5b-shape` is the built-in model of that name. The matrices of the larger ones are windows
into one pool of random blocks, so that a file of 8 GB takes as long as writing it. The pool has a
prime number of blocks: no two rows of a matrix are equal, and no two layers.
"""

import argparse
import zlib
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.quants import quantize
from platformdirs import user_cache_path

from repro_gate.tiny_models.architectures import PHI3, Shape
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES, Encoding, Recipe
from repro_gate.tiny_models.weights import Layout, bell, encoded, layout

Bytes: TypeAlias = npt.NDArray[np.uint8]

_SMALL = RECIPES["qwen2.5-0.5b-shape"]
_POOL = 499_979
_NUMBERS = 32
"""In a block of Q8_0, after its scale of two bytes."""
_SCALE = 2
_KINDS = {
    bool: GGUFValueType.BOOL,
    int: GGUFValueType.UINT32,
    float: GGUFValueType.FLOAT32,
    str: GGUFValueType.STRING,
    tuple: GGUFValueType.ARRAY,
}

SHAPES = {
    "phi3-mini-shape": Recipe(
        name="phi3-mini-shape",
        title="phi-3-mini-shape",
        architecture=PHI3,
        shape=Shape(
            embedding=3072,
            heads=32,
            kv_heads=32,
            layers=32,
            feed_forward=8192,
            context_length=4096,
            vocabulary=32064,
        ),
        trained_vocabulary=704,
        encoding=Encoding.Q8_0,
        seed=1,
    ),
    "qwen2.5-7b-shape": replace(
        _SMALL,
        name="qwen2.5-7b-shape",
        title="qwen2.5-7b-shape",
        shape=Shape(
            embedding=3584,
            heads=28,
            kv_heads=4,
            layers=28,
            feed_forward=18944,
            context_length=32768,
            vocabulary=152064,
        ),
    ),
}


def main() -> None:
    """Make the model that is named, unless it exists, and print its path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=[_SMALL.name, *SHAPES])
    parser.add_argument("path", nargs="?", type=Path)
    options = parser.parse_args()
    cached = user_cache_path("repro-gate") / "benchmarks" / f"{options.name}.gguf"
    path: Path = options.path or cached
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        if options.name in SHAPES:
            write(SHAPES[options.name], partial)
        else:
            make(_SMALL, partial)
        partial.replace(path)
    print(path)


def write(recipe: Recipe, path: Path) -> None:
    """Write the model of a recipe whose matrices are in Q8_0."""
    writer = GGUFWriter(path, recipe.architecture.name)
    for key, value in recipe.metadata().items():
        writer.add_key_value(key, value, _KINDS[type(value)])
    layouts = [layout(tensor, recipe.encoding) for tensor in recipe.tensors()]
    for target in layouts:
        writer.add_tensor_info(
            target.tensor.name, target.shape, target.dtype, target.size, raw_dtype=target.kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for data in _tensors(layouts, seed=recipe.seed):
        writer.write_tensor_data(data)
    writer.close()


def _tensors(layouts: list[Layout], *, seed: int) -> Iterator[npt.NDArray[Any]]:
    numbers = bell(seed, start=0, count=_POOL * _NUMBERS, exponent=0).reshape(_POOL, _NUMBERS)
    pool: Bytes = quantize(numbers, GGMLQuantizationType.Q8_0)
    for target in layouts:
        if target.kind is GGMLQuantizationType.Q8_0:
            yield _window(pool, target)
        else:
            yield encoded(target, seed=seed)


def _window(pool: Bytes, target: Layout) -> Bytes:
    """Return a matrix of consecutive blocks of the pool, from a place of its own."""
    start = zlib.crc32(target.tensor.name.encode()) % _POOL
    blocks = np.roll(pool, -start, axis=0)
    scales = blocks[:, :_SCALE].copy().view(np.float16)
    blocks[:, :_SCALE] = (scales * np.float16(2.0**target.tensor.exponent)).view(np.uint8)
    return np.resize(blocks, prod(target.shape)).reshape(target.shape)


if __name__ == "__main__":
    main()
