"""Add a session of calibration draws to a baseline."""

from collections.abc import Sequence
from dataclasses import replace

from repro_gate.core.logprobs.baseline import Baseline, fit_noise
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.logprobs.sessions import (
    MAX_CALIBRATION_DRAWS,
    MIN_DISTANCE,
    CalibrationSession,
    time_of,
)

_RECORD = "record the cell without --add"
_AGAIN = "record the cell with --again, without --add"


def problem_of_adding(
    cell: LogprobCell, before: Baseline, *, draws: int, now: str
) -> tuple[str, str] | None:
    """Return why no session can be added to a baseline now, and what to do, or None.

    Args:
        cell: as in the matrix.
        before: its baseline.
        draws: of the session to add.
        now: the present time, ISO 8601.
    """
    if changes := cell.changes_since(before.definition):
        changed = "; ".join(f"{change.name} was {change.before}" for change in changes)
        return f"its baseline is for another definition: {changed}", _RECORD
    try:
        soonest = time_of(before.recorded_at) + MIN_DISTANCE
    except (ValueError, OverflowError):
        return f"the time of its last session cannot be read: {before.recorded_at!r}", _AGAIN
    if len(before.draws) + draws > MAX_CALIBRATION_DRAWS:
        limit = f"{MAX_CALIBRATION_DRAWS} are the most with another session"
        return (
            f"it has {len(before.draws)} draws, and {limit}",
            "compare more nights with repro-gate watch",
        )
    if time_of(now) < soonest:
        last = f"its last session was recorded at {before.recorded_at}"
        reason = f"{last}, and draws within an hour of it are no other session"
        remedy = f"add one from {soonest.isoformat()} on; another day is better than another hour"
        return reason, remedy
    return None


def joined(
    before: Baseline, made: Baseline, others: Sequence[float], *, started_at: str
) -> Baseline:
    """Return a baseline with the draws of one more session.

    Args:
        before: the earlier sessions.
        made: the new one.
        others: deviations from their medians of draws of the policy's other cells, in nats.
        started_at: when the new one started, ISO 8601.
    """
    draws, drawn = (*before.draws, *made.draws), (*before.made, *made.made)
    tokens, forks = [draw.others for draw in drawn], [draw.fork for draw in drawn]
    added = CalibrationSession(started_at=started_at, draws=len(made.draws))
    return replace(
        made,
        draws=draws,
        facts=(*before.facts, *made.facts),
        noise=fit_noise(draws, others=others),
        sessions=(*before.all_sessions, added),
        others=tuple(tokens) if any(tokens) else (),
        forks=tuple(forks) if any(fork is not None for fork in forks) else (),
    )
