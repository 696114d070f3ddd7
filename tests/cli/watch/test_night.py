"""`watch night`, `state` and `verify`: what is drawn, stored, counted and refused."""

import gzip
import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.history.files import SessionLog
from repro_gate.core.history import SessionCell, SessionHeader, SessionKind
from repro_gate.core.logprobs.draw import Draw
from repro_gate.errors import InputInvalid
from repro_gate.ports import Purpose
from tests.cli.hosted.workspaces import ITEMS, KEY_ENV, PLANE, POLICY, TRAIN, HostedWorkspace
from tests.cli.watch.many_nights import ManyNights
from tests.cli.workspaces import PATIENCE_S, Ran, ended
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.effects import AnswerAs, Fail, Rule, Shift, on
from tests.fakes.fireworks.server import Api, serving
from tests.fakes.hosted import request_of


def _night(workspace: HostedWorkspace, *arguments: str, **env: str) -> Ran:
    return workspace.run("watch", "night", "--suite", "hosted", *arguments, **env)


def _state(workspace: HostedWorkspace) -> Any:
    return json.loads(workspace.run("watch", "state", "--suite", "hosted", "--json").out)


def _files(workspace: HostedWorkspace, ending: str = ".jsonl.gz") -> list[Path]:
    return sorted((workspace.output / "history" / "nights" / "hosted").glob(f"*/*{ending}"))


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def test_a_night_is_drawn_stored_and_judged(watched: HostedWorkspace, api: Api) -> None:
    """Five draws of both cells in one file, and the state; the cost and the key come before."""
    ran = _night(watched)

    assert (ran.code, len(api.requests)) == (0, 10)
    assert ran.out.startswith("watch hosted: learning since ")
    assert f"provider fake: the value of {KEY_ENV} is sent to 127.0.0.1" in ran.err
    assert "suite hosted: 5 draws of 2 cells, 10 calls, " in ran.err
    (file,) = _files(watched)
    header, *draws, closed = _lines(file)
    assert (header["kind"], header["suite"], closed["draws"]) == ("night", "hosted", 10)
    assert sorted((draw["cell"], draw["purpose"], draw["number"]) for draw in draws) == [
        (cell, "watch", number) for cell in (PLANE, TRAIN) for number in range(1, 6)
    ]


def test_a_session_has_the_run_in_its_key(watched: HostedWorkspace) -> None:
    """So a second attempt of one run is another session."""
    _night(watched, GITHUB_RUN_ID="77", GITHUB_RUN_ATTEMPT="2")

    (file,) = _files(watched)
    assert file.name.endswith("-77-2.jsonl.gz")
    _night(watched, "--again", GITHUB_RUN_ID="../77", GITHUB_RUN_ATTEMPT="2")
    assert [each.name[10:17] for each in _files(watched)].count("-local-") == 1


def test_an_outlier_is_kept(watched: HostedWorkspace, api: Api) -> None:
    """It is a draw like the others, and not drawn again."""
    api.follow(on(3, Shift(nats=-114.0), text="nine"))

    assert (_night(watched).code, len(api.requests)) == (0, 10)
    totals = [line["total"] for line in _lines(_files(watched)[0])[1:-1]]
    assert max(totals) - min(totals) > 100


def test_an_invalid_draw_is_asked_again(watched: HostedWorkspace, api: Api) -> None:
    """It stays in the file beside its replacement."""
    api.follow(on(2, AnswerAs(model="other"), text="plane"))

    assert (_night(watched).code, len(api.requests)) == (0, 11)
    outcomes = [line["outcome"] for line in _lines(_files(watched)[0])[1:-1]]
    assert (outcomes.count("draw"), outcomes.count("invalid")) == (10, 1)


def test_a_day_has_one_night(watched: HostedWorkspace, api: Api) -> None:
    """With --again a second one is stored, and not counted."""
    _night(watched)
    second = _night(watched)
    assert (second.code, len(api.requests)) == (0, 10)
    assert "with --again another one is drawn, which is stored and does not count" in second.err

    assert (_night(watched, "--again").code, len(api.requests)) == (0, 20)
    state = _state(watched)
    assert (state["nights"], len(state["uncounted"]), len(_files(watched))) == (1, 1, 2)


def test_a_dry_run_draws_nothing(watched: HostedWorkspace, api: Api) -> None:
    """It shows the cost."""
    ran = _night(watched, "--dry-run")

    assert (ran.code, ran.out, api.requests) == (4, "nothing was drawn (dry run)\n", [])
    assert "10 calls" in ran.err
    assert _files(watched) == []


def test_nothing_is_drawn_without_an_open_watch(hosted: HostedWorkspace, api: Api) -> None:
    """The command that opens it is named."""
    ran = _night(hosted)

    assert (ran.code, api.requests) == (4, [])
    assert ran.out.startswith("watch hosted: unknown\n  unknown   no watch of hosted is open\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policies": {"base": {**POLICY, "system": "Be long."}}}, "system was 'Be brief.' and is"),
        ({"items": {"plane": ITEMS["plane"]}}, "base--train is not in the suite any more"),
        (
            {"items": {**ITEMS, "more": {"prompt": "a", "response": " b"}}},
            "base--more is new in the suite",
        ),
        ({"provider": {"kind": "openai"}}, "provider was 'fireworks' and is 'openai'"),
    ],
)
def test_nothing_is_drawn_of_another_suite(
    watched: HostedWorkspace, api: Api, changes: dict[str, Any], message: str
) -> None:
    """What changed is named, with the two ways out."""
    watched.ask(api.base_url, **changes)

    ran = _night(watched)

    assert (ran.code, api.requests) == (4, [])
    words = " ".join(ran.out.split())
    assert message in words
    assert "undo the change, or begin again: repro-gate watch accept --suite hosted" in words


def test_nothing_is_drawn_without_a_key(watched: HostedWorkspace, api: Api) -> None:
    """And no session is begun."""
    ran = _night(watched, **{KEY_ENV: ""})

    assert (ran.code, api.requests, _files(watched, "")) == (4, [], [])
    assert f"{KEY_ENV} is not set" in ran.err


def test_a_dropped_model_is_unknown(watched: HostedWorkspace, api: Api) -> None:
    """The night is stored with what there is, and is never quiet."""
    api.follow(Rule(effect=Fail(status=404), text="plane"))

    ran = _night(watched)

    assert ran.code == 4
    assert ran.out.startswith("watch hosted: unknown")
    assert "1 cell: 0 of 5 draws: " in ran.err
    state = _state(watched)
    assert (state["state"], state["nights"]) == ("unknown", 0)
    assert "base--plane" in state["uncounted"][0]["reason"]


def test_a_used_up_budget_is_unknown(watched: HostedWorkspace, api: Api) -> None:
    """No more is asked than the matrix allows."""
    watched.ask(api.base_url, suite={"budget": {"max_calls": 7}})

    ran = _night(watched)

    assert (ran.code, len(api.requests)) == (4, 7)
    assert "the budget of 7 calls is used up" in ran.err


def test_an_interrupted_night_is_resumed(watched: HostedWorkspace) -> None:
    """It does not count until it is complete, and no draw is paid for twice."""
    with serving(conduct=Conduct(latency_s=0.05)) as server:
        watched.ask(server.base_url, provider={"concurrency": 1})
        gate = watched.start("watch", "night", "--suite", "hosted")
        deadline = time.monotonic() + PATIENCE_S
        while len(server.requests) < 5 and time.monotonic() < deadline:
            time.sleep(0.005)
        gate.send_signal(signal.SIGINT)
        interrupted = ended(gate)
        before = _state(watched)
        other = _night(watched, "--dry-run")
        resumed = _night(watched, "--resume")

        assert (interrupted.code, "with --resume" in interrupted.err) == (130, True)
        assert (before["state"], before["exit_code"], other.code) == ("unknown", 4, 4)
        assert "it was interrupted, or is still being drawn" in before["uncounted"][0]["reason"]
        assert (resumed.code, len(server.requests) <= 11) == (0, True)
    (file,) = _files(watched)
    assert _lines(file)[-1]["draws"] == 10
    assert _state(watched)["nights"] == 1


def test_looks_of_a_check_are_no_night(watched: HostedWorkspace) -> None:
    """Their number depends on their values; a file of a night that has them is refused."""
    epoch = _state(watched)["epoch"]
    header = SessionHeader(
        key="2026-01-01-7-1",
        kind=SessionKind.NIGHT,
        suite="hosted",
        epoch=epoch,
        started_at="2026-01-01T03:00:00+00:00",
        tool="0.1.0",
        cells=(SessionCell(id="base--hello", policy="base", item="hello"),),
    )
    log = SessionLog(watched.output / "history", header, resume=False)
    log.note(replace(request_of(), purpose=Purpose.FIRST_LOOK), Draw(logprobs=(-1.0,)))
    with pytest.raises(InputInvalid, match="purpose"):
        log.seal("2026-01-01T03:01:00+00:00")


def test_the_state_is_printed_in_markdown(watched: HostedWorkspace) -> None:
    """For the summary of a job."""
    ran = watched.run("watch", "state", "--suite", "hosted", "--markdown")

    assert ran.code == 4
    assert ran.out.startswith("### ❔ watch hosted: unknown\n\n- **unknown**: `the history has no ")


def test_nights_are_verified(quiet: ManyNights) -> None:
    """Every file is read again."""
    quiet.printed()

    assert quiet.verify() == 0
    printed = quiet.printed().splitlines()
    assert printed[0].startswith("verified 30 nights of hosted in ")
    assert printed[1] == "watch hosted: quiet since 2026-01-21"


def test_a_changed_file_is_refused(quiet: ManyNights) -> None:
    """Though the index still has what it had."""
    file = _files(quiet.workspace)[3]
    lines = gzip.decompress(file.read_bytes()).replace(b'"number":2', b'"number":7')
    file.write_bytes(gzip.compress(lines))

    assert quiet.state()["state"] == "quiet"
    with pytest.raises(InputInvalid, match=file.name):
        quiet.verify()


def test_verify_without_a_night_is_unknown(watched: HostedWorkspace) -> None:
    """Nothing was verified."""
    ran = watched.run("watch", "verify", "--suite", "hosted")

    assert (ran.code, ran.out.splitlines()[1]) == (4, "watch hosted: unknown")


def test_verify_without_a_watch_is_unknown(hosted: HostedWorkspace) -> None:
    """With the command that opens it."""
    ran = hosted.run("watch", "verify", "--suite", "hosted")

    assert (ran.code, "no watch of hosted is open" in ran.out) == (4, True)


def test_the_budget_is_shown_before_the_first_draw(watched: HostedWorkspace, api: Api) -> None:
    """Beside the calls of the night."""
    watched.ask(api.base_url, suite={"budget": {"max_calls": 50}})

    ran = _night(watched, "--dry-run")

    assert "suite hosted: 5 draws of 2 cells, 10 calls, " in ran.err
    assert ran.err.endswith("; the budget is 50 calls\n")
