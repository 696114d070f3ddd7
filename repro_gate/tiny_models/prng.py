"""Random numbers made of integer arithmetic only, so that every machine makes the same ones."""

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

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
