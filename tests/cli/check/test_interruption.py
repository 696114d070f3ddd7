"""Ctrl-C and a cancelled job: measured cells are kept, and no process is left."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.workspaces import PATIENCE_S, Ran, Workspace, contents_of, ended

_GENEROUS_S = 5.0
"""The gate needs a fraction of a second; a busy machine may need more."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupted(workspace: Workspace, number: signal.Signals, *arguments: str) -> Ran:
    """Run a command whose engine falls asleep over the fox, and stop it there."""
    workspace.write_script({"method": "generate", "prompt": "Say fox", "sleep": 600})
    gate = workspace.start(*arguments)
    workspace.wait_until_asked("Say fox")
    gate.send_signal(number)
    return ended(gate, within_s=_GENEROUS_S)


def _without_fresh_runs(workspace: Workspace) -> None:
    prompts = {"tiny": ["haiku", "fox"]}
    suite = {"runs": 2, "fresh_runs": 0, "seeds": [1, 2], "prompts": prompts}
    workspace.write_matrix(suites={"quick": suite})


@pytest.fixture(scope="module", params=_NUMBERS, ids=lambda each: each.name)
def interrupted(
    request: pytest.FixtureRequest,
    recorded_once: Workspace,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Workspace, Ran]:
    """Return a check that was stopped when half of its cells were measured."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("interrupted"))
    _without_fresh_runs(workspace)
    return workspace, _interrupted(workspace, request.param, "check")


def test_an_interruption_is_130(interrupted: tuple[Workspace, Ran]) -> None:
    """Neither a pass nor a finding: the shell sees 130, and a person the word."""
    _, ran = interrupted

    assert ran.code == 130
    assert "inconclusive (partial): 2 match, 2 inconclusive;" in ran.out


def test_a_partial_report_is_marked(interrupted: tuple[Workspace, Ran]) -> None:
    """The report is written, and marked as interrupted."""
    document = interrupted[0].document()

    assert (document["result"]["report"]["interrupted"], document["exit_code"]) == (True, 130)
    assert "**Partial**" in (interrupted[0].output / "report.md").read_text("utf-8")


def test_measured_cells_keep_their_verdict(interrupted: tuple[Workspace, Ran]) -> None:
    """What was measured before the interruption is known; the rest is inconclusive."""
    assert interrupted[0].verdicts() == {
        "tiny--haiku--seed1": "match",
        "tiny--haiku--seed2": "match",
        "tiny--fox--seed1": "inconclusive",
        "tiny--fox--seed2": "inconclusive",
    }


def test_no_engine_is_left_behind(interrupted: tuple[Workspace, Ran]) -> None:
    """A busy engine that does not respond is stopped too."""
    workspace, _ = interrupted

    assert workspace.asked("start")
    assert workspace.engines_alive() == []


_SLOW = """
import os

# What leaves the report imports it once more, and must not wait.
if path := os.environ.pop("SLOW_PIPE", None):
    with open(path) as pipe:
        pipe.read()

user_cache_path = None
"""
"""In place of a package that a check imports once it has begun: it waits to be interrupted."""


def _importing(workspace: Workspace, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command and return it when it is in the middle of its imports, with the pipe."""
    folder = workspace.folder / "slow"
    folder.mkdir()
    (folder / "platformdirs.py").write_text(_SLOW, "utf-8")
    os.mkfifo(folder / "pipe")
    slow = {"PYTHONPATH": str(folder), "SLOW_PIPE": str(folder / "pipe")}
    gate = workspace.start(*arguments, env=workspace.environment(**slow))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return gate, os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline, "nobody imports it"
            time.sleep(0.01)


def test_an_early_interruption_leaves_nothing_of_an_earlier_check(recorded: Workspace) -> None:
    """A check that was stopped while it was starting does not pass by an old report."""
    assert recorded.run("check", "--shard", "1/1").code == 0
    gate, writing = _importing(recorded, "check")

    gate.send_signal(signal.SIGINT)
    # A signal just before it waits is seen when it has waited: so the waiting ends here.
    os.close(writing)
    ran = ended(gate)

    assert (ran.code, ran.out, ran.err) == (130, "", "repro-gate: interrupted\n")
    failure = {
        "kind": "unfinished",
        "exit_code": 130,
        "message": "interrupted",
        "remedy": "run the command again",
    }
    assert recorded.document()["result"] == failure
    left = {file.name for file in recorded.output.iterdir()}
    assert left == {".gitignore", "report.json"}


def test_many_signals_at_once_are_one(recorded: Workspace) -> None:
    """An impatient runner does not keep the report from being written."""
    _without_fresh_runs(recorded)
    recorded.write_script({"method": "generate", "prompt": "Say fox", "sleep": 600})
    gate = recorded.start("check")
    recorded.wait_until_asked("Say fox")

    deadline = time.monotonic() + PATIENCE_S
    while gate.poll() is None and time.monotonic() < deadline:
        gate.send_signal(signal.SIGTERM)
        gate.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    ran = ended(gate)

    assert (ran.code, recorded.report()["interrupted"]) == (130, True)


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize("steps", [3, 12, 40])
def test_no_moment_is_too_early_for_a_signal(
    recorded: Workspace, number: signal.Signals, steps: int
) -> None:
    """During any import: the exit code is right, and no report of an earlier check stays."""
    (recorded.output / "shard.json").parent.mkdir(exist_ok=True)
    (recorded.output / "report.json").write_text('{"outcome": "passed"}', "utf-8")
    # The signals come from the program itself, when so many of its modules have been imported.
    hook = (
        "import os, sys\n"
        "class Finder:\n"
        "    left = int(os.environ['STEPS'])\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('repro_gate.') and name != 'repro_gate.cli.signals':\n"
        "            Finder.left -= 1\n"
        "            if Finder.left == 0:\n"
        "                for _ in range(10): os.kill(os.getpid(), int(os.environ['NUMBER']))\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    folder = recorded.folder / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(hook, "utf-8")
    changes = {"PYTHONPATH": str(folder), "STEPS": str(steps), "NUMBER": str(int(number))}

    ran = recorded.run("check", **changes)

    assert ran.code == 130
    assert "Traceback" not in ran.err
    report = recorded.output / "report.json"
    assert not report.exists() or recorded.document()["exit_code"] == 130


def test_an_early_end_leaves_nothing_of_an_earlier_check(recorded: Workspace) -> None:
    """Nor does one that was killed there."""
    assert recorded.run("check", "--shard", "1/1").code == 0
    gate, writing = _importing(recorded, "check")

    gate.kill()
    ended(gate)

    os.close(writing)
    assert {file.name for file in recorded.output.iterdir()} == {".gitignore"}


def test_fail_on_never_does_not_hide_an_interruption(recorded: Workspace) -> None:
    """A check that was cancelled has no verdicts that could be ignored."""
    assert _interrupted(recorded, signal.SIGTERM, "check", "--fail-on", "never").code == 130


def test_an_interrupted_update_writes_nothing(recorded: Workspace) -> None:
    """A recording is written whole or not at all."""
    before = contents_of(recorded.snapshots)

    ran = _interrupted(recorded, signal.SIGINT, "update-snapshots", "--yes")

    assert (ran.code, contents_of(recorded.snapshots)) == (130, before)
    assert "repro-gate: interrupted; nothing was written\n" in ran.err


def test_a_killed_gate_leaves_no_working_engine(recorded: Workspace, tmp_path: Path) -> None:
    """An engine whose gate is gone meets the end of its stdin and ends too."""
    recorded.write_script({"method": "generate", "prompt": "Say fox", "sleep": 0.3})
    gate = recorded.start("check")
    recorded.wait_until_asked("Say fox")
    gate.kill()
    ended(gate)

    assert recorded.engines_alive_after(_GENEROUS_S) == []
