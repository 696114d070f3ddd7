"""`watch open`, `accept` and `dismiss`: what they show, ask, write and refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.hosted.workspaces import ITEMS, PLANE, TRAIN, HostedWorkspace
from tests.cli.terminal.terminals import at_terminal
from tests.cli.workspaces import Ran
from tests.fakes.fireworks.effects import Rule, Shift
from tests.fakes.fireworks.server import Api

_OPEN = ("watch", "open", "--suite", "hosted", "--reason", "first watch")
_ACCEPT = ("watch", "accept", "--suite", "hosted", "--reason", "a new version")
_DISMISS = ("watch", "dismiss", "--suite", "hosted", "--reason", "over", "--yes")


def _file(workspace: HostedWorkspace) -> Path:
    return workspace.snapshots / "watch" / "hosted.json"


def _epoch(workspace: HostedWorkspace) -> Any:
    return json.loads(_file(workspace).read_text("utf-8"))["epoch"]


def test_an_epoch_is_shown_and_written(hosted: HostedWorkspace, api: Api) -> None:
    """Its references, its cost, its rate and what it can find; nothing is drawn and no key used."""
    ran = hosted.run(*_OPEN, "--yes", KEY_OF_THE_TESTS="")

    assert (ran.code, ran.err, api.requests) == (0, "", [])
    assert "new        fake/base--plane: median -" in ran.out
    assert "5 draws of 2 cells a night, 10 calls, " in ran.out
    assert "at most 1 % of unchanged services have an alarm in 365 nights" in ran.out
    assert (
        "after 30 nights without a change: a change of all cells is found after 7 nights" in ran.out
    )
    assert ran.out.endswith(
        "wrote snapshots/watch/hosted.json; commit it, so that the nightly run finds it\n"
    )
    epoch = _epoch(hosted)
    assert (epoch["draws"], epoch["rate"], epoch["nights"]) == (5, 0.01, 365)
    assert (epoch["reason"], epoch["previous"]) == ("first watch", None)


def test_a_cost_below_a_cent_is_shown_as_such(hosted: HostedWorkspace, api: Api) -> None:
    """It is not nothing."""
    hosted.ask(api.base_url, provider={"usd_per_million_tokens": 0.9})

    assert " tokens (less than $0.01)\n" in hosted.run(*_OPEN, "--yes").out


def test_the_terms_of_an_epoch_are_chosen(hosted: HostedWorkspace) -> None:
    """The draws, the rate and the nights it is for."""
    ran = hosted.run(*_OPEN, "--draws", "3", "--rate", "0.05", "--nights", "100", "--yes")

    epoch = _epoch(hosted)
    assert ran.code == 0
    assert (epoch["draws"], epoch["rate"], epoch["nights"]) == (3, 0.05, 100)


def test_an_epoch_is_asked_for(hosted: HostedWorkspace) -> None:
    """At a terminal; elsewhere --yes is needed."""
    declined = at_terminal(hosted, *_OPEN, answer="n\n")
    unasked = hosted.run(*_OPEN)

    assert (declined.code, "Nothing was written." in declined.out) == (4, True)
    assert (unasked.code, _file(hosted).exists()) == (2, False)
    assert "review the list, then pass --yes" in unasked.err


@pytest.mark.parametrize("command", [_OPEN, _ACCEPT, _DISMISS], ids=lambda each: each[1])
def test_no_watch_is_written_in_ci(hosted: HostedWorkspace, command: tuple[str, ...]) -> None:
    """What CI accepts by itself would be no watch."""
    ran = hosted.run(*command, "--yes", CI="true")

    assert (ran.code, _file(hosted).exists()) == (2, False)
    assert "watches are not updated in CI (CI is set)" in ran.err


def _refused(ran: Ran, code: int, message: str) -> None:
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


def test_what_makes_no_watch_is_refused(hosted: HostedWorkspace) -> None:
    """Each with its reason."""
    _refused(hosted.run(*_OPEN, "--yes", "--rate", "2"), 2, "rate must lie between 0 and 1")
    _refused(hosted.run(*_OPEN, "--yes", "--nights", "1"), 2, "no change could ever be found")
    _refused(hosted.run(*_OPEN[:-1], "a\nb", "--yes"), 2, "--reason is one line of text")
    _refused(hosted.run(*_OPEN[:-1], " ", "--yes"), 2, "--reason is one line of text")
    unknown = hosted.run("watch", "open", "--suite", "other", "--reason", "x", "--yes")
    _refused(unknown, 2, "no suite of log-probabilities 'other'; the matrix has: hosted")
    _refused(hosted.run(*_ACCEPT, "--yes"), 4, "no watch of hosted is open")
    _refused(hosted.run(*_DISMISS), 4, "no watch of hosted is open")


def test_a_cell_without_a_baseline_is_not_watched(unrecorded: HostedWorkspace) -> None:
    """The command that records it is named."""
    ran = unrecorded.run(*_OPEN, "--yes")

    _refused(ran, 4, "2 of 2 cells have no baseline of their definition: base--plane, base--train")
    assert "try: repro-gate record-baseline --suite hosted" in ran.err


def test_an_open_watch_is_not_opened_again(watched: HostedWorkspace) -> None:
    """That would end its epoch without a word."""
    _refused(watched.run(*_OPEN, "--yes"), 2, "the watch of hosted is open already")


def test_accept_shows_what_it_changes(watched: HostedWorkspace, api: Api) -> None:
    """The cells that moved, came and went; the terms stay as they were."""
    before = watched.run(*_ACCEPT)
    items = {"plane": ITEMS["plane"], "more": {**ITEMS["plane"], "prompt": "Say more"}}
    watched.ask(api.base_url, items=items)
    assert watched.calibrate().code == 0

    ran = watched.run(*_ACCEPT, "--draws", "4", "--yes")

    assert f"kept       fake/{PLANE}: median" in before.out
    assert "every reference is that of the epoch before" in before.out
    assert ran.code == 0
    assert f"kept       fake/{PLANE}: median" in ran.out
    assert "new        fake/base--more: median" in ran.out
    assert "removed    base--train\n" in ran.out
    epoch = _epoch(watched)
    assert (epoch["draws"], epoch["rate"], len(epoch["previous"])) == (4, 0.01, 64)


def test_accept_shows_references_that_moved(watched: HostedWorkspace, api: Api) -> None:
    """With what they were."""
    api.follow(Rule(effect=Shift(nats=-3.0), text="nine"))
    assert watched.calibrate("--again").code == 0

    ran = watched.run(*_ACCEPT, "--yes")

    assert (ran.code, "every reference" in ran.out) == (0, False)
    lines = ran.out.splitlines()
    moved = lines.index(next(line for line in lines if line.startswith(f"moved      fake/{TRAIN}")))
    assert lines[moved + 1].startswith("           before: median -")
    assert f"kept       fake/{PLANE}: median" in ran.out


def test_dismiss_without_an_alarm_is_refused(watched: HostedWorkspace) -> None:
    """Nights can be named instead, if they are stored."""
    _refused(watched.run(*_DISMISS), 2, "there is no standing alarm in the 0 nights of")
    named = watched.run(*_DISMISS, "--night", "2026-01-01-x-1")
    _refused(named, 2, "there is no night '2026-01-01-x-1' of this epoch in the history")


@pytest.mark.parametrize("command", [("open", "--reason", "x"), ("state",)], ids=lambda x: x[0])
def test_a_broken_watch_is_an_invalid_file(
    watched: HostedWorkspace, command: tuple[str, ...]
) -> None:
    """With its name and the place."""
    text = _file(watched).read_text("utf-8")
    _file(watched).write_text(text.replace('"draws": 5', '"draws": 6'), "utf-8")

    ran = watched.run("watch", *command, "--suite", "hosted")

    assert ran.code == 3
    assert "snapshots/watch/hosted.json: digest: expected the digest of the content" in ran.err
