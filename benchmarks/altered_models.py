"""Model files with one planted change."""

import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGUFReader, GGUFWriter
from gguf.constants import Keys
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

WEIGHT: Final = "blk.0.attn_q.weight"
"""The tensor that gets another bit."""
SCALED: Final = "blk.0.ffn_norm.weight"
"""Stored as F32 in every file, so that its scale changes exactly."""


def with_one_bit_changed(model: Path, target: Path) -> Path:
    """Write a model that differs in the lowest bit of one weight."""

    def flip(data: Any) -> None:
        # In every type, the lowest bit of this byte is that of a weight.
        data.reshape(-1).view(np.uint8)[16] ^= 1

    return _with_tensor(model, target, WEIGHT, flip)


def with_one_tensor_scaled(model: Path, target: Path) -> Path:
    """Write a model with one tensor multiplied by 1.001."""

    def scale(data: Any) -> None:
        data *= np.float32(1.001)

    return _with_tensor(model, target, SCALED, scale)


def merges_of(model: Path) -> list[str]:
    """Return the merges of the tokenizer of a model."""
    merges: list[str] = GGUFReader(model).fields[Keys.Tokenizer.MERGES].contents()
    return merges


def without_merge(model: Path, target: Path, merge: str) -> Path:
    """Write a model whose tokenizer lacks a merge."""
    reader = GGUFReader(model)
    merges = reader.fields[Keys.Tokenizer.MERGES]
    left = [each for each in merges.contents() if each != merge]
    if len(left) == len(merges.contents()):
        raise ValueError(f"{model}: expected the merge {merge!r}, found none")
    details = MetadataDetails(merges.types[0], left, sub_type=merges.types[-1])
    writer = GGUFWriter(target, reader.fields[Keys.General.ARCHITECTURE].contents())
    # It shows its progress.
    with redirect_stderr(StringIO()):
        copy_with_new_metadata(reader, writer, {Keys.Tokenizer.MERGES: details}, [])
    return target


def _with_tensor(model: Path, target: Path, name: str, change: Callable[[Any], None]) -> Path:
    shutil.copy(model, target)
    reader = GGUFReader(target, "r+")
    (tensor,) = (tensor for tensor in reader.tensors if tensor.name == name)
    change(tensor.data)
    reader.data.flush()
    return target
