"""The charts of a history."""

from dataclasses import replace

import pytest

from repro_gate.core.timeline import CellLine, Change, ChangeKind, Point, Timeline
from repro_gate.reports.history.charts import Charts, value_axis
from repro_gate.reports.html.charts import Chart, Kind, dates_of, samples, time_axis
from repro_gate.reports.html.svg import Axis
from tests.fakes.timelines import timeline_of


def paths_of(chart: Chart) -> dict[Kind, str]:
    """Return the paths of a chart by their kind, joined."""
    found: dict[Kind, str] = {}
    for path in chart.paths:
        found[path.kind] = found.get(path.kind, "") + path.d
    return found


def line_of(timeline: Timeline, cell: str) -> CellLine:
    """Return the line of a cell."""
    return next(line for line in timeline.cells if line.cell == cell)


def medians_at(*medians: float, center: float | None = 0.0, band: float | None = 0.1) -> CellLine:
    """Return a line with these medians."""
    points = tuple(
        Point(session=number, totals=(value,), far=(), invalid=0, missed=0, verdict=None)
        for number, value in enumerate(medians)
    )
    return CellLine(cell="p--i", policy="p", item="i", center=center, band=band, points=points)


def test_a_quiet_cell_is_a_line_in_its_band() -> None:
    """With its draws as dots, and nothing outside."""
    timeline = timeline_of()
    paths = paths_of(Charts.of(timeline).cell(line_of(timeline, "base--item-2")))

    assert paths.keys() >= {Kind.BAND, Kind.ZERO, Kind.DRAWS, Kind.MIDDLE}
    assert Kind.OUTSIDE not in paths
    assert Kind.OUTLIER not in paths


def test_an_outlier_is_marked_at_the_end_of_the_axis() -> None:
    """It is far beyond it."""
    timeline = timeline_of()
    paths = paths_of(Charts.of(timeline).cell(line_of(timeline, "base--item-0")))

    assert paths[Kind.OUTLIER] == "M237.6 90h0"


def test_a_shifted_cell_is_outside_since_its_start() -> None:
    """The watch marks where the change began, for this cell and for all."""
    timeline = timeline_of()
    chart = Charts.of(timeline).cell(line_of(timeline, "tuned--item-2"))
    paths = paths_of(chart)

    assert paths[Kind.OUTSIDE].count("M") == 11
    assert paths[Kind.START].count("M") >= 2
    assert chart.axis == ("+0.4600", "0", "-0.4600")


def test_a_session_without_a_draw_is_a_tick_and_a_gap() -> None:
    """Neighbours are not joined over it."""
    timeline = timeline_of()
    paths = paths_of(Charts.of(timeline).cell(line_of(timeline, "base--item-1")))

    assert paths[Kind.GAP].count("M") == 2


def test_changes_of_the_policy_are_lines() -> None:
    """Of the model, the fingerprint and the backend."""
    timeline = timeline_of()
    paths = paths_of(Charts.of(timeline).cell(timeline.cells[0]))

    assert {paths[kind].count("V90") for kind in (Kind.MODEL, Kind.FINGERPRINT, Kind.BACKEND)} == {
        1
    }


def test_many_changes_are_ticks_below_the_chart() -> None:
    """Lines would cover it."""
    usual = timeline_of()
    changes = tuple(
        Change(session=n, policy="base", kind=ChangeKind.BACKEND, before=("a",), after=("b",))
        for n in range(13)
    )
    timeline = replace(usual, changes=changes)

    paths = paths_of(Charts.of(timeline).cell(timeline.cells[0]))

    assert paths[Kind.BACKEND].count(" 95V104") == 13


def test_many_nights_are_an_envelope() -> None:
    """A single night outside the band is still seen, and the size stays small."""
    timeline = timeline_of(400)
    charts = Charts.of(timeline)
    shifted, usual = (line_of(timeline, f"{cell}") for cell in ("tuned--item-2", "base--item-0"))

    paths = paths_of(charts.cell(shifted))

    assert paths.keys() >= {Kind.SPREAD, Kind.MIDDLE, Kind.EDGE, Kind.BEYOND}
    assert Kind.DRAWS not in paths
    assert max(len(path) for path in paths_of(charts.cell(usual)).values()) < 25_000


def test_an_axis_is_scaled_to_the_band() -> None:
    """Three bands to each side, more where the medians are, and at most twelve."""
    assert value_axis(medians_at(0.0, 0.05)) == Axis(-0.1 * 3, 0.1 * 3)
    assert value_axis(medians_at(0.5, 0.5)).high == pytest.approx(0.575)
    assert value_axis(medians_at(90.0, 90.0)).high == pytest.approx(1.2)


def test_an_axis_without_a_band_is_scaled_to_the_medians() -> None:
    """And it is never empty."""
    assert value_axis(medians_at(0.0, band=None)) == Axis(-0.01, 0.01)
    assert value_axis(medians_at(-2.0, -1.0, center=None, band=None)) == Axis(-2.1, -0.9)
    assert value_axis(medians_at(center=None, band=None)) == Axis(-1.1, 0.1)


def test_a_cell_without_a_center_has_its_values_on_the_axis() -> None:
    """There is no band to be outside of."""
    timeline = timeline_of(is_watched=False)
    line = replace(timeline.cells[0], center=None, band=None)

    chart = Charts.of(timeline).cell(line)

    assert len(chart.axis) == 2
    assert not {Kind.BAND, Kind.ZERO, Kind.OUTSIDE} & paths_of(chart).keys()


def test_a_cell_without_a_band_has_a_center_line() -> None:
    """It was recorded, but no baseline is committed."""
    timeline = timeline_of()
    chart = Charts.of(timeline).cell(replace(timeline.cells[0], band=None))

    assert Kind.BAND not in paths_of(chart)
    assert paths_of(chart)[Kind.ZERO] == "M0 45H720"


def test_latency_cost_and_weights_start_at_zero() -> None:
    """Latency and cost up to their largest value, the effective size up to all items."""
    timeline = timeline_of()
    charts = Charts.of(timeline)

    assert charts.latency(timeline.services[0]).axis[1] == "0"
    assert charts.cost(timeline.services[0]).axis == ("0.00648", "0")
    share = charts.size_share(timeline.pairs[0])
    assert share.axis == ("100", "0")
    assert paths_of(share)[Kind.LIMIT] == "M0 52.2H720"


def test_khat_has_the_limit_of_its_number_of_items() -> None:
    """And is a chart without a line where it was never fitted."""
    timeline = timeline_of()
    pair = timeline.pairs[0]
    point = replace(pair.points[-1], khat=-0.25, khat_bar=0.5)
    charts = Charts.of(timeline)

    found = charts.khat(replace(pair, points=(point, point)))

    assert found.axis == ("1", "-0.25")
    assert Kind.LIMIT in paths_of(found)
    assert paths_of(charts.khat(pair)).keys() <= {
        Kind.ZERO,
        Kind.MODEL,
        Kind.FINGERPRINT,
        Kind.BACKEND,
        Kind.START,
    }


def test_the_sessions_have_a_lane_for_each_kind() -> None:
    """Also those that were cut off."""
    paths = paths_of(Charts.of(timeline_of()).sessions())

    assert paths[Kind.GAP].count("M") == 2
    assert paths[Kind.SESSION].count("M") == 1


def test_a_single_session_is_in_the_middle() -> None:
    """An axis needs a length."""
    axis = time_axis([1e9])

    assert (axis.low + axis.high) / 2 == 1e9
    assert dates_of(axis) == ("2001-09-08", "2001-09-09")
    assert time_axis([]).low < time_axis([]).high


def test_every_kind_has_a_sample() -> None:
    """For the key of the page."""
    assert samples().keys() == {kind.value for kind in Kind}
