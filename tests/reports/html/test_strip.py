"""Strips: marks on one horizontal axis."""

import re

from repro_gate.reports.html.charts import Kind
from repro_gate.reports.html.strip import HEIGHT, WIDTH, Marks, strip_paths, strip_samples
from repro_gate.reports.html.svg import Axis

AXIS = Axis(-2.0, 2.0)


def paths_of(**marks: object) -> dict[Kind, str]:
    """Return the paths of a strip by kind."""
    usual: dict[str, object] = {"recorded": (), "now": ()}
    shown = Marks(**{**usual, **marks})  # type: ignore[arg-type]
    return {path.kind: path.d for path in strip_paths(shown, AXIS)}


def places_of(d: str) -> list[tuple[float, float]]:
    """Return where the marks of a path start."""
    return [(float(x), float(y)) for x, y in re.findall(r"M(-?[\d.]+) (-?[\d.]+)", d)]


def test_recorded_values_are_above_the_line_and_those_of_now_below() -> None:
    """At the same position for the same value."""
    found = paths_of(recorded=(0.0,), now=(0.0,))

    ((x, above),) = places_of(found[Kind.DRAWS])
    ((now_x, below),) = places_of(found[Kind.NOW])
    assert (x, now_x) == (WIDTH / 2, WIDTH / 2)
    assert above < HEIGHT / 2 < below


def test_equal_values_are_stacked_within_the_strip() -> None:
    """However many they are."""
    places = places_of(paths_of(recorded=(1.0,) * 200)[Kind.DRAWS])

    assert len(places) == 200
    assert len({x for x, _ in places}) == 1
    assert all(0 <= y <= HEIGHT / 2 for _, y in places)
    assert places_of(paths_of(recorded=(1.0, 1.0))[Kind.DRAWS])[1][1] < HEIGHT / 2 - 6


def test_values_outside_of_what_is_allowed_are_of_another_kind() -> None:
    """As are outliers, which are crossed out."""
    found = paths_of(now=(0.5, 1.5), outliers=(-1.0,), allowed=(-1.0, 1.0))

    assert len(places_of(found[Kind.NOW])) == len(places_of(found[Kind.AWAY])) == 1
    assert "l6 6m0-6l-6 6" in found[Kind.CROSS]


def test_a_value_beyond_an_end_is_at_that_end() -> None:
    """The whole mark is on the strip."""
    left, right = places_of(paths_of(recorded=(-90.0, 90.0))[Kind.DRAWS])

    assert 0 < left[0] < 10
    assert WIDTH - 10 < right[0] < WIDTH


def test_lines_and_limits_cross_the_strip() -> None:
    """And nothing is drawn of what is not there."""
    found = paths_of(lines=(0.0,), limits=(1.0,))

    assert found[Kind.LIMIT] == "M356 2V46"
    assert "M240 2V46" in [
        path.d for path in strip_paths(Marks(recorded=(), now=(), lines=(0,)), AXIS)
    ]
    assert set(found) == {Kind.ZERO, Kind.LIMIT}


def test_the_key_has_a_sample_of_every_mark() -> None:
    """So that none is left without a word."""
    every = paths_of(
        recorded=(0.0,), now=(0.0, 2.0), outliers=(1.0,), allowed=(-1, 1), lines=(0,), limits=(1,)
    )

    assert {kind.value for kind in every} == set(strip_samples())
