"""The words of a history."""

from dataclasses import replace

from repro_gate.core.watch.night import Uncounted
from repro_gate.core.watch.state import WatchState
from repro_gate.reports.history import words
from tests.fakes.nights import night_of
from tests.fakes.timelines import timeline_of


def test_a_cell_without_a_baseline_has_no_band() -> None:
    """Its draws are counted all the same."""
    line = replace(timeline_of().cells[0], center=None, band=None)

    assert dict(words.cell_facts(line)) == {
        "last median": "-41.5000",
        "outliers": "1 of 490 draws",
    }


def test_a_cell_shows_how_often_it_was_outside() -> None:
    """And how many draws were not measured."""
    lines = {line.cell: dict(words.cell_facts(line)) for line in timeline_of().cells}

    assert lines["tuned--item-2"]["outside"] == "11 of 97 sessions"
    assert lines["tuned--item-2"]["shift"] == "-0.4000"
    assert lines["base--item-1"]["invalid or missed"] == "10"


def test_a_session_shows_why_it_does_not_count() -> None:
    """It was cut off, or the watch has a reason."""
    usual = timeline_of()
    assert usual.watch is not None
    assert usual.watch.report is not None
    night = night_of(1, {}, key=usual.sessions[5].key)
    report = replace(usual.watch.report, uncounted=(Uncounted(night=night, reason="too late"),))
    notes = words.session_notes(replace(usual, watch=replace(usual.watch, report=report)))

    assert notes[night.key] == "too late"
    assert list(notes.values()).count("cut off") == 2
    assert set(words.session_notes(timeline_of(is_watched=False)).values()) == {"cut off"}


def test_a_watch_without_a_night_has_words() -> None:
    """Its state is unknown."""
    usual = timeline_of()
    assert usual.watch is not None
    assert usual.watch.report is not None
    report = replace(usual.watch.report, state=WatchState.UNKNOWN, unknown="no night")
    status = replace(usual.watch, report=report)

    assert words.state(replace(usual, watch=status)) == "unknown"


def test_a_shift_below_the_last_digit_of_an_api_is_none() -> None:
    """A baseline file rounds its numbers."""
    line = timeline_of().cells[0]

    facts = dict(words.cell_facts(replace(line, center=(line.last_median or 0.0) + 6e-7)))

    assert facts["shift"] == "0.0000"
