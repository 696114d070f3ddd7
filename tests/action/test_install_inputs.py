"""install.sh refuses a wrong input in a way that can still be shown on the pull request."""

import re
from pathlib import Path

import pytest

from repro_gate.adapters.files.results import read_report
from repro_gate.core.comments import DEFAULT_NAME, CommentMode, CommentState, Marker, RunId
from repro_gate.core.outcome import FailOn
from repro_gate.core.report import UnfinishedCheck
from tests.action.files import ROOT
from tests.action.script import SCRIPT, Machine, Result

_INVALID = {
    "accelerator": ("gpu", "expected cpu, cuda or none, got gpu"),
    "artifact-name": (
        "gate/1",
        "expected 1 to 100 letters, digits, dots, dashes and underscores, got gate/1",
    ),
    "cache": ("yes", "expected true or false, got yes"),
    "comment": ("allways", "expected auto, always or never, got allways"),
    "cuda-architecture": (
        "9.0",
        "expected a capability without its dot, such as 90, or nothing, got 9.0",
    ),
    "fail-on": ("finding", "expected inconclusive, findings or never, got finding"),
    "python-version": ("3.9", "expected a version from 3.11 to 3.14, got 3.9"),
    "working-directory": ("gates/gone", "there is no folder gates/gone"),
}


def _variable(name: str) -> str:
    return f"SETUP_{name.upper().replace('-', '_')}"


def _is_a_name(text: str) -> bool:
    try:
        Marker(name=text, run=RunId(1, 1), state=CommentState.RUNNING)
    except ValueError:
        return False
    return True


def _left_behind(result: Result) -> tuple[int, str]:
    """Return what `publish` finds."""
    left = read_report(Path(result.outputs["report"]), max_bytes=1 << 20)
    assert isinstance(left, UnfinishedCheck)
    return left.exit_code, left.message


@pytest.mark.parametrize("name", _INVALID)
def test_an_unknown_value_is_refused(machine: Machine, name: str) -> None:
    """A wrong input ends with 2, names what was expected, and `publish` can report it."""
    value, message = _INVALID[name]
    given = {"SETUP_ACCELERATOR": "cuda"} | {_variable(name): value}
    result = machine.run("gate", **given)
    assert (result.code, result.printed) == (2, f"::error title=repro-gate::{name}: {message}\n")
    assert result.outputs["refused"] == name
    assert Path(result.outputs["command"]).is_file()
    assert _left_behind(result) == (2, f"{name}: {message}")


@pytest.mark.parametrize("name", _INVALID)
def test_a_hostile_value_stays_one_line(machine: Machine, name: str) -> None:
    """A value cannot give commands to the runner, nor to the shell."""
    hostile = "cpu\n::add-mask::x $(touch here) `touch here`"
    given = {"SETUP_ACCELERATOR": "cuda"} | {_variable(name): hostile}
    result = machine.run("gate", **given)
    assert (result.code, result.printed.count("\n")) == (2, 1)
    assert list(machine.workspace.iterdir()) == []


def test_every_wrong_input_is_told_at_once(machine: Machine) -> None:
    """Nobody has to start a job again for the second one."""
    result = machine.run("gate", SETUP_COMMENT="allways", SETUP_FAIL_ON="finding")
    assert (result.code, result.outputs["refused"]) == (2, "comment fail-on")
    printed = [f"{name}: {_INVALID[name][1]}" for name in ("comment", "fail-on")]
    assert _left_behind(result) == (2, "\n".join(printed))


def test_a_version_that_is_refused_is_not_installed(machine: Machine) -> None:
    """`publish` then runs with the oldest Python."""
    machine.run("gate", SETUP_PYTHON_VERSION="3.9")
    assert ">=3.11,<3.15" in machine.calls()[0].arguments


@pytest.mark.parametrize(("version", "code"), [("3.11", 0), ("3.14", 0), ("3.10", 2), ("3.15", 2)])
def test_a_python_has_a_wheel_of_every_package(machine: Machine, version: str, code: int) -> None:
    """An older or later one would build packages, with tools that nothing pins."""
    assert machine.run("gate", SETUP_PYTHON_VERSION=version).code == code


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "docs/how-to/gate-a-pull-request.md"]
)
def test_the_pages_name_the_versions_that_the_action_takes(name: str) -> None:
    """A reader with a later Python alone does not install the oldest one for nothing."""
    versions = re.findall(r"Python (3\.\d+(?: to 3\.\d+)?)", (ROOT / name).read_text("utf-8"))
    assert set(versions) == {"3.11 to 3.14"}


@pytest.mark.parametrize(
    ("name", "values"),
    [("comment", [*CommentMode]), ("fail-on", [*FailOn]), ("artifact-name", [DEFAULT_NAME])],
)
def test_what_the_command_line_takes_is_not_refused(
    machine: Machine, name: str, values: list[str]
) -> None:
    """Each value of an option is one of its input."""
    assert values
    assert {machine.run("gate", **{_variable(name): value}).code for value in values} == {0}


def test_an_artifact_name_is_a_name_of_a_gate() -> None:
    """The action and the command line take the same ones."""
    written = re.search(
        r"^ +expect artifact-name \S+ '([^']+)'", SCRIPT.read_text("utf-8"), re.MULTILINE
    )
    assert written is not None
    ascii_ = [chr(code) for code in range(128)]
    names = ["", "\u00e9", *ascii_, *(f"a{each}" for each in ascii_), "a" * 100, "a" * 101]
    assert {name for name in names if re.fullmatch(written[1], name)} == set(
        filter(_is_a_name, names)
    )


def test_one_task_at_a_time(machine: Machine) -> None:
    """To measure a shard and to merge shards are two jobs."""
    result = machine.run("gate", SETUP_TASKS="shard merge ")
    assert result.code == 2
    assert "shard, merge and report: expected one of them at most" in result.printed


@pytest.mark.parametrize("task", ["shard  ", " merge ", "  report"])
def test_each_task_is_possible(machine: Machine, task: str) -> None:
    """Each of the three by itself is accepted."""
    assert machine.run("gate", SETUP_TASKS=task).code == 0


def test_the_base_is_not_taken_for_a_pull_request(machine: Machine) -> None:
    """Under `pull_request_target` the branch is checked out that is merged into."""
    result = machine.run("gate", GITHUB_EVENT_NAME="pull_request_target")
    printed = "event: pull_request_target runs the base with your rights; use pull_request"
    assert (result.code, result.printed) == (2, f"::error title=repro-gate::{printed}\n")
    assert machine.run("gate", GITHUB_EVENT_NAME="pull_request").code == 0


def test_an_architecture_needs_cuda(machine: Machine) -> None:
    """An input that would change nothing is an error, not a disappointment."""
    result = machine.run("gate", SETUP_CUDA_ARCHITECTURE="90")
    assert result.code == 2
    assert "expected nothing unless accelerator is cuda" in result.printed
