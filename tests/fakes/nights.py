"""Epochs and nights of a watch, in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.watch.epoch import Epoch, Reference, Watch, WatchedCell
from repro_gate.core.watch.night import Night
from repro_gate.core.watch.state import (
    Alarm,
    Direction,
    Level,
    Sight,
    Stream,
    StreamKind,
    WatchReport,
    WatchState,
)
from repro_gate.statistics.permutation import Floats
from tests.fakes.scoring import MODEL, NOW, SOURCE, encoding_of, item_of, policy_of

FIRST_DATE = date(2026, 1, 1)
CENTER = -40.0
FAR = 8.0


def watched_cell_of(name: str = "fox", **changes: Any) -> WatchedCell:
    """Return a watched cell."""
    cell = LogprobCell(policy=policy_of(), item=item_of(name))
    watched = WatchedCell(
        source=SOURCE,
        definition=cell.definition,
        encoding=encoding_of(cell, 3),
        answered_as=MODEL,
        reference=Reference(value=CENTER, far=FAR),
    )
    return replace(watched, **changes)


def epoch_of(cells: int = 2, *, draws: int = 5, **changes: Any) -> Epoch:
    """Return an epoch of cells with the ids base--0, base--1 and so on."""
    epoch = Epoch(
        suite="hosted",
        cells={f"base--{number}": watched_cell_of(str(number)) for number in range(cells)},
        draws=draws,
        rate=0.01,
        nights=365,
        floor_nats=0.1,
        opened_at=NOW,
        reason="first watch",
    )
    return replace(epoch, **changes)


def watch_of(cells: int = 2, **changes: Any) -> Watch:
    """Return a watch without dismissals."""
    return Watch(epoch=epoch_of(cells, **changes))


def night_of(number: int, totals: Mapping[str, Sequence[float]], **changes: Any) -> Night:
    """Return a night, the first one having the number 0."""
    day = (FIRST_DATE + timedelta(days=number)).isoformat()
    night = Night(
        key=f"{day}-run-1",
        date=day,
        started_at=f"{day}T02:00:00+00:00",
        totals={cell: tuple(map(float, each)) for cell, each in totals.items()},
    )
    return replace(night, **changes)


def nights_of(epoch: Epoch, distances: Floats, *, first: int = 0) -> tuple[Night, ...]:
    """Return nights of given distances from the references.

    Args:
        epoch: their epoch.
        distances: nights x cells x draws, in nats.
        first: the number of the first night.
    """
    centers = np.array([[cell.reference.value] for cell in epoch.cells.values()])
    return tuple(
        night_of(first + number, dict(zip(epoch.cells, (centers + each).tolist(), strict=True)))
        for number, each in enumerate(distances)
    )


def alarm_of(**changes: Any) -> Alarm:
    """Return the alarm of a cell that moved by 0.3 nats in the 31st night."""
    stream = Stream(kind=StreamKind.MEDIAN, direction=Direction.DOWN, cell="base--0")
    alarm = Alarm(
        level=Level(stream=stream, evidence=1.1e7, threshold=8.76e6),
        night=night_of(37, {"base--0": (CENTER - 0.3,) * 5}),
        start=night_of(30, {"base--0": (CENTER - 0.3,) * 5}),
        before=0.0,
        after=-0.3,
        effect=-0.3,
        is_drift=True,
    )
    return replace(alarm, **changes)


def watch_report_of(*alarms: Alarm, **changes: Any) -> WatchReport:
    """Return what 38 nights show, of which the last raised the alarms."""
    report = WatchReport(
        state=WatchState.DRIFT if alarms else WatchState.QUIET,
        since=alarms[0].night.date if alarms else FIRST_DATE.isoformat(),
        nights=38,
        last=night_of(37, {}),
        alarms=alarms,
        largest=(),
        sight=Sight(nights=38, suite=6, cell=8),
        returned=None,
        uncounted=(),
    )
    return replace(report, **changes)
