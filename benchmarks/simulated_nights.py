"""Simulated nights of a hosted model: its noise, and what may change.

Values are distances from the true log-probability, in nats: nights x cells x draws.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias
from zlib import crc32

import numpy as np

from repro_gate.core.watch.epoch import Watch
from repro_gate.core.watch.night import Night
from repro_gate.statistics.permutation import Floats
from tests.fakes.nights import nights_of, watch_of

Generator: TypeAlias = np.random.Generator
Make: TypeAlias = Callable[[Generator, tuple[int, int, int]], Floats]
Alter: TypeAlias = Callable[[Generator, Floats], Floats]

CELLS: Final = 20
DRAWS: Final = 5
CALIBRATION: Final = 10
YEAR: Final = 365
OFF: Final = 0.10
"""The share of draws, or of nights of a cell, that do not repeat, or that become far."""
REGIME_NIGHTS: Final = 7
"""How long a backend stays, on average."""
BACKEND_NATS: Final = 0.2
"""The standard deviation of how far a cell is moved by another backend."""
_DECIMALS = 6
_STEPS: Final = np.array(
    [
        *(-3.9178, -2.8816, -2.6781, -2.4965, -2.2986, -2.0784, -1.7825, -1.5282, -1.4281, -1.2675),
        *(-1.1774, -0.7973, -0.7644, -0.7104, -0.5684, -0.3445, -0.2911, -0.2406, -0.038, 0.1022),
        *(0.2846, 0.3471, 0.5956, 0.8211, 1.0184, 1.0482, 1.1328, 1.1754, 1.2435, 1.4872, 1.6128),
        *(1.8623, 1.9427, 2.2348, 2.6336, 3.135, 3.2769, 4.0066),
    ]
)
"""Differences between repeated calls of one hosted model, from a published sample."""
_JITTER = 0.05


def _steps(generator: Generator, shape: tuple[int, ...]) -> Floats:
    return generator.choice(_STEPS, shape) + generator.normal(0, _JITTER, shape)


def _mostly_repeating(generator: Generator, shape: tuple[int, ...]) -> Floats:
    return np.where(generator.random(shape) < OFF, _steps(generator, shape), 0.0)


def _atom(generator: Generator, shape: tuple[int, int, int]) -> Floats:
    return _mostly_repeating(generator, shape)


def _gauss(generator: Generator, shape: tuple[int, int, int]) -> Floats:
    return generator.normal(0, 1, shape)


def _session_atom(generator: Generator, shape: tuple[int, int, int]) -> Floats:
    nights, cells, draws = shape
    return np.repeat(_mostly_repeating(generator, (nights, cells, 1)), draws, axis=2)


def _session_gauss(generator: Generator, shape: tuple[int, int, int]) -> Floats:
    nights, cells, _ = shape
    shared: Floats = generator.normal(0, 0.2, (nights, 1, 1))
    own = generator.normal(0, 0.5, (nights, cells, 1))
    draws: Floats = generator.normal(0, 0.5, shape)
    return shared + own + draws


def _regimes(generator: Generator, shape: tuple[int, int, int]) -> Floats:
    switches = generator.random(shape[0]) < 1 / REGIME_NIGHTS
    is_other = np.cumsum(switches) % 2
    moved: Floats = generator.normal(0, BACKEND_NATS, (shape[1], 1))
    values: Floats = _atom(generator, shape) + is_other[:, np.newaxis, np.newaxis] * moved
    return values


NOISES: Final[Mapping[str, Make]] = {
    "atom": _atom,
    "gauss": _gauss,
    "session atom": _session_atom,
    "session gauss": _session_gauss,
}
"""By name; nights are exchangeable in each."""
REGIMES: Final = "regimes"
"""Two backends that alternate: nights are not exchangeable."""


def _one_item(generator: Generator, nights: Floats) -> Floats:
    del generator
    values = nights.copy()
    values[:, 0] -= 0.3
    return values


def _all_items(generator: Generator, nights: Floats) -> Floats:
    del generator
    return nights - 0.05


def _creep(generator: Generator, nights: Floats) -> Floats:
    del generator
    weeks = np.arange(len(nights)) // 7 + 1
    return nights - 0.01 * weeks[:, np.newaxis, np.newaxis]


def _far(generator: Generator, nights: Floats) -> Floats:
    is_far = generator.random(nights.shape) < OFF
    return nights - 60.0 * is_far


def _backend(generator: Generator, nights: Floats) -> Floats:
    is_other = np.arange(len(nights)) < REGIME_NIGHTS
    moved: Floats = generator.normal(0, BACKEND_NATS, (nights.shape[1], 1))
    values: Floats = nights + is_other[:, np.newaxis, np.newaxis] * moved
    return values


def _both_ways(generator: Generator, nights: Floats) -> Floats:
    signs: Floats = generator.choice([-1.0, 1.0], (nights.shape[1], 1))
    return nights + signs


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that happens to a hosted model."""

    label: str
    within: int
    """Nights in which it is looked for."""
    alter: Alter
    """Applied to the nights since it happened."""


CHANGES: Final = {
    change.label: change
    for change in (
        Change(label="(a) one item -0.3", within=120, alter=_one_item),
        Change(label="(b) all items -0.05", within=120, alter=_all_items),
        Change(label="(c) all creep -0.01 a week", within=265, alter=_creep),
        Change(label="(d) 1 of 10 draws of every cell far (-60)", within=60, alter=_far),
        Change(label="(e) other backend for 7 nights", within=10, alter=_backend),
        Change(label="(f) all items +1 or -1", within=60, alter=_both_ways),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What one simulated service answers."""

    calibration: Floats
    """Cells x draws of one session before the first night."""
    nights: Floats


def world_of(noise: str, number: int, *, nights: int = YEAR, change: str | None = None) -> World:
    """Return a world; the same arguments give the same one.

    Args:
        noise: its name.
        number: of the world.
        nights: without a change.
        change: what happens after them, if anything.
    """
    make = _regimes if noise == REGIMES else NOISES[noise]
    generator = np.random.default_rng([crc32(f"{noise} {nights} {change}".encode()), number])
    calibration = make(generator, (1, CELLS, CALIBRATION))[0].round(_DECIMALS)
    within = 0 if change is None else CHANGES[change].within
    values = make(generator, (nights + within, CELLS, DRAWS))
    if change is not None:
        values[nights:] = CHANGES[change].alter(generator, values[nights:])
    return World(calibration=calibration, nights=values.round(_DECIMALS))


def watched(world: World) -> tuple[Watch, tuple[Night, ...]]:
    """Return a watch with references from the calibration, and the nights of a world."""
    watch = _watch(world.nights.shape[2])
    centers = np.median(world.calibration, axis=1)[:, np.newaxis]
    return watch, nights_of(watch.epoch, world.nights - centers)


@lru_cache
def _watch(draws: int) -> Watch:
    return watch_of(CELLS, draws=draws)
