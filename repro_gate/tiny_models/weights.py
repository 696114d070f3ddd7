"""Fills a model's tensors with random numbers and encodes them, a few rows at a time."""

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.quants import quant_shape_to_byte_shape, quantize

from repro_gate.tiny_models.architectures import Tensor
from repro_gate.tiny_models.prng import bell, stream_seed
from repro_gate.tiny_models.recipes import Encoding

Encoded: TypeAlias = npt.NDArray[Any]
"""The bytes of a tensor as float32 numbers or as uint8 blocks, rows first."""

_CHUNK = 1 << 17
"""Numbers made at once: few enough to stay in a core's cache, and memory stays flat."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one tensor lies in the file."""

    tensor: Tensor
    kind: GGMLQuantizationType

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the encoded array, in elements of `dtype`."""
        if self.kind is GGMLQuantizationType.F32:
            return self.tensor.shape
        return quant_shape_to_byte_shape(self.tensor.shape, self.kind)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the encoded array."""
        return np.dtype(np.float32 if self.kind is GGMLQuantizationType.F32 else np.uint8)

    @property
    def size(self) -> int:
        """Bytes of the encoded array."""
        return prod(self.shape) * self.dtype.itemsize


def layout(tensor: Tensor, encoding: Encoding) -> Layout:
    """Return how `tensor` is stored: vectors stay float32 whatever the file's encoding is."""
    if len(tensor.shape) == 1 or encoding is Encoding.F32:
        return Layout(tensor, GGMLQuantizationType.F32)
    return Layout(tensor, GGMLQuantizationType.Q8_0)


def encoded(target: Layout, *, seed: int) -> Encoded:
    """Return the random numbers of one tensor of the model with this seed, as they are stored."""
    tensor = target.tensor
    stream = stream_seed(seed, tensor.name)
    rows, columns = tensor.shape[0], prod(tensor.shape[1:])
    result = np.empty(target.shape, target.dtype)
    step = max(1, _CHUNK // columns)
    for row in range(0, rows, step):
        count = min(step, rows - row)
        numbers = bell(
            stream,
            start=row * columns,
            count=count * columns,
            exponent=tensor.exponent,
            centre=tensor.centre,
        )
        chunk = numbers.reshape(count, *tensor.shape[1:])
        result[row : row + count] = quantize(chunk, target.kind)
    return result
