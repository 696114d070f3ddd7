"""Nobody reads, nobody can read, or the disk behind stdout is full."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.workspaces import Workspace, ended

_FULL = Path("/dev/full")


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_a_reader_that_leaves_does_not_change_the_code(recorded: Workspace, option: str) -> None:
    """`check | head` ends with the code of the check, and without a word of Python's."""
    ours, theirs = os.pipe()
    os.close(ours)
    gate = recorded.start("check", option, stdout=theirs)
    os.close(theirs)

    ran = ended(gate)

    assert (ran.code, ran.err) == (0, "")


def test_a_result_that_cannot_be_printed_is_no_pass(recorded: Workspace) -> None:
    """A full disk behind stdout is told, and a script that redirects does not see 0."""
    with _FULL.open("wb") as full:
        ran = ended(recorded.start("check", "--json", stdout=full))

    said = "repro-gate: the result cannot be printed: No space left on device\n"
    assert (ran.code, ran.err) == (4, said)


def test_a_closed_stdout_does_not_change_the_code(recorded: Workspace) -> None:
    """Without any stdout the reports are still written."""
    gate = recorded.start("check", "--quiet", after="os.close(1)")

    assert (ended(gate).code, recorded.report()["outcome"]) == (0, "passed")


def test_a_closed_stdin_is_no_terminal(workspace: Workspace) -> None:
    """An update that cannot ask anybody says so."""
    ran = ended(workspace.start("update-snapshots", after="os.close(0)"))

    assert (ran.code, "nobody can be asked" in ran.err) == (2, True)


def test_a_log_that_knows_no_unicode_gets_numbers(recorded: Workspace) -> None:
    """A model that speaks of snow breaks no terminal of 1963."""
    snow = {"tokens": [[7, "\N{SNOWMAN}".encode().hex()]]}
    recorded.write_script({"method": "generate", "prompt": "Say fox", "seed": 1, "result": snow})

    ran = recorded.run("check", PYTHONIOENCODING="ascii")

    assert (ran.code, r'7 "\u2603"' in ran.out) == (10, True)


def test_a_check_at_a_console_that_has_gone_is_a_check(recorded: Workspace) -> None:
    """Progress that nobody can be told does not end the work."""
    gate = recorded.start("check", after="os.close(2)", stderr=subprocess.DEVNULL)

    assert ended(gate).code == 0
