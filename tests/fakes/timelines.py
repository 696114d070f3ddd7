"""Timelines of simulated histories."""

from functools import cache

from repro_gate.checks.history.timeline import read_timeline
from repro_gate.core.timeline import Timeline
from tests.fakes.simulated_history import (
    baselines_of,
    simulated_history,
    watch_status_of,
    weighted_suite,
)


@cache
def timeline_of(nights: int = 100, *, items: int = 6, is_watched: bool = True) -> Timeline:
    """Return the timeline of a simulated history, with a watch."""
    suite = weighted_suite(items)
    history = simulated_history(suite, nights=nights)
    return read_timeline(
        suite,
        history=history,
        baselines=baselines_of(suite),
        watch=watch_status_of(suite, history) if is_watched else None,
    )
