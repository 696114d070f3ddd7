"""Charts as a template draws them: paths of a few kinds, an axis and dates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final

from repro_gate.reports.html.svg import WIDTH, Axis, Column

_GAP_FACTOR: Final = 3
"""A line is broken where the distance is this many times the usual one."""
_DAY_S: Final = 86_400


class Kind(StrEnum):
    """What a path shows; also its class in the style."""

    BAND = "band"
    EDGE = "edge"
    """Of the band, where the draws cover it."""
    ZERO = "zero"
    DRAWS = "draws"
    SPREAD = "spread"
    MIDDLE = "middle"
    OUTSIDE = "outside"
    BEYOND = "beyond"
    OUTLIER = "outlier"
    LIMIT = "limit"
    START = "start"
    MODEL = "model"
    FINGERPRINT = "fingerprint"
    BACKEND = "backend"
    SESSION = "session"
    GAP = "gap"
    NOW = "now"
    """Draws of a check, on a strip."""
    AWAY = "away"
    """Those outside the band."""
    CROSS = "cross"
    """Outliers, on a strip."""


@dataclass(frozen=True, slots=True)
class Path:
    """A part of a chart."""

    kind: Kind
    d: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its labels."""

    label: str
    """What a screen reader reads; untrusted."""
    size: str
    """A class of the style."""
    height: int
    paths: tuple[Path, ...]
    axis: tuple[str, ...]
    """From the top to the bottom."""
    dates: tuple[str, ...]
    """From left to right."""
    width: int = WIDTH


def drawn(paths: Iterable[tuple[Kind, str]]) -> tuple[Path, ...]:
    """Return the paths that are not empty, in order."""
    return tuple(Path(kind, d) for kind, d in paths if d)


def time_axis(times: Sequence[float]) -> Axis:
    """Return the axis of times in seconds; a single time is in its middle."""
    first, last = (min(times), max(times)) if times else (0.0, 0.0)
    return Axis(first, last) if first < last else Axis(first - _DAY_S / 2, first + _DAY_S / 2)


def dates_of(axis: Axis) -> tuple[str, ...]:
    """Return the dates at the ends of a time axis, and in the middle of a long one."""
    times = (axis.low, (axis.low + axis.high) / 2, axis.high)
    dates = [datetime.fromtimestamp(time, UTC).date().isoformat() for time in times]
    return tuple(dict.fromkeys(dates))


def usual_gap(columns: Sequence[Column]) -> float:
    """Return the distance of columns from which on a line is broken."""
    places = [x for x, _ in columns]
    steps = sorted(after - before for before, after in pairwise(places))
    return max(2.0, _GAP_FACTOR * steps[len(steps) // 2]) if steps else 0.0


def samples(height: int = 16) -> Mapping[str, str]:
    """Return a small path of each kind, for a key."""
    middle, across, down = height // 2, f"M1 {height // 2}h24", f"M13 0v{height}"
    lines = {Kind.ZERO, Kind.EDGE, Kind.MIDDLE, Kind.LIMIT}
    dots = {Kind.DRAWS, Kind.OUTSIDE, Kind.OUTLIER}
    return {
        kind.value: f"M13 {middle}h0" if kind in dots else across if kind in lines else down
        for kind in Kind
    } | {Kind.BAND.value: f"M0 2h26v{height - 4}h-26z"}
