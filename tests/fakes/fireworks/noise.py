"""How the draws of one item differ, though nothing has changed."""

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np


class Noise(Protocol):
    """What is added to the log-probabilities of one draw."""

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return nats for each of so many tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Exact:
    """Every draw is the same to the last bit."""

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return nothing but 0."""
        del dice
        return [0.0] * count


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Every token moves by itself, so that the sum has this standard deviation."""

    sd_total: float

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return independent nats."""
        scale = self.sd_total / math.sqrt(max(1, count))
        return [float(nats) for nats in dice.normal(scale=scale, size=count)]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Most draws are the same to the last bit; a share of them has Gaussian noise.

    The defaults are what was seen between two policies of Fireworks that were the same.
    """

    share: float = 0.1
    sd_total: float = 1.56

    def sample(self, count: int, dice: np.random.Generator) -> list[float]:
        """Return nothing but 0, or now and then independent nats."""
        is_moved = dice.random() < self.share
        noise = Gaussian(self.sd_total) if is_moved else Exact()
        return noise.sample(count, dice)


def dice_for(*what: object) -> np.random.Generator:
    """Return dice that always fall the same way for the same things."""
    digest = blake2b(repr(what).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))
