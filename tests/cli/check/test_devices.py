"""`check --devices`: several engines share the work, and the report is that of one device."""

import signal
import time
from typing import Any

import pytest

from repro_gate.protocol import DEVICE_FORM
from tests.cli.workspaces import PATIENCE_S, Ran, Workspace, ended

_GENEROUS_S = 10.0
"""The gate needs a fraction of a second; a busy machine may need more."""
_OTHER_TOKENS = {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]}
_DRIFT = {"method": "generate", "prompt": "Say fox", "seed": 1, "result": _OTHER_TOKENS}


def _report(workspace: Workspace) -> Any:
    """Return the last report without its times and the options of its command."""
    report = workspace.report()
    return {key: report[key] for key in report.keys() - {"started_at", "timing", "repeat_with"}}


def test_two_devices_give_the_report_of_one(recorded: Workspace) -> None:
    """Cells, verdicts, controls and exit code are the same."""
    recorded.write_script(_DRIFT)
    codes = [recorded.run("check").code]
    alone = _report(recorded)

    codes.append(recorded.run("check", "--devices", "cpu, cpu").code)

    assert (codes, _report(recorded)) == ([10, 10], alone)
    # Each device has shown that it can fail, in the way in which one alone would have shown it.
    assert [bool(control["divergence"]) for control in alone["controls"]] == [True, True]


def test_devices_can_be_named_by_a_variable(recorded: Workspace) -> None:
    """Of more devices than cells the last ones have nothing to do."""
    only = ("--only", "tiny--fox--*")

    ran = recorded.run("check", "--quiet", *only, REPRO_GATE_DEVICES="cpu,cpu,cpu")

    assert (ran.code, ran.out.startswith("passed: 2 match;")) == (0, True)
    assert len(recorded.asked("describe")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--devices", "cpu,tpu"), f"a device is {DEVICE_FORM}, not 'tpu'"),
        (("--devices", "cpu,"), f"a device is {DEVICE_FORM}, not ''"),
        (
            ("--devices", "cpu,cpu", "--device", "cpu"),
            "--device and --devices exclude each other",
        ),
    ],
    ids=["unknown", "empty", "both-options"],
)
def test_invalid_devices_are_2(
    workspace: Workspace, arguments: tuple[str, ...], message: str
) -> None:
    """No engine is started for an invalid list."""
    ran = workspace.run("check", *arguments)

    assert (ran.code, ran.out, ran.err) == (2, "", f"repro-gate: {message}\n")
    assert workspace.asked("start") == []


def _wait_for_both(workspace: Workspace) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len({asked["pid"] for asked in workspace.asked() if asked["seed"] == 2}) < 2:
        assert time.monotonic() < deadline, "the engines were never asked"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def interrupted(
    recorded_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Ran]:
    """Return a check that was stopped while each of its two engines was busy."""
    workspace = recorded_once.copied_to(tmp_path_factory.mktemp("interrupted"))
    prompts = {"tiny": ["haiku", "fox"]}
    suite = {"runs": 2, "fresh_runs": 0, "seeds": [1, 2], "prompts": prompts}
    workspace.write_matrix(suites={"quick": suite})
    workspace.write_script({"method": "generate", "seed": 2, "sleep": 600})
    gate = workspace.start("check", "--devices", "cpu,cpu")
    _wait_for_both(workspace)
    gate.send_signal(signal.SIGINT)
    return workspace, ended(gate, within_s=_GENEROUS_S)


def test_ctrl_c_stops_all_engines(interrupted: tuple[Workspace, Ran]) -> None:
    """The shell sees 130, and no engine is left behind, however busy it was."""
    workspace, ran = interrupted

    assert ran.code == 130
    assert len(workspace.asked("start")) == 2
    assert workspace.engines_alive() == []


def test_what_every_engine_measured_is_kept(interrupted: tuple[Workspace, Ran]) -> None:
    """The report is partial, and has a verdict on each cell that was measured on either device."""
    workspace, ran = interrupted

    assert "inconclusive (partial): 2 match, 2 inconclusive;" in ran.out
    assert workspace.report()["interrupted"] is True
    assert workspace.verdicts() == {
        "tiny--haiku--seed1": "match",
        "tiny--haiku--seed2": "inconclusive",
        "tiny--fox--seed1": "match",
        "tiny--fox--seed2": "inconclusive",
    }
