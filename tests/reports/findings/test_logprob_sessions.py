"""What a suite may claim depends on the sessions of its baselines, and on nothing else."""

from typing import Any

import pytest

from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.sessions import SessionNoise
from repro_gate.reports.findings.logprob_sessions import format_false_alarms, format_sessions

_RATE = (
    "at most 5 % for the suite as a whole (2.5 % cells, 1.5 % suite test, 0.5 % outliers, 0.5 % "
    "A/A controls)"
)


def noise_of(sessions: int, **changes: Any) -> SessionNoise:
    """Return what so many sessions of ten draws show."""
    usual: dict[str, Any] = {
        "draws": 10,
        "first": "2026-01-02T03:04:59+00:00",
        "last": "2026-01-02T03:05:00+00:00" if sessions == 1 else "2026-01-09T05:04:00+02:00",
    }
    if sessions > 1:
        usual |= {"within": 0.5, "between": 0.125, "p_value": 0.21, "missed": 0.2603}
    return SessionNoise(sessions=sessions, **{**usual, **changes})


@pytest.mark.parametrize(
    ("found", "claim"),
    [
        (None, "; valid for noise between draws, not for noise that is constant within a session"),
        (noise_of(1), f". {format_sessions(noise_of(1))}"),
        (noise_of(4), f". {format_sessions(noise_of(4))}"),
    ],
)
def test_a_rate_says_what_it_holds_for(found: SessionNoise | None, claim: str) -> None:
    """Its shares come first."""
    assert format_false_alarms(Tolerance(false_alarm_rate=0.05), found) == f"{_RATE}{claim}"


def test_one_session_says_nothing_about_others() -> None:
    """The cells of a recording have the same time, to the minute."""
    assert format_sessions(noise_of(1)) == (
        "The rate holds for draws like those of the one session recorded at 2026-01-02 03:04 UTC. "
        "How the service differs between sessions was not measured. A change found here is a "
        "change since that session, which a second session may or may not confirm."
    )


def test_cells_of_different_times_have_one_session_each() -> None:
    """A cell that was refused and recorded later is of another session than the rest."""
    assert format_sessions(noise_of(1, last="2026-01-04T00:00:00")) == (
        "The rate holds for draws like those of the one session of each cell, recorded from "
        "2026-01-02 03:04 UTC to 2026-01-04 00:00 UTC. How the service differs between sessions "
        "was not measured. A change found here is a change since then, which a second session may "
        "or may not confirm."
    )


def test_few_sessions_say_what_they_would_have_missed() -> None:
    """No difference found is no proof of none."""
    assert format_sessions(noise_of(3)) == (
        "The rate holds for draws like those of the 3 sessions recorded from 2026-01-02 03:04 UTC "
        "to 2026-01-09 03:04 UTC. No difference between sessions was found (p = 0.21; variance "
        "between / within: 0.25); with 3 sessions of 10 draws one as large as the noise within "
        "would be missed in 26 % of the cases. A change found here is a change since those "
        "sessions, which another one may or may not confirm."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"p_value": 0.0005}, "Sessions differed (p = 0.0005; variance between / within: 0.25)."),
        ({"within": 0.0, "p_value": 0.0005}, "Sessions differed (p = 0.0005)."),
        ({"within": 0.0, "between": 0.0, "p_value": 1.0}, "All draws are equal (p = 1)."),
        ({"missed": None}, "was found (p = 0.21; variance between / within: 0.25). A change"),
        ({"within": None}, "Whether sessions differ was not measured."),
    ],
)
def test_a_difference_is_described_by_its_p_value(changes: dict[str, Any], words: str) -> None:
    """A ratio needs noise within sessions."""
    assert words in format_sessions(noise_of(4, **changes))


@pytest.mark.parametrize("sessions", [5, 19])
def test_a_band_states_no_rate(sessions: int) -> None:
    """From five sessions on the medians of sessions are a yardstick, and there is no rate."""
    found = noise_of(sessions, band=0.75)

    assert format_false_alarms(Tolerance(), found) == (
        "The band for the median of another session, typically 0.7500 nats, from the "
        f"{sessions} sessions recorded from 2026-01-02 03:04 UTC to 2026-01-09 03:04 UTC is a "
        "yardstick: it makes drift rarer, and no rate is stated."
    )


def test_with_many_sessions_a_watch_has_a_rate() -> None:
    """The command is named."""
    assert format_sessions(noise_of(20)).endswith(
        "no rate is stated. For a stated rate over nights use repro-gate watch."
    )


def test_a_time_that_cannot_be_read_is_not_shown() -> None:
    """It may be anything."""
    found = format_sessions(noise_of(1, first="**now**", last="**now**"))

    assert "recorded at an unknown time." in found
