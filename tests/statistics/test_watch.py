"""The rule of the watch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.watch.epoch import Dismissal, Epoch, Reference, Watch
from repro_gate.core.watch.night import Night
from repro_gate.core.watch.state import Sight, Stream, StreamKind, WatchReport, WatchState
from repro_gate.statistics.permutation import Floats
from repro_gate.statistics.watch import evaluate
from tests.fakes.nights import CENTER, nights_of, watch_of

WATCH = watch_of(20)
ONE = watch_of(1)
SMALL = watch_of(3, draws=3)


def repeating(nights: int, *, cells: int = 20, seed: int = 0) -> Floats:
    """Return nights of a service of which one draw in ten does not repeat."""
    generator = np.random.default_rng(seed)
    shape = (nights, cells, 5)
    return np.where(generator.random(shape) < 0.1, generator.normal(0, 1.5, shape), 0.0)


def exact(nights: int, *, changed: int = 0, by: float = 0.0) -> tuple[Night, ...]:
    """Return nights of one cell that repeats exactly, the last ones moved."""
    distances = np.zeros((nights + changed, 1, 5))
    distances[nights:] = by
    return nights_of(ONE.epoch, distances)


def dismissed(watch: Watch, *nights: Night) -> Watch:
    """Return the watch after a dismissal of nights."""
    keys = tuple(night.key for night in nights)
    return replace(watch, dismissals=(Dismissal(nights=keys, reason="known", at="2026-07-01T09"),))


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
    assert {alarm.effect for alarm in found.alarms} == {-0.2}


def test_thirty_quiet_nights() -> None:
    """They are quiet since the twentieth."""
    nights = nights_of(WATCH.epoch, repeating(30))

    found = evaluate(WATCH, nights)

    assert found.state is WatchState.QUIET
    assert found.since == nights[19].date
    assert found.sight == Sight(nights=30, suite=7, cell=8)
    assert found.alarms == ()


def test_nineteen_nights_are_learning() -> None:
    """With what can be seen already."""
    found = evaluate(ONE, exact(19))

    assert (found.state, found.since) == (WatchState.LEARNING, "2026-01-01")
    assert found.sight.nights == 19
    assert evaluate(ONE, exact(20)).state is WatchState.QUIET


def test_a_watch_that_learns_can_alarm() -> None:
    """A change that lasts is found, however few nights were before."""
    assert evaluate(ONE, exact(10, changed=15, by=-0.5)).state is WatchState.DRIFT


def test_no_night_is_unknown() -> None:
    """Never quiet."""
    found = evaluate(WATCH, ())

    assert (found.state, found.since) == (WatchState.UNKNOWN, None)
    assert found.unknown == "no complete night is in the history"


def test_an_incomplete_night_is_unknown_and_changes_no_evidence() -> None:
    """Until the next complete one."""
    nights = exact(30, changed=6, by=-0.5)
    torn = replace(nights[31], problem="it was interrupted")

    tonight = evaluate(ONE, [*nights[:31], torn])
    later = evaluate(ONE, [*nights[:31], torn, *nights[32:]])

    assert (tonight.state, tonight.since) == (WatchState.UNKNOWN, torn.date)
    assert tonight.unknown == f"the night {torn.key} does not count: it was interrupted"
    assert later.state is WatchState.WARNING
    assert later.largest == evaluate(ONE, [*nights[:31], *nights[32:]]).largest


def test_a_night_twice_counts_once() -> None:
    """The same night, stored again, is no evidence."""
    nights = exact(30, changed=4, by=-0.5)

    twice = evaluate(ONE, [*nights, *nights[30:]])

    assert replace(twice, uncounted=()) == evaluate(ONE, nights)
    assert len(twice.uncounted) == 4


def test_a_shift_below_the_floor_is_no_drift() -> None:
    """It is a change all the same."""
    found = evaluate(ONE, exact(30, changed=8, by=-0.05))

    assert found.state is WatchState.CHANGED
    assert not any(alarm.is_drift for alarm in found.alarms)


def test_a_creeping_change_becomes_drift_at_the_floor() -> None:
    """The alarm stands from the first on, with the size that it has by now."""
    distances = np.zeros((60, 1, 5))
    distances[30:] = -0.008 * np.arange(1, 31)[:, np.newaxis, np.newaxis]
    nights = nights_of(ONE.epoch, distances)

    early, late = evaluate(ONE, nights[:40]), evaluate(ONE, nights)

    assert (early.state, late.state) == (WatchState.CHANGED, WatchState.DRIFT)
    assert early.since == late.since
    assert abs(early.alarms[0].effect) < 0.1 <= abs(late.alarms[0].effect)
    assert early.alarms[0].start == late.alarms[0].start


def test_far_draws_are_drift() -> None:
    """Whatever the median is: one draw in five that is far moves none."""
    distances = np.zeros((38, 1, 5))
    distances[30:, :, 0] = -60.0
    watch = watch_of(1, floor_nats=5.0)
    found = evaluate(watch, nights_of(watch.epoch, distances))
    far = [each for each in found.alarms if each.level.stream.kind is StreamKind.FAR]

    assert found.state is WatchState.DRIFT
    assert {(each.before, each.after, each.effect) for each in far} == {(0.0, 0.2, -1.6)}


def test_cells_that_move_in_both_directions_are_drift() -> None:
    """The mean over the cells stays, and the mean of what they moved counts."""
    distances = np.zeros((37, 2, 5))
    distances[30:] = np.array([0.3, -0.3])[:, np.newaxis]
    watch = watch_of(2)
    found = evaluate(watch, nights_of(watch.epoch, distances))
    suite = [each for each in found.alarms if each.level.stream.cell is None]

    assert [(each.level.stream.kind, each.effect) for each in suite] == [(StreamKind.CHANGED, 0.3)]


def test_a_cell_moves_the_suite_by_no_more_than_its_bar() -> None:
    """However far it is, as it once was -156.5 in place of -40."""
    distances = np.zeros((37, 2, 5))
    distances[30:, 0] = -116.5
    watch = watch_of(2)
    found = evaluate(watch, nights_of(watch.epoch, distances))
    effects = {
        (each.level.stream.kind, each.level.stream.cell): each.effect for each in found.alarms
    }

    assert effects[StreamKind.MEDIAN, None] == -4.0
    assert effects[StreamKind.MEDIAN, "base--0"] == -116.5
    assert effects[StreamKind.MEAN, "base--0"] == -8.0


@pytest.mark.parametrize(("by", "kinds"), [(1e-5, 2), (4e-6, 0), (2e-5, 3)])
def test_below_the_resolution_of_an_api_nights_are_alike(by: float, kinds: int) -> None:
    """A draw that is 0.00001 off repeats the reference, and half of that is no shift."""
    found = evaluate(ONE, exact(30, changed=10, by=by))
    alarming = {each.level.stream.kind for each in found.alarms}

    assert len(alarming) == kinds
    assert (StreamKind.CHANGED in alarming) is (by > 1e-5)


def test_an_alarm_stands_when_the_change_is_gone() -> None:
    """It adds since when the values are among the earlier ones again."""
    distances = np.zeros((50, 1, 5))
    distances[30:40] = -0.5
    nights = nights_of(ONE.epoch, distances)

    assert evaluate(ONE, nights[:40]).returned is None
    found = evaluate(ONE, nights)
    assert found.state is WatchState.DRIFT
    assert found.returned == nights[40]


def test_an_alarm_that_returned_and_changed_again() -> None:
    """Only the last row of usual nights counts."""
    distances = np.zeros((50, 1, 5))
    distances[30:40] = -0.5
    distances[44] = -0.5
    nights = nights_of(ONE.epoch, distances)

    assert evaluate(ONE, nights).returned == nights[45]
    assert evaluate(ONE, nights[:45]).returned is None


def test_a_dismissed_alarm_is_gone() -> None:
    """Its nights leave the pool, and the evidence begins anew."""
    nights = exact(30, changed=8, by=-0.5)
    found = evaluate(dismissed(ONE, *nights[30:]), nights)

    assert (found.state, found.since, found.nights) == (WatchState.QUIET, "2026-07-01", 30)
    assert found.largest == ()
    assert found.last == nights[-1]


def test_a_change_that_stays_alarms_again_after_a_dismissal() -> None:
    """As late as after the same nights without it."""
    nights = exact(30, changed=14, by=-0.5)
    watch = dismissed(ONE, *nights[30:38])

    assert evaluate(watch, nights[:43]).state is WatchState.WARNING
    assert evaluate(watch, nights).state is WatchState.DRIFT


def test_no_warning_is_left_of_dismissed_nights() -> None:
    """Also where the nights before them were a warning."""
    nights = exact(30, changed=6, by=-0.5)
    watch = dismissed(ONE, nights[-1])

    assert evaluate(ONE, nights[:-1]).state is WatchState.WARNING
    assert evaluate(watch, nights).state is WatchState.QUIET


def test_a_dismissal_of_other_nights_ends_no_alarm() -> None:
    """The alarm stands while its night is there."""
    nights = exact(30, changed=10, by=-0.5)

    assert evaluate(dismissed(ONE, nights[39]), nights).state is WatchState.DRIFT


def test_a_state_begins_after_the_dismissed_nights() -> None:
    """What was before them is another state."""
    nights = exact(40)

    found = evaluate(dismissed(ONE, *nights[30:34]), nights)

    assert (found.state, found.since) == (WatchState.QUIET, nights[34].date)


def test_five_other_streams_are_listed() -> None:
    """None of those that alarm, the largest first."""
    distances = repeating(38)
    distances[30:, :3] -= 0.5
    found = evaluate(WATCH, nights_of(WATCH.epoch, distances))
    shares = [level.evidence / level.threshold for level in found.largest]

    assert found.alarms
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 5
    assert not {each.level.stream for each in found.alarms} & {
        each.stream for each in found.largest
    }


def test_all_nights_can_be_dismissed() -> None:
    """Then the watch learns from none."""
    nights = exact(2)
    found = evaluate(dismissed(ONE, *nights), nights)

    assert (found.state, found.nights, found.since) == (WatchState.LEARNING, 0, "2026-07-01")


def test_a_dismissed_night_that_is_not_there_is_noted() -> None:
    """The history may be incomplete."""
    found = evaluate(dismissed(ONE, exact(31)[30]), exact(30))

    assert found.notes == (
        "the dismissed night 2026-01-31-run-1 is not among the nights that count",
    )


def test_an_old_epoch_states_its_rate() -> None:
    """The rate is for the nights of the epoch; later it is larger."""
    watch = watch_of(1, nights=20)

    assert evaluate(watch, exact(20)).notes == ()
    assert evaluate(watch, exact(40)).notes == (
        "the rate of 0.01 is for 20 nights; for the 40 nights of this epoch it is 0.02",
    )


def test_drift_stands_while_tonight_is_unknown() -> None:
    """And a change below the floor does not hide that tonight is unknown."""
    nights = exact(30, changed=9, by=-0.5)
    small = exact(30, changed=9, by=-0.05)
    torn = replace(nights[-1], problem="it was interrupted")

    assert evaluate(ONE, [*nights[:-1], torn]).state is WatchState.DRIFT
    found = evaluate(ONE, [*small[:-1], torn])
    assert found.state is WatchState.UNKNOWN
    assert found.alarms


def states_of(report: WatchReport) -> list[tuple[Stream, float]]:
    """Return every alarm and level of a report."""
    levels = [*(alarm.level for alarm in report.alarms), *report.largest]
    return [(each.stream, each.evidence) for each in levels]


def random_nights(seed: int, count: int = 40) -> Floats:
    """Return nights of which the last ones moved, with six decimals as APIs have them."""
    generator = np.random.default_rng(seed)
    distances = generator.normal(0, 1, (count, 3, 3))
    distances *= generator.random((count, 3, 3)) < generator.choice([0.1, 1.0])
    distances[30:] += generator.choice([0.0, 0.05, 4.0])
    return distances.round(6)


@given(st.integers(0, 10_000))
def test_the_order_of_earlier_nights_leaves_the_rank_of_tonight(seed: int) -> None:
    """With the first possible bet tonight, only the rank counts."""
    distances = random_nights(seed, 11)
    order = np.random.default_rng(seed + 1).permutation(10)
    shuffled = np.concatenate([distances[order], distances[10:]])

    one, other = (evaluate(SMALL, nights_of(SMALL.epoch, each)) for each in (distances, shuffled))

    assert states_of(one) == states_of(other)


def moved_reference(epoch: Epoch, by: float) -> Epoch:
    """Return the epoch with another reference of each cell."""
    reference = Reference(value=round(CENTER + by, 6), far=8.0)
    cells = {name: replace(cell, reference=reference) for name, cell in epoch.cells.items()}
    return replace(epoch, cells=cells)


@given(st.integers(0, 10_000), st.integers(-10_000_000, 10_000_000))
def test_a_constant_changes_nothing(seed: int, micronats: int) -> None:
    """Added to the draws of a cell and to its reference."""
    distances = random_nights(seed)
    moved = replace(SMALL, epoch=moved_reference(SMALL.epoch, micronats / 1e6))

    one = evaluate(SMALL, nights_of(SMALL.epoch, distances))
    other = evaluate(moved, nights_of(moved.epoch, distances))

    assert states_of(one) == states_of(other)


@given(st.integers(0, 10_000))
def test_a_recomputation_gives_the_same(seed: int) -> None:
    """In whichever order the nights are read."""
    nights = nights_of(SMALL.epoch, random_nights(seed))
    order = np.random.default_rng(seed).permutation(len(nights))

    assert evaluate(SMALL, [nights[place] for place in order]) == evaluate(SMALL, nights)


@given(st.integers(0, 10_000))
def test_nights_to_come_change_no_alarm(seed: int) -> None:
    """What has alarmed stands, from the same night, with the same evidence and start."""
    nights = nights_of(SMALL.epoch, random_nights(seed))
    early, late = evaluate(SMALL, nights[:38]), evaluate(SMALL, nights)

    standing = [(each.level, each.night, each.start) for each in late.alarms]
    assert standing[: len(early.alarms)] == [
        (each.level, each.night, each.start) for each in early.alarms
    ]


@pytest.mark.parametrize("draws", [1, 4])
def test_any_number_of_draws_is_judged(draws: int) -> None:
    """As long as it stays the same."""
    watch = watch_of(1, draws=draws)
    distances = np.zeros((38, 1, draws))
    distances[30:] = 0.5

    assert evaluate(watch, nights_of(watch.epoch, distances)).state is WatchState.DRIFT
