"""Which nights of a watch count."""

from dataclasses import replace

import pytest

from repro_gate.core.watch.epoch import Dismissal, Watch
from repro_gate.core.watch.night import Night, count_nights, kept_nights
from tests.fakes.nights import epoch_of, night_of

EPOCH = epoch_of(2, draws=2)
TOTALS = {"base--0": (-40.0, -41.0), "base--1": (-39.0, -39.0)}


def night(number: int, **changes: object) -> Night:
    """Return a complete night."""
    return night_of(number, TOTALS, **changes)


def test_nights_are_counted_in_their_order() -> None:
    """However they are stored."""
    nights = [night(number) for number in range(3)]

    assert count_nights(EPOCH, reversed(nights)).nights == tuple(nights)


def test_the_first_complete_night_of_a_date_counts() -> None:
    """A later one is stored only."""
    first = night(0)
    second = night(0, key="again", started_at="2026-01-01T05:00:00+00:00")

    counted = count_nights(EPOCH, [second, first])

    assert counted.nights == (first,)
    assert [each.reason for each in counted.uncounted] == [
        "2026-01-01-run-1 is the night of 2026-01-01"
    ]
    assert counted.pending == ()


def test_an_incomplete_night_leaves_its_date_to_a_later_one() -> None:
    """Whether it is complete does not depend on a log-probability."""
    torn = night(0, problem="it was interrupted")
    second = night(0, key="again", started_at="2026-01-01T05:00:00+00:00")

    assert count_nights(EPOCH, [torn, second]).nights == (second,)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (replace(night(1), problem="it was interrupted"), "it was interrupted"),
        (night_of(1, {"base--0": (-40.0, -41.0)}), "base--1 has no draws"),
        (night_of(1, TOTALS | {"x--y": (-1.0, -1.0)}), "x--y is no cell of the epoch"),
        (
            night_of(1, TOTALS | {"base--1": (-1.0,)}),
            "base--1 has 1 draws, and the epoch 2",
        ),
    ],
)
def test_other_nights_do_not_count(changed: Night, reason: str) -> None:
    """An incomplete night is pending until a later one counts."""
    counted = count_nights(EPOCH, [night(0), changed])

    assert counted.nights == (night(0),)
    assert [(each.night, each.reason) for each in counted.pending] == [(changed, reason)]
    assert count_nights(EPOCH, [night(0), changed, night(2)]).pending == ()


def test_no_night_counts_under_another_rule() -> None:
    """What another version's rule has promised is not kept by this one."""
    counted = count_nights(replace(EPOCH, rule="night-ranks/v0"), [night(0)])

    assert counted.nights == ()
    assert counted.pending[0].reason == (
        "the epoch is for the rule night-ranks/v0, and this version has night-ranks/v1"
    )


def test_dismissed_nights_are_left_out() -> None:
    """By their keys."""
    nights = (night(0), night(1))
    watch = Watch(
        epoch=EPOCH,
        dismissals=(Dismissal(nights=(nights[0].key,), reason="a test", at="2026-01-03"),),
    )

    assert kept_nights(watch, nights) == nights[1:]
