"""Ctrl-C, a cancelled job and `kill -9`: no paid draw is lost."""

import math
import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest

from repro_gate.core.logprobs.alignment import CALLS_PER_COMPARISON
from tests.cli.hosted.workspaces import ITEMS, PLANE, TRAIN, HostedWorkspace
from tests.cli.workspaces import PATIENCE_S, Ran, contents_of, ended
from tests.fakes.fireworks.conduct import KEY, Conduct
from tests.fakes.fireworks.effects import Put, Rule, Shift
from tests.fakes.fireworks.server import Api, serving

_GENEROUS_S = 5.0
_SLOW = Conduct(latency_s=0.05)
_ONE_AT_A_TIME = {"concurrency": 1}
_CHANGED = [Rule(effect=Shift(nats=-3.0), text="plane")]


def _stopped(
    workspace: HostedWorkspace, server: Api, number: signal.Signals, *arguments: str, calls: int
) -> Ran:
    """Run a command at a slow server, and stop it after so many calls."""
    workspace.ask(server.base_url, provider=_ONE_AT_A_TIME)
    environment = workspace.environment(PYTHONFAULTHANDLER="1")
    gate = workspace.start(*arguments, env=environment)
    before, deadline = len(server.requests), time.monotonic() + PATIENCE_S
    while len(server.requests) < before + calls:
        if gate.poll() is not None or time.monotonic() > deadline:
            gate.send_signal(signal.SIGABRT)
            asked = len(server.requests) - before
            pytest.fail(f"asked {asked} of {calls} times: {ended(gate, within_s=_GENEROUS_S)}")
        time.sleep(0.005)
    gate.send_signal(number)
    return ended(gate, within_s=_GENEROUS_S)


def _keys(draws: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(draw["cell"], draw["purpose"], draw["number"]) for draw in draws]


@pytest.fixture(scope="module", params=[signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def interrupted(
    request: pytest.FixtureRequest,
    hosted_once: HostedWorkspace,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[HostedWorkspace, Ran]:
    """Return a check that was interrupted after the second look at one of two cells."""
    workspace = hosted_once.hosted_copy(tmp_path_factory.mktemp("interrupted"))
    nan = Rule(effect=Put(value=math.nan), text="plane")
    moved = Rule(effect=Shift(nats=-3.0), text="nine")
    with serving(conduct=_SLOW, rules=[nan, moved]) as server:
        ran = _stopped(workspace, server, request.param, "check", calls=10)
    return workspace, ran


def test_an_interruption_is_130(interrupted: tuple[HostedWorkspace, Ran]) -> None:
    """Neither a pass nor a finding, and no traceback."""
    _, ran = interrupted

    assert (ran.code, "Traceback" in ran.err) == (130, False)


def test_a_partial_report_keeps_the_findings(interrupted: tuple[HostedWorkspace, Ran]) -> None:
    """The report is marked as partial, and has the earlier invalid answer."""
    workspace, _ = interrupted
    document = workspace.document()

    assert (document["result"]["report"]["interrupted"], document["exit_code"]) == (True, 130)
    assert workspace.logprob_verdicts() == {PLANE: "invalid", TRAIN: "inconclusive"}


def test_draws_so_far_are_in_the_log(interrupted: tuple[HostedWorkspace, Ran]) -> None:
    """Every answer that arrived is there, once."""
    keys = _keys(interrupted[0].draws())

    assert set(keys) >= {
        *((PLANE, "first_look", number) for number in (1, 2)),
        *((TRAIN, "first_look", number) for number in range(1, 6)),
        (TRAIN, "control", 1),
        (TRAIN, "second_look", 1),
    }
    assert len(set(keys)) == len(keys)


# An agreeing cell may be settled early, before its other draws are asked for.
@pytest.mark.parametrize("calls", [2, 12], ids=["first look", "second look"])
def test_a_killed_check_resumes_where_it_was(hosted: HostedWorkspace, calls: int) -> None:
    """No logged draw is repeated, and the report is that of an uninterrupted check."""
    with serving(conduct=_SLOW, rules=_CHANGED) as server:
        killed = _stopped(hosted, server, signal.SIGKILL, "check", calls=calls)
        known = hosted.draws()
        before = len(server.requests)
        ran = hosted.check("--resume")
        asked = len(server.requests) - before
        resumed, draws = hosted.suite(), hosted.draws()
        hosted.check()

    assert (killed.code, len(known) >= calls - 1) == (-signal.SIGKILL, True)
    assert (ran.code, hosted.logprob_verdicts()) == (10, {PLANE: "drift", TRAIN: "agrees"})
    spending = resumed.pop("spending")
    assert resumed == {name: value for name, value in hosted.suite().items() if name in resumed}
    assert (spending["calls"], spending["reused"]) == (asked, len(known))
    assert len(draws) == len(set(_keys(draws))) == len(known) + asked


@pytest.fixture(scope="module")
def finished(
    hosted_once: HostedWorkspace, tmp_path_factory: pytest.TempPathFactory
) -> HostedWorkspace:
    """Return a check that was finished, at a server that is gone by now."""
    workspace = hosted_once.hosted_copy(tmp_path_factory.mktemp("finished"))
    with serving() as server:
        workspace.ask(server.base_url)
        assert workspace.check().code == 0
    return workspace


def test_known_draws_are_not_asked_for(finished: HostedWorkspace) -> None:
    """A check whose every draw is known has its verdicts without a server, however fast."""
    finished.ask("http://127.0.0.1:9/v1", provider={"concurrency": 2, "attempts": 1})
    before = len(finished.draws())

    ran = finished.check("--resume")

    assert (ran.code, finished.suite()["spending"]["calls"]) == (0, 0)
    assert len(finished.draws()) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": {"draws": 6}},
        {"items": {"plane": ITEMS["plane"], "train": {"prompt": "x", "response": "y"}}},
    ],
    ids=["tolerance", "definition"],
)
def test_draws_of_another_plan_are_not_reused(
    finished: HostedWorkspace, changes: dict[str, Any]
) -> None:
    """The comparison must not change in the middle; the log stays as it was."""
    finished.ask("http://127.0.0.1:9/v1", **changes)
    log = (finished.output / "draws.jsonl").read_bytes()

    ran = finished.check("--resume")

    message = "repro-gate: .repro-gate/draws.jsonl: line 1: expected the draws of the plan "
    assert (ran.code, message in ran.err) == (3, True)
    assert (finished.output / "draws.jsonl").read_bytes() == log


@pytest.fixture(scope="module", params=[signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def stopped_recording(
    request: pytest.FixtureRequest, cache: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HostedWorkspace, Ran, int, dict[str, bytes]]:
    """Return a recording that was stopped and resumed, the calls of both, and what was between."""
    folder = tmp_path_factory.mktemp("stopped")
    workspace = HostedWorkspace(folder=folder, cache=cache, key=KEY)
    with serving(conduct=_SLOW) as server:
        arguments = ("record-baseline", "--suite", "hosted", "--yes")
        stopped = _stopped(
            workspace, server, request.param, *arguments, calls=9 + CALLS_PER_COMPARISON
        )
        between = contents_of(workspace.folder)
        known = len(workspace.draws("calibration.jsonl"))
        before = len(server.requests)
        assert workspace.calibrate("--resume").code == 0
        # The tokens of two texts are requested again, and the echo is compared again.
        assert len(server.requests) - before == 2 + CALLS_PER_COMPARISON + 20 + 1 - known
    return workspace, stopped, known, between


def test_a_stopped_recording_writes_no_baseline(
    stopped_recording: tuple[HostedWorkspace, Ran, int, dict[str, bytes]],
) -> None:
    """An incomplete calibration is not recorded; its draws are in the log."""
    _, stopped, known, between = stopped_recording

    assert stopped.code in {130, -signal.SIGKILL}
    assert between.keys() == {
        "repro-gate.toml",
        ".repro-gate/.gitignore",
        ".repro-gate/calibration.jsonl",
    }
    assert known >= 6


def test_a_resumed_recording_is_whole(
    stopped_recording: tuple[HostedWorkspace, Ran, int, dict[str, bytes]],
) -> None:
    """Its baselines have every draw, each once, and the policy its control."""
    workspace, *_ = stopped_recording

    assert contents_of(workspace.baselines).keys() == {f"{PLANE}.json", f"{TRAIN}.json"}
    draws = workspace.draws("calibration.jsonl")
    assert sorted(_keys(draws)) == sorted(
        [
            (PLANE, "control", 1),
            *((cell, "calibration", number) for cell in (PLANE, TRAIN) for number in range(1, 11)),
        ]
    )
