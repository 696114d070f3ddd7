"""Paths of charts over time, drawn so that their size does not grow with the number of points.

A chart has `WIDTH` columns and is stretched to the width of the page. A dot is a line of no length
with round ends, which stays round when it is stretched.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Final, TypeAlias

WIDTH: Final = 720
MAX_DOTS: Final = 240
"""With more positions than this the draws are an envelope: single dots would cover each other."""

Column: TypeAlias = tuple[float, tuple[float, ...]]
"""A horizontal position, and the values there."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values, mapped to a length."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"no axis from {self.low} to {self.high}")

    def place(self, value: float, length: float) -> float:
        """Return where a value is on a length; a value beyond an end is at the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return share * length

    def contains(self, value: float) -> bool:
        """Return whether a value is on the axis."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The axes of a chart; the vertical one points up."""

    times: Axis
    values: Axis
    height: float
    is_dense: bool = False
    """Whether positions are whole, so that many points share a few of them."""

    def x(self, time: float) -> float:
        """Return the horizontal position of a time."""
        place = self.times.place(time, WIDTH)
        return float(round(place)) if self.is_dense else place

    def y(self, value: float) -> float:
        """Return the vertical position of a value."""
        return self.height - self.values.place(value, self.height)

    def columns(self, points: Iterable[tuple[float, Sequence[float]]]) -> tuple[Column, ...]:
        """Return points in order of their time, with those at the same position merged."""
        placed = ((self.x(time), values) for time, values in points if values)
        return tuple(
            (x, tuple(value for _, values in group for value in values))
            for x, group in groupby(placed, key=lambda point: point[0])
        )

    def dots(self, points: Iterable[tuple[float, float]]) -> str:
        """Return a path with a dot at each position and value, each once."""
        places = dict.fromkeys((number(x), number(self.y(value))) for x, value in points)
        return "".join(f"M{x} {y}h0" for x, y in places)

    def spread(self, columns: Iterable[Column]) -> str:
        """Return a path with a vertical line from the smallest to the largest value of each."""
        return "".join(
            f"M{number(x)} {number(self.y(max(values)))}V{number(self.y(min(values)))}"
            for x, values in columns
        )

    def beyond(self, columns: Iterable[Column], edge: float, *, above: bool) -> str:
        """Return the part of these lines that is beyond an edge of the band."""
        side = max if above else min
        furthest = ((x, side(values)) for x, values in columns)
        return "".join(
            f"M{number(x)} {number(self.y(edge))}V{number(self.y(value))}"
            for x, value in furthest
            if (value > edge if above else value < edge)
        )

    def middle(self, columns: Sequence[Column], *, gap: float) -> str:
        """Return a line through the medians, broken where a gap is wider than `gap`."""
        return "".join(_line(columns, self, gap))

    def across(self, value: float) -> str:
        """Return a horizontal line at a value."""
        return f"M0 {number(self.y(value))}H{WIDTH}"

    def down(self, positions: Iterable[float], *, start: float = 0, end: float) -> str:
        """Return a vertical line at each position, each once."""
        places = dict.fromkeys(number(x) for x in positions)
        return "".join(f"M{x} {number(start)}V{number(end)}" for x in places)

    def area(self, low: float, high: float) -> str:
        """Return the area between two values."""
        top, bottom = number(self.y(high)), number(self.y(low))
        return f"M0 {top}H{WIDTH}V{bottom}H0z"


def number(value: float) -> str:
    """Return a position with one decimal where it needs one."""
    return f"{value:.1f}".removesuffix(".0")


def _line(columns: Sequence[Column], plot: Plot, gap: float) -> Iterator[str]:
    before = -math.inf
    for x, values in columns:
        yield f"{'L' if x - before <= gap else 'M'}{number(x)} {number(plot.y(median(values)))}"
        before = x
