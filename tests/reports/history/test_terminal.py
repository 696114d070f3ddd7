"""A history on a terminal."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from repro_gate.core.timeline import Timeline
from repro_gate.reports.history.terminal import render_history, sparkline
from repro_gate.reports.html.svg import Axis
from tests.fakes.timelines import timeline_of
from tests.reports.history.test_page import hostile_timeline


class Ascii(StringIO):
    """A stream for ASCII only."""

    encoding = "ascii"


def printed(timeline: Timeline, stream: StringIO | None = None) -> str:
    """Return what is printed."""
    stream = stream or StringIO()
    render_history(timeline, Console(file=stream, width=200))
    return stream.getvalue()


def test_the_state_comes_first() -> None:
    """Then the size of the history, and what to do."""
    lines = printed(timeline_of()).splitlines()

    assert lines[0].startswith("watch hosted: drift since 2026-")
    assert lines[1].startswith("  sessions 96 nights, 1 baseline session, from 2026-01-01 to")
    assert any(line.startswith("  keep") for line in lines)


def test_what_is_unusual_is_listed() -> None:
    """A line for each cell, outliers with their calls, changes, weights and what they cost."""
    text = printed(timeline_of())

    assert "-156.5000  -115.0000  req-33-" in text
    assert "policy tuned" in text
    assert "weights tuned / base" in text
    assert "item-4  2026-03-" in text
    assert "accounts/test/models/tiny-0613" in text
    assert "378 ms" in text


def test_a_history_without_a_watch_starts_with_its_cells() -> None:
    """That are outside of their band."""
    text = printed(timeline_of(is_watched=False))

    assert text.startswith("hosted: 2 of 12 cells outside the band\n")
    assert "Outside the band in the last session: tuned--item-4 (+3.0000 nats), tuned--item" in text


def test_many_cells_outside_their_band_are_counted() -> None:
    """The first five are named."""
    usual = timeline_of(is_watched=False)
    line = next(each for each in usual.cells if each.is_outside)

    assert "and 7 more" not in printed(replace(usual, cells=(line,)))
    assert ", 2 more." in printed(replace(usual, cells=(line,) * 7))


def test_an_empty_history_is_shown() -> None:
    """Without tables."""
    usual = timeline_of(is_watched=False)
    empty = replace(
        usual, sessions=(), empty=(), cells=(), services=(), changes=(), outliers=(), pairs=()
    )

    assert printed(empty) == (
        "hosted: 0 of 0 cells outside the band\n  sessions no session, draws 0\n"
    )


def test_weights_that_were_never_measured_are_not_shown() -> None:
    """A pair without a common item."""
    usual = timeline_of()
    pair = replace(usual.pairs[0], points=(), ruinous=())

    assert "weights" not in printed(replace(usual, pairs=(pair,)))


def test_a_policy_without_a_price_or_an_answer_is_shown() -> None:
    """With what is known of it."""
    usual = timeline_of()
    line = usual.services[0]
    unknown = replace(line, points=(replace(line.points[0], usd=None, latency_ms=None),))

    assert "service" in printed(replace(usual, services=(unknown,)))


def test_hostile_text_is_one_line_without_control_characters() -> None:
    """Long lists are cut."""
    text = printed(hostile_timeline())

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "and 5 more rows" in text
    assert "##[" not in text


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([-1.0, 0.0, 1.0, 99.0], "▁▅██"),
        ([None, 0.0], " ▅"),
        ([], ""),
        ([0.0] * 79 + [1.0], "▅" * 39 + "█"),
        ([None] * 80, " " * 40),
    ],
)
def test_a_sparkline_shows_the_farthest_value(values: list[float | None], shown: str) -> None:
    """Of those that share a character."""
    assert sparkline(values, Axis(-1, 1)) == shown


def test_a_stream_without_blocks_gets_digits() -> None:
    """Such as a log in ASCII."""
    text = printed(timeline_of(), Ascii())

    text.encode("ascii")
    assert "55555" in text
