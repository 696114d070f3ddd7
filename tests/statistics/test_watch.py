"""The rule of the watch."""

import numpy as np

from repro_gate.core.watch.state import Sight, WatchState
from repro_gate.statistics.permutation import Floats
from repro_gate.statistics.watch import evaluate
from tests.fakes.nights import nights_of, watch_of

WATCH = watch_of(20)


def repeating(nights: int, seed: int = 0) -> Floats:
    """Return nights of a service of which one draw in ten does not repeat."""
    generator = np.random.default_rng(seed)
    shape = (nights, 20, 5)
    return np.where(generator.random(shape) < 0.1, generator.normal(0, 1.5, shape), 0.0)


def test_a_change_after_thirty_nights_is_drift_after_seven() -> None:
    """It is named with its start and its size."""
    distances = repeating(37)
    distances[30:] -= 0.2
    nights = nights_of(WATCH.epoch, distances)

    before, found = evaluate(WATCH, nights[:-1]), evaluate(WATCH, nights)

    assert before.state is WatchState.WARNING
    assert found.state is WatchState.DRIFT
    assert found.since == nights[-1].date
    assert [alarm.start for alarm in found.alarms] == [nights[30]] * len(found.alarms)
    assert {abs(alarm.effect) for alarm in found.alarms} == {0.2}


def test_thirty_quiet_nights() -> None:
    """They are quiet since the twentieth."""
    nights = nights_of(WATCH.epoch, repeating(30))

    found = evaluate(WATCH, nights)

    assert found.state is WatchState.QUIET
    assert found.since == nights[19].date
    assert found.sight == Sight(nights=30, suite=7, cell=8)
    assert found.alarms == ()


def test_no_night_is_unknown() -> None:
    """Never quiet."""
    found = evaluate(WATCH, ())

    assert found.state is WatchState.UNKNOWN
    assert found.unknown == "no complete night is in the history"
