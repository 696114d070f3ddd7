"""Strips: values on one horizontal axis, recorded ones above its line and those of now below.

A strip keeps its proportions, unlike a chart over time, so that a triangle stays one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from repro_gate.reports.html.charts import Kind, Path, drawn
from repro_gate.reports.html.svg import Axis, number

WIDTH: Final = 480
HEIGHT: Final = 48
_MARGIN: Final = 8
"""To each side, so that a mark at an end is whole."""
_MIDDLE: Final = HEIGHT / 2
_NEAREST: Final = 6.0
"""From the line to the first mark of a stack."""
_STEP: Final = 4.5
"""From a mark to the next one of its stack, if there is room."""
_ROOM: Final = 15.0
"""For a stack, without its first mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A strip with its labels."""

    label: str
    """What a screen reader reads; untrusted."""
    paths: tuple[Path, ...]
    axis: tuple[str, ...]
    """At the left end, in the middle and at the right end."""
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What a strip shows."""

    recorded: Sequence[float]
    now: Sequence[float]
    outliers: Sequence[float] = ()
    """Of now; crossed out."""
    allowed: tuple[float, float] | None = None
    """From where to where values may be."""
    lines: Sequence[float] = ()
    """Such as the center."""
    limits: Sequence[float] = ()
    """Dashed lines."""


def strip_paths(marks: Marks, axis: Axis) -> tuple[Path, ...]:
    """Return the paths of a strip; a value beyond an end of the axis is at that end."""
    inside = [value for value in marks.now if _is_allowed(value, marks.allowed)]
    outside = [value for value in marks.now if not _is_allowed(value, marks.allowed)]
    upright = f"V{HEIGHT - 2}"
    return drawn(
        (
            (Kind.BAND, "" if marks.allowed is None else _area(axis, *marks.allowed)),
            (Kind.ZERO, f"M{_MARGIN} {number(_MIDDLE)}H{WIDTH - _MARGIN}"),
            (Kind.ZERO, "".join(f"M{_x(axis, value)} 2{upright}" for value in marks.lines)),
            (Kind.LIMIT, "".join(f"M{_x(axis, value)} 2{upright}" for value in marks.limits)),
            (Kind.DRAWS, "".join(f"M{x} {y}h0" for x, y in _stacks(axis, marks.recorded, -1))),
            (Kind.NOW, "".join(_triangle(x, y) for x, y in _stacks(axis, inside, 1))),
            (Kind.AWAY, "".join(_triangle(x, y) for x, y in _stacks(axis, outside, 1))),
            (Kind.CROSS, "".join(_cross(x, y) for x, y in _stacks(axis, marks.outliers, 1))),
        )
    )


def strip_samples() -> dict[str, str]:
    """Return a small path of each kind of mark, for a key; 26 wide and 16 high."""
    return {
        Kind.BAND.value: "M0 2h26v12h-26z",
        Kind.ZERO.value: "M13 0v16",
        Kind.LIMIT.value: "M13 0v16",
        Kind.DRAWS.value: "M13 8h0",
        Kind.NOW.value: _triangle("13", "8"),
        Kind.AWAY.value: _triangle("13", "8"),
        Kind.CROSS.value: _cross("13", "8"),
    }


def _is_allowed(value: float, allowed: tuple[float, float] | None) -> bool:
    return allowed is None or allowed[0] <= value <= allowed[1]


def _x(axis: Axis, value: float) -> str:
    return number(_MARGIN + axis.place(value, WIDTH - 2 * _MARGIN))


def _area(axis: Axis, low: float, high: float) -> str:
    return f"M{_x(axis, low)} 2H{_x(axis, high)}V{HEIGHT - 2}H{_x(axis, low)}z"


def _stacks(axis: Axis, values: Iterable[float], side: int) -> Iterator[tuple[str, str]]:
    """Yield the places of marks; those at the same position are stacked away from the line."""
    counts = Counter(_x(axis, value) for value in values)
    step = min(_STEP, _ROOM / max(1, max(counts.values(), default=1) - 1))
    for x, count in counts.items():
        for place in range(count):
            yield x, number(_MIDDLE + side * (_NEAREST + step * place))


def _triangle(x: str, y: str) -> str:
    """Return a triangle with this center, which points up."""
    return f"M{x} {number(float(y) - 3)}l-3.5 6h7z"


def _cross(x: str, y: str) -> str:
    return f"M{number(float(x) - 3)} {number(float(y) - 3)}l6 6m0-6l-6 6"
