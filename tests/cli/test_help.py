"""The help texts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import repro_gate
from tests.cli.workspaces import Ran, Workspace, ended

_COMMANDS = [
    [],
    ["demo"],
    ["init"],
    ["check"],
    ["axes"],
    ["explain"],
    ["lint"],
    ["merge"],
    ["probe"],
    ["publish"],
    ["record-baseline"],
    ["review"],
    ["update-snapshots"],
    ["sign-off"],
    ["countersign"],
    ["waive"],
    ["verify"],
    ["settings"],
    ["doctor"],
    ["accept"],
    ["accept", "find"],
    ["accept", "record"],
    ["accept", "answer"],
    ["history"],
    ["history", "add"],
    ["history", "export"],
    ["history", "show"],
    ["watch"],
    ["watch", "open"],
    ["watch", "night"],
    ["watch", "state"],
    ["watch", "verify"],
    ["watch", "accept"],
    ["watch", "dismiss"],
    ["models"],
    ["models", "list"],
    ["models", "fetch"],
    ["models", "verify"],
]


@pytest.fixture(scope="module", params=_COMMANDS, ids=" ".join)
def helped(request: pytest.FixtureRequest, recorded_once: Workspace) -> tuple[list[str], Ran]:
    """Return a command and its help at a terminal of 80 columns."""
    return request.param, recorded_once.run(*request.param, "--help", COLUMNS="80")


def test_help_is_for_the_command(helped: tuple[list[str], Ran]) -> None:
    """It shows the usage on stdout, and exits with 0."""
    command, ran = helped

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: python -m repro_gate {' '.join(command)}".rstrip())


def test_help_lists_the_exit_codes(helped: tuple[list[str], Ran]) -> None:
    """Each exit code with its meaning."""
    lines = helped[1].out.partition("Exit codes:\n")[2].splitlines()

    codes = {int(line.split()[0]): line.split()[1].rstrip(";:") for line in lines}
    assert codes == {
        0: "everything",
        2: "wrong",
        3: "an",
        4: "inconclusive",
        10: "findings",
        130: "interrupted",
    }


def test_help_fits_a_narrow_terminal(helped: tuple[list[str], Ran]) -> None:
    """No line is wider than 80 columns."""
    assert max(map(len, helped[1].out.splitlines())) <= 80


def test_help_shows_no_python_types(helped: tuple[list[str], Ran]) -> None:
    """Metavars describe the value; `<list[str]>` does not help."""
    assert re.findall(r"<[^>]*>?|\w+ range\b|\w+\[\w+\]", helped[1].out) == []


def test_no_command_shows_the_help(workspace: Workspace) -> None:
    """The bare program lists its commands."""
    ran = workspace.run()

    assert ran.code == 2
    assert "update-snapshots" in ran.out + ran.err


def test_a_version_is_one_line(workspace: Workspace) -> None:
    """It is the version of the package."""
    assert workspace.run("--version").out == f"repro-gate {repro_gate.__version__}\n"


def test_a_completion_script_is_printed(workspace: Workspace) -> None:
    """For the shell that is asked for."""
    program = Path(sys.executable).with_name("repro-gate")

    ran = ended(
        subprocess.Popen(
            [program],
            env=workspace.environment(_REPRO_GATE_COMPLETE="source_bash"),
            stdout=subprocess.PIPE,
        )
    )

    assert (ran.code, "complete -o default -F _repro_gate_completion" in ran.out) == (0, True)
