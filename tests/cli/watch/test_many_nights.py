"""Forty nights of a service that changes, with the real commands."""

import pytest

from repro_gate.errors import UsageInvalid
from tests.cli.watch.many_nights import ManyNights
from tests.fakes.fireworks.effects import Head, Rule, Shift
from tests.fakes.fireworks.server import Api

_MOVED = (
    Rule(effect=Shift(nats=-0.3)),
    Rule(effect=Head(headers={"fireworks-backend-host": "b2"})),
)


def test_thirty_equal_nights_are_quiet(quiet: ManyNights) -> None:
    """After twenty of learning."""
    state = quiet.state()

    assert (state["state"], state["nights"], state["alarms"]) == ("quiet", 30, [])
    assert (state["last"][:10], state["unknown"]) == ("2026-01-31", [])


def test_a_change_is_found_and_stands_until_it_is_accepted(quiet: ManyNights, api: Api) -> None:
    """Within eight nights, with its start and the backend that came; a return does not end it."""
    api.follow(*_MOVED)
    codes = quiet.nights(8)
    drift = quiet.state()

    assert codes == [0] * 6 + [10] * 2
    assert (drift["state"], drift["since"], drift["nights"]) == ("drift", "2026-02-07", 38)
    assert drift["alarms"][0]["start"].startswith("2026-02-01-local-")
    assert {each["fact"]: each["since"] for each in drift["seen"]}["backend"] == ["b2"]
    assert quiet.workspace.calibrate("--again").code == 0
    assert quiet.nights(1) == [10]
    assert quiet.accept(reason="a new version, announced") == 0
    assert quiet.state()["state"] == "unknown"
    assert (quiet.nights(1), quiet.state()["state"]) == ([0], "learning")
    watch = quiet.suite().watch()
    assert watch is not None
    assert watch.epoch.previous == drift["epoch"]


def test_a_change_that_is_over_can_be_dismissed(quiet: ManyNights, api: Api) -> None:
    """Its nights leave the pool, and the epoch stays."""
    epoch = quiet.state()["epoch"]
    api.follow(*_MOVED)
    quiet.nights(8)
    api.follow()
    quiet.nights(1)

    assert quiet.state()["state"] == "drift"
    assert quiet.dismiss() == 0
    assert "dismissed  9 nights of hosted: 2026-02-01-local-" in quiet.printed()
    state = quiet.state()
    assert (state["state"], state["nights"], state["epoch"]) == ("quiet", 30, epoch)
    assert (quiet.nights(1), quiet.state()["nights"]) == ([0], 31)
    with pytest.raises(UsageInvalid, match="there is no standing alarm in the 40 nights"):
        quiet.dismiss()


def test_a_shift_below_the_floor_is_a_note(quiet: ManyNights, api: Api) -> None:
    """It is found, and no finding."""
    api.follow(Rule(effect=Shift(nats=-0.05)))

    assert quiet.nights(8) == [0] * 8
    assert quiet.state()["state"] == "changed"


def test_three_days_without_a_night_are_unknown(quiet: ManyNights) -> None:
    """A nightly job that has stopped is not a quiet service."""
    quiet.clock = quiet.clock.replace(month=2, day=3)

    state = quiet.state()

    assert (state["state"], state["exit_code"]) == ("unknown", 4)
    assert state["unknown"][0]["reason"] == (
        "the last complete night is that of 2026-01-31, 3 days ago"
    )
