"""The streams of a watch, and the shares of its rate."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from repro_gate.core.watch.state import (
    Direction,
    Stream,
    StreamKind,
    WatchState,
    streams_of,
    thresholds_of,
)
from tests.fakes.nights import epoch_of, watch_report_of


def test_there_are_seven_streams_and_six_of_each_cell() -> None:
    """With 20 cells, 127 different ones."""
    streams = streams_of(epoch_of(20))

    assert len(set(streams)) == len(streams) == 127
    assert sum(stream.cell is None for stream in streams) == 7
    assert Stream(kind=StreamKind.CHANGED, direction=Direction.DOWN) in streams
    assert Stream(kind=StreamKind.FAR, direction=Direction.UP, cell="base--3") in streams


def test_the_rate_is_divided_among_the_streams() -> None:
    """At 1 % of years of 365 nights."""
    epoch = epoch_of(20)

    suite, cell = thresholds_of(epoch)

    assert (suite, cell) == pytest.approx((511_000, 8_760_000))
    shares = [36_500 / (suite if each.cell is None else cell) for each in streams_of(epoch)]
    assert sum(shares) == pytest.approx(1)


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "unknown for no reason": (
        lambda: watch_report_of(state=WatchState.UNKNOWN),
        "the state is unknown for no reason",
    ),
    "an empty reason": (
        lambda: replace(watch_report_of(), state=WatchState.UNKNOWN, unknown=""),
        "unknown must not be empty",
    ),
}


@pytest.mark.parametrize(("make", "message"), list(REFUSALS.values()), ids=list(REFUSALS))
def test_an_inconsistent_report_is_refused(make: Callable[[], object], message: str) -> None:
    """It raises ValueError."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
