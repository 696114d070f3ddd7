"""Paths of charts."""

import math
from dataclasses import replace

import pytest

from repro_gate.reports.html.svg import WIDTH, Axis, Plot

PLOT = Plot(times=Axis(0, 720), values=Axis(-1, 1), height=100)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 0), (0, math.inf), (math.nan, 1)])
def test_an_axis_has_a_length(low: float, high: float) -> None:
    """An empty or infinite one is refused."""
    with pytest.raises(ValueError, match="no axis"):
        Axis(low, high)


def test_a_value_beyond_the_axis_is_at_its_end() -> None:
    """The picture shows where it would leave."""
    assert (PLOT.y(1), PLOT.y(0), PLOT.y(-1), PLOT.y(-60)) == (0, 50, 100, 100)
    assert [PLOT.values.contains(value) for value in (-1, 1, -60)] == [True, True, False]


def test_few_points_stay_where_they_are() -> None:
    """Each night is a column with its own values; a night without values is none."""
    assert PLOT.columns([(1.5, [0.0]), (2, []), (3, [0.5, 1])]) == ((1.5, (0.0,)), (3, (0.5, 1)))


def test_many_points_share_columns() -> None:
    """The size of a chart does not grow with the number of nights."""
    points = [(720 * n / 10_000, [float(n % 2)]) for n in range(10_000)]
    plot = replace(PLOT, is_dense=True)

    columns = plot.columns(points)

    assert len(columns) == WIDTH + 1
    assert len(plot.spread(columns)) < 20 * WIDTH
    assert sum(len(values) for _, values in columns) == 10_000


def test_equal_dots_are_drawn_once() -> None:
    """A service that repeats itself has one dot for all draws of a night."""
    assert PLOT.dots([(1, 0), (1, 0), (1, 1)]) == "M1 50h0M1 0h0"


def test_the_line_is_broken_at_a_gap() -> None:
    """Nights that were not measured are not joined."""
    columns = [(0.0, (0.0,)), (2.0, (1.0,)), (9.0, (0.0, 1.0, 1.0))]

    assert PLOT.middle(columns, gap=3) == "M0 50L2 0M9 0"


def test_only_what_is_beyond_the_band_is_marked() -> None:
    """From the edge of the band outwards, on each side."""
    columns = [(0.0, (-1.0, 0.0)), (1.0, (0.0,)), (2.0, (0.0, 0.75))]

    assert PLOT.beyond(columns, 0.5, above=True) == "M2 25V12.5"
    assert PLOT.beyond(columns, -0.5, above=False) == "M0 75V100"


def test_lines_and_areas_span_the_chart() -> None:
    """Across, down and between two values."""
    assert PLOT.across(0) == "M0 50H720"
    assert PLOT.down([3, 3, 4], start=90, end=100) == "M3 90V100M4 90V100"
    assert PLOT.area(-0.5, 0.5) == "M0 25H720V75H0z"
