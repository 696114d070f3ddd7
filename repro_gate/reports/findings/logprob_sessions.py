"""What the sessions of its baselines allow a suite to claim, in one text of every report."""

from datetime import UTC
from typing import Final

from repro_gate.core.logprobs import error_rates
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.sessions import (
    BAND_SESSIONS,
    DIFFERENCE_LEVEL,
    MIN_DISTANCE,
    WATCH_SESSIONS,
    SessionNoise,
    time_of,
)
from repro_gate.reports.text.escape import Escaped, one_line
from repro_gate.reports.text.format import amount, chance, nats, percent, plural

_UNKNOWN: Final = "valid for noise between draws, not for noise that is constant within a session"


def format_false_alarms(tolerance: Tolerance, sessions: SessionNoise | None = None) -> str:
    """Return the false-alarm rate with what it holds for, or why there is none.

    Args:
        tolerance: of the suite.
        sessions: of its baselines; None when unknown.
    """
    if sessions is not None and sessions.sessions >= BAND_SESSIONS:
        return format_sessions(sessions)
    rate = tolerance.false_alarm_rate
    parts = (
        (error_rates.CELLS_SHARE, "cells"),
        (error_rates.SUITE_SHARE, "suite test"),
        (error_rates.OUTLIERS_SHARE, "outliers"),
        (error_rates.CONTROLS_SHARE, "A/A controls"),
    )
    shared = ", ".join(f"{percent(share * rate)} {name}" for share, name in parts)
    stated = f"at most {percent(rate)} for the suite as a whole ({shared})"
    return f"{stated}; {_UNKNOWN}" if sessions is None else f"{stated}. {format_sessions(sessions)}"


def format_second_look(tolerance: Tolerance) -> Escaped | None:
    """Return when a second look starts; None where it follows at once."""
    seconds = tolerance.second_look_after_s
    if not seconds:
        return None
    return one_line(f"at least {seconds:g} s after the first, as another session")


def format_sessions(found: SessionNoise) -> str:
    """Return what can be claimed with so many sessions, and no more."""
    if found.sessions == 1:
        since = "then" if _is_spread(found) else "that session"
        return (
            f"The rate holds for draws like those of {_one_session(found)}. "
            "How the service differs between sessions was not measured. A change found here is a "
            f"change since {since}, which a second session may or may not confirm."
        )
    those = f"the {found.sessions} sessions recorded from {_time(found.first)} to "
    those += _time(found.last)
    if found.sessions < BAND_SESSIONS:
        return (
            f"The rate holds for draws like those of {those}. {_difference(found)}. A change found "
            "here is a change since those sessions, which another one may or may not confirm."
        )
    band = "" if found.band is None else f", typically {nats(found.band)} nats,"
    yardstick = (
        f"The band for the median of another session{band} from {those} is a yardstick: it makes "
        "drift rarer, and no rate is stated."
    )
    if found.sessions < WATCH_SESSIONS:
        return yardstick
    return f"{yardstick} For a stated rate over nights use repro-gate watch."


def _difference(found: SessionNoise) -> str:
    """Return whether sessions were found to differ."""
    if found.p_value is None or found.within is None or found.between is None:
        return "Whether sessions differ was not measured"
    p_value = f"p = {chance(found.p_value)}"
    if not found.within:
        return f"{'Sessions differed' if found.between else 'All draws are equal'} ({p_value})"
    ratio = f"{p_value}; variance between / within: {amount(found.between / found.within)}"
    if found.p_value <= DIFFERENCE_LEVEL:
        return f"Sessions differed ({ratio})"
    nothing = f"No difference between sessions was found ({ratio})"
    if found.missed is None:
        return nothing
    return (
        f"{nothing}; with {found.sessions} sessions of {plural(found.draws, 'draw')} one as large "
        f"as the noise within would be missed in {percent(round(found.missed, 2))} of the cases"
    )


def _one_session(found: SessionNoise) -> str:
    if _is_spread(found):
        recorded = f"recorded from {_time(found.first)} to {_time(found.last)}"
        return f"the one session of each cell, {recorded}"
    return f"the one session recorded at {_time(found.first)}"


def _is_spread(found: SessionNoise) -> bool:
    """Return whether cells were recorded in different sessions."""
    try:
        return time_of(found.last) - time_of(found.first) >= MIN_DISTANCE
    except (ValueError, OverflowError):
        return found.first != found.last


def _time(text: str) -> str:
    """Return a time to the minute."""
    try:
        return f"{time_of(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return "an unknown time"
