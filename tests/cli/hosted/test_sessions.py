"""`record-baseline --add`: another session, and the same claim in every output."""

import signal
from dataclasses import replace

from repro_gate.adapters.files.snapshots import BaselineFiles
from repro_gate.core.logprobs.sessions import time_of
from tests.cli.hosted.workspaces import PLANE, SOURCE, TRAIN, HostedWorkspace
from tests.cli.workspaces import ended
from tests.fakes.fireworks.effects import Rule, Shift
from tests.fakes.fireworks.server import Api

_DAY = "2026-01-02T03:04:05+00:00"


def _age(workspace: HostedWorkspace) -> None:
    """Let the baselines be of an earlier day."""
    files = BaselineFiles(workspace.snapshots / "baselines")
    for cell in (PLANE, TRAIN):
        files.write(replace(files.read(SOURCE, cell), recorded_at=_DAY))


def test_a_session_is_added_after_a_look(hosted: HostedWorkspace, api: Api) -> None:
    """It takes no call for tokens; the list has the sessions, and the draws before."""
    _age(hosted)

    ran = hosted.calibrate("--add")

    assert (ran.code, len(api.requests)) == (0, 2 * 10 + 2 + 1)
    assert "extended   fake/base--plane\n           20 draws in 2 sessions of " in ran.out
    assert "           before: 10 draws of " in ran.out
    assert "hosted: false alarms: at most 1 % for the suite as a whole" in ran.out
    assert "like those of the 2 sessions recorded from 2026-01-02 03:04 UTC to 20" in ran.out
    assert "\n2 extended; 0 unchanged, 0 refused\n" in ran.out


def test_every_output_has_the_same_claim(hosted: HostedWorkspace, api: Api) -> None:
    """Of the sessions that differ: the terminal, both reports, a plan and a recording."""
    _age(hosted)
    api.follow(Rule(effect=Shift(nats=-3.0)))
    recorded = hosted.calibrate("--add").out
    api.follow()
    planned = hosted.check("--dry-run").out
    shown = hosted.check().out

    (suite,) = hosted.document()["false_alarms"]
    claim = suite["claim"]
    assert ". Sessions differed (p = 0.0005" in claim
    assert suite["suite"] == "hosted"
    assert f"hosted: false alarms: {claim}\n" in recorded
    assert f"suite hosted: false alarms: {claim}\n" in planned
    assert f"  false alarms  {claim}\n" in shown
    assert f"- **False alarms**: {claim}\n" in (hosted.output / "report.md").read_text("utf-8")


def test_a_session_of_the_same_hour_is_refused(hosted: HostedWorkspace, api: Api) -> None:
    """No call is made, and the least time is named."""
    ran = hosted.calibrate("--add")

    assert (ran.code, api.requests) == (4, [])
    assert "and draws within an hour of it are no other session\n" in ran.out
    assert "try: add one from 20" in ran.out


def test_adding_and_replacing_exclude_each_other(hosted: HostedWorkspace) -> None:
    """One of them keeps the draws before."""
    ran = hosted.calibrate("--add", "--again")

    assert ran.code == 2
    assert "--again replaces a baseline and --add extends it; choose one" in ran.err


def test_a_plan_of_a_session_has_its_calls(hosted: HostedWorkspace, api: Api) -> None:
    """Refused cells are not among them."""
    _age(hosted)

    ran = hosted.calibrate("--add", "--dry-run")

    assert (ran.code, api.requests) == (4, [])
    assert "suite hosted: 2 to record (extended), 10 draws each\n" in ran.out
    assert "suite hosted: 2 baselines, 23 to 27 calls, roughly " in ran.out


def test_draws_of_a_session_are_not_resumed_as_those_of_the_next(hosted: HostedWorkspace) -> None:
    """The log is of the baselines as they were."""
    _age(hosted)
    hosted.calibrate("--add")
    _age_sessions(hosted)

    ran = hosted.calibrate("--add", "--resume")

    assert ran.code == 3
    assert "start the check again without --resume" in ran.err


def _age_sessions(workspace: HostedWorkspace) -> None:
    """Let the second session be of an earlier day, too."""
    files = BaselineFiles(workspace.snapshots / "baselines")
    for cell in (PLANE, TRAIN):
        baseline = files.read(SOURCE, cell)
        first, second = baseline.sessions
        sessions = (first, replace(second, started_at="2026-01-03T03:04:05+00:00"))
        at = "2026-01-03T03:05:00+00:00"
        files.write(replace(baseline, sessions=sessions, recorded_at=at))


def test_a_second_look_waits_and_says_until_when(hosted: HostedWorkspace, api: Api) -> None:
    """Counted from the last draw of the first look."""
    hosted.ask(api.base_url, suite={"second_look_after_s": 3})
    api.follow(Rule(effect=Shift(nats=-3.0)))

    ran = hosted.check()

    assert ran.code == 10
    assert "repro-gate: the second look starts at 20" in ran.err
    assert "  second look   at least 3 s after the first, as another session\n" in ran.out
    looks = {draw["purpose"]: draw["facts"]["at"] for draw in reversed(hosted.draws())}
    apart = time_of(looks["second_look"]) - time_of(looks["first_look"])
    assert apart.total_seconds() >= 2


def test_an_interrupted_wait_is_resumed(hosted: HostedWorkspace, api: Api) -> None:
    """The draws of the first look are kept, and the time counts from them."""
    hosted.ask(api.base_url, suite={"second_look_after_s": 8})
    api.follow(Rule(effect=Shift(nats=-3.0)))
    check = hosted.start("check", "--suite", "hosted")
    assert check.stderr is not None
    while b"second look starts" not in check.stderr.readline():
        pass
    check.send_signal(signal.SIGINT)
    interrupted, asked = ended(check), len(api.requests)

    ran = hosted.check("--resume")

    assert (interrupted.code, ran.code) == (130, 10)
    assert len(api.requests) - asked == 10
