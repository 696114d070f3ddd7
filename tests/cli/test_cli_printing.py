"""Nobody reads, nobody can read, or the disk behind stdout is full."""

import os
from pathlib import Path

from tests.cli.workspaces import Workspace, ended

_FULL = Path("/dev/full")


def test_a_reader_that_leaves_does_not_change_the_code(recorded: Workspace) -> None:
    """`check | head` ends with the code of the check, and without a word of Python's."""
    ours, theirs = os.pipe()
    os.close(ours)
    gate = recorded.start("check", "--quiet", stdout=theirs)
    os.close(theirs)

    ran = ended(gate)

    assert (ran.code, ran.err) == (0, "")


def test_a_result_that_cannot_be_printed_is_no_pass(recorded: Workspace) -> None:
    """A full disk behind stdout is told, and a script that redirects does not see 0."""
    with _FULL.open("wb") as full:
        ran = ended(recorded.start("check", "--quiet", stdout=full))

    said = "repro-gate: the result cannot be printed: No space left on device\n"
    assert (ran.code, ran.err) == (4, said)


def test_closed_streams_do_not_change_the_code(recorded: Workspace) -> None:
    """Without any stdout or stderr the reports are still written."""
    gate = recorded.start("check", after="os.close(1); os.close(2)")

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
