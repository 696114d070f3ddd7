"""The noise between draws of an unchanged item."""

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np


class Noise(Protocol):
    """Values that are added to the log-probabilities of one draw."""

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return nats for each token."""
        ...


@dataclass(frozen=True, slots=True)
class Exact:
    """All draws are identical."""

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return zeros."""
        del dice
        return [0.0] * count


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Independent noise of each token, with this standard deviation of the sum."""

    sd_total: float

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return independent nats."""
        scale = self.sd_total / math.sqrt(max(1, count))
        return [float(nats) for nats in dice.normal(scale=scale, size=count)]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Most draws are identical; a share of them has Gaussian noise.

    The defaults are what was seen between two policies of Fireworks that were the same.
    """

    share: float = 0.1
    sd_total: float = 1.56

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return zeros, or sometimes independent nats."""
        is_moved = dice.random() < self.share
        noise = Gaussian(self.sd_total) if is_moved else Exact()
        return noise.sample(count, dice)


def dice_for(*what: object) -> np.random.Generator:
    """Return a random generator that is seeded with these values."""
    digest = blake2b(repr(what).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))
