"""Closed pipes, closed streams, and a full disk behind stdout."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workspaces import Workspace, ended

_FULL = Path("/dev/full")
_OTHER_TOKENS = {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]}
_DRIFT = {"method": "generate", "prompt": "Say fox", "seed": 1, "result": _OTHER_TOKENS}


def test_a_reader_that_leaves_does_not_change_the_code(recorded: Workspace) -> None:
    """`check | head` ends with the code of the check, and without a word of Python's."""
    ours, theirs = os.pipe()
    os.close(ours)
    gate = recorded.start("check", "--quiet", stdout=theirs)
    os.close(theirs)

    ran = ended(gate)

    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(("rules", "code"), [([], 0), ([_DRIFT], 10)], ids=["pass", "finding"])
def test_a_full_disk_behind_a_stream_does_not_change_the_verdict(
    recorded: Workspace, stream: str, rules: list[Mapping[str, Any]], code: int
) -> None:
    """The reports in the folder decide, and stderr mentions the lost output."""
    recorded.write_script(*rules)
    with _FULL.open("wb") as full:
        streams: dict[str, Any] = {stream: full}
        ran = ended(recorded.start("check", **streams))

    message = "repro-gate: the result cannot be printed: No space left on device\n"
    assert (ran.code, recorded.document()["exit_code"]) == (code, code)
    assert ran.err.endswith(message if stream == "stdout" else "")


def test_a_broken_matrix_is_3_even_if_stderr_is_closed(workspace: Workspace) -> None:
    """The exit code is not that of the stream."""
    workspace.write_matrix(runs="ten")
    with _FULL.open("wb") as full:
        ran = ended(workspace.start("check", stdout=full, stderr=full))

    assert ran.code == 3


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor"], ["models", "list"]])
def test_lost_output_without_a_report_is_4(workspace: Workspace, arguments: list[str]) -> None:
    """Output that is only printed is not a pass when it is lost, nor a traceback."""
    with _FULL.open("wb") as full:
        ran = ended(workspace.start(*arguments, stdout=full))

    message = "repro-gate: the result cannot be printed: No space left on device\n"
    assert (ran.code, ran.err) == (4, message)


@pytest.mark.parametrize("arguments", [["--help"], ["doctor"], ["models", "list"]])
def test_a_closed_pipe_is_not_a_failure(workspace: Workspace, arguments: list[str]) -> None:
    """`doctor | true` exits with 0."""
    assert workspace.run(*arguments).code == 0
    ours, theirs = os.pipe()
    os.close(ours)
    gate = workspace.start(*arguments, stdout=theirs)
    os.close(theirs)

    ran = ended(gate)

    assert (ran.code, ran.err) == (0, "")


def test_closed_streams_do_not_change_the_code(recorded: Workspace) -> None:
    """Without any stdout or stderr the reports are still written."""
    gate = recorded.start("check", after="os.close(1); os.close(2)")

    assert (ended(gate).code, recorded.document()["outcome"]) == (0, "passed")


def test_a_closed_stdin_is_no_terminal(workspace: Workspace) -> None:
    """An update that cannot ask exits with an error."""
    ran = ended(workspace.start("update-snapshots", after="os.close(0)"))

    assert (ran.code, "stdin is not a terminal" in ran.err) == (2, True)


def test_unencodable_characters_are_escaped(recorded: Workspace) -> None:
    """An ASCII terminal gets escapes for the output of a model."""
    snow = {"tokens": [[7, "\N{SNOWMAN}".encode().hex()]]}
    recorded.write_script({"method": "generate", "prompt": "Say fox", "seed": 1, "result": snow})

    ran = recorded.run("check", PYTHONIOENCODING="ascii")

    assert (ran.code, r'7 "\u2603"' in ran.out) == (10, True)


def test_output_is_unbuffered_where_the_environment_asks_for_it() -> None:
    """A log then has the lines of stdout and stderr in the order in which they were printed."""
    program = (
        "import os; from repro_gate.cli.terminal import console\n"
        "console.guard_streams(); print('shown'); os._exit(0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == b"shown\n"
