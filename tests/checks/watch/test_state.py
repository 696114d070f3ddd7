"""The state of a watch from its file, its nights, the matrix and the time."""

from dataclasses import replace

import numpy as np

from repro_gate.checks.watch.state import status_of, stored_nights
from repro_gate.core.watch.changes import definition_of
from repro_gate.core.watch.epoch import Watch
from repro_gate.core.watch.night import Night
from repro_gate.core.watch.state import WatchState
from repro_gate.core.watch.status import Seen, WatchStatus
from tests.fakes.nights import epoch_of, night_of, nights_of, watched_cell_of
from tests.fakes.scoring import plan_of, suite_of_logprobs
from tests.fakes.stored_nights import StoredNights, drawn_of, session_of, stored

PLAN = plan_of(suite_of_logprobs(items=2))
CELLS = {cell.id: watched_cell_of("x", definition=definition_of(cell)) for cell in PLAN.cells}
EPOCH = replace(epoch_of(), cells=CELLS)
WATCH = Watch(epoch=EPOCH)
FIRST, SECOND = CELLS
FULL = dict.fromkeys(CELLS, (-40.0,) * 5)


def _nights(quiet: int, changed: int) -> tuple[Night, ...]:
    distances = np.zeros((quiet + changed, 2, 5))
    distances[quiet:] = -0.3
    return nights_of(EPOCH, distances)


def _status(history: StoredNights, *, now: str = "2026-01-31", watch: Watch = WATCH) -> WatchStatus:
    return status_of(PLAN, watch, history=history, now=f"{now}T06:00:00+00:00")


def test_nights_without_a_change_are_quiet() -> None:
    """Thirty of them."""
    assert _status(stored(EPOCH, *_nights(30, 0))).state is WatchState.QUIET


def test_a_change_that_lasts_is_a_drift() -> None:
    """After thirty nights it takes eight, and it is seen who answers since."""
    nights = _nights(30, 8)
    backends = {night.date: ["a", "b"] if n < 30 else ["c"] for n, night in enumerate(nights)}

    status = _status(stored(EPOCH, *nights, backends=backends), now="2026-02-08")

    assert status.state is WatchState.DRIFT
    assert status.seen == (Seen(fact="backend", before=("a", "b"), since=("c",)),)


def test_a_watch_that_is_not_open_is_unknown() -> None:
    """The nights of other epochs are not looked at."""
    status = status_of(PLAN, None, history=stored(EPOCH), now="2026-01-31")

    assert (status.state, status.watch, status.report) == (WatchState.UNKNOWN, None, None)
    assert [each.reason for each in status.unknown] == ["no watch of hosted is open"]


def test_a_watch_without_a_night_is_unknown() -> None:
    """A history that was not fetched is not an unchanged service."""
    other = replace(EPOCH, draws=4)
    status = _status(stored(other, *_nights(30, 0)))

    assert status.state is WatchState.UNKNOWN
    (unknown,) = status.unknown
    assert unknown.reason.startswith("the history has no complete night of the epoch ")


def test_old_nights_are_unknown() -> None:
    """The last complete night is that of January 30."""
    status = _status(stored(EPOCH, *_nights(30, 0)), now="2026-02-02")

    assert status.state is WatchState.UNKNOWN
    assert [each.reason for each in status.unknown] == [
        "the last complete night is that of 2026-01-30, 3 days ago"
    ]


def test_a_changed_suite_is_unknown() -> None:
    """Whatever the nights show; with what changed."""
    watch = Watch(epoch=replace(EPOCH, cells={**CELLS, "base--more": watched_cell_of("more")}))
    history = stored(watch.epoch, *nights_of(watch.epoch, np.zeros((30, 3, 5))))

    status = _status(history, watch=watch)

    assert status.state is WatchState.UNKNOWN
    (unknown,) = status.unknown
    assert "base--more is not in the suite any more" in unknown.reason
    assert "repro-gate watch accept --suite hosted" in str(unknown.remedy)


def test_an_incomplete_night_is_unknown() -> None:
    """A cell that a provider dropped has no draws tonight; it is not quiet."""
    nights = (*_nights(30, 0), night_of(30, {FIRST: (-40.0,) * 5}))

    status = _status(stored(EPOCH, *nights))

    assert status.state is WatchState.UNKNOWN
    (unknown,) = status.unknown
    assert f"{SECOND} has no draws" in unknown.reason
    assert status.report is not None
    assert status.report.nights == 30


def test_an_interrupted_night_has_a_problem() -> None:
    """It stays visible and never counts."""
    night = night_of(0, FULL)
    drawn = [drawn_of(EPOCH, cell, totals) for cell, totals in night.totals.items()]
    history = StoredNights(kept=[(session_of(EPOCH, night, is_closed=False), drawn)])

    assert stored_nights(EPOCH, history) == (
        replace(night, problem="it was interrupted, or is still being drawn"),
    )


def test_a_night_of_another_definition_has_a_problem() -> None:
    """Its draws are of something else, though its epoch is this one."""
    night = night_of(0, FULL)
    other = drawn_of(EPOCH, FIRST, FULL[FIRST])
    drawn = [
        replace(other, cell=replace(other.cell, definition="0" * 64)),
        drawn_of(EPOCH, SECOND, FULL[SECOND]),
        drawn_of(EPOCH, "base--other", (-1.0,)),
    ]
    history = StoredNights(kept=[(session_of(EPOCH, night), drawn)])

    (found,) = stored_nights(EPOCH, history)

    assert found.problem == f"{FIRST} was drawn by another definition"
    assert found.totals.keys() == {FIRST, SECOND, "base--other"}
