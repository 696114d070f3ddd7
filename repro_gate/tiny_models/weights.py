"""The weights of the built-in models: random numbers that are the same on every machine."""

import hashlib
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.quants import quant_shape_to_byte_shape, quantize

from repro_gate.tiny_models.architectures import Tensor
from repro_gate.tiny_models.recipes import Encoding

Words: TypeAlias = npt.NDArray[np.uint64]
Floats: TypeAlias = npt.NDArray[np.float32]

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_LANES = np.uint64(0x0000FFFF0000FFFF)
_LOW_HALF = np.uint64(0x00000000FFFFFFFF)

_MEAN = 4 * 0xFFFF // 2
"""Mean of the sum of four uniform 16-bit integers."""

_UNIT_BITS = 16
"""A sum is counted in units of 2**-16, which puts it within 2 of its mean."""

_FLOAT32_BITS = 24
"""Integers of this many bits and a sign are float32 numbers exactly."""


def stream_seed(seed: int, name: str) -> int:
    """Return the 64-bit seed of the stream called `name` of the model seed `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")


def words(seed: int, *, start: int, count: int) -> Words:
    """Return outputs `start` to `start + count` (exclusive) of SplitMix64, shape [count].

    SplitMix64 is G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators",
    OOPSLA 2014, with the constants of S. Vigna's public-domain splitmix64.c. Its state is a
    counter, so any part of a stream can be made without the parts before it.
    """
    first = (seed + (start + 1) * _GAMMA) & _MASK
    mixed = np.arange(count, dtype=np.uint64)
    mixed *= np.uint64(_GAMMA)
    mixed += np.uint64(first)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def bell(seed: int, *, start: int, count: int, exponent: int, centre: int = 0) -> Floats:
    """Return `count` bell-shaped float32 numbers around `centre`, shape [count].

    Each is the sum of the four 16-bit lanes of one SplitMix64 word, less its mean: an Irwin-Hall
    distribution with n = 4, within 2 * 2**exponent of `centre` and with a standard deviation of
    2**exponent / sqrt(3). No step rounds: the numbers are integers of at most 24 bits until they
    are scaled by a power of two. Raises `ValueError` when a `centre` needs more bits than that.
    """
    offset = centre << (_UNIT_BITS - exponent) if centre else 0
    if abs(offset) + _MEAN + 1 >= 1 << _FLOAT32_BITS:
        raise ValueError(f"centre {centre} with exponent {exponent} would round in float32")
    drawn = words(seed, start=start, count=count)
    pairs = (drawn & _LANES) + ((drawn >> np.uint64(16)) & _LANES)
    sums = ((pairs & _LOW_HALF) + (pairs >> np.uint64(32))).astype(np.int32)
    sums += np.int32(offset - _MEAN)
    return sums.astype(np.float32) * np.float32(2.0 ** (exponent - _UNIT_BITS))


Encoded: TypeAlias = npt.NDArray[Any]
"""The bytes of a tensor as float32 numbers or as uint8 blocks, rows first."""

_CHUNK = 1 << 17
"""Numbers generated at once: few enough for the cache of a core."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor is stored."""

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
