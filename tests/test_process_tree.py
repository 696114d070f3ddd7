"""Processes are found by a mark in their environment, wherever they went."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from repro_gate.process_tree import kill_marked, marked
from tests.fakes.processes import is_running, wait_until_gone

_SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
_MARK = f"REPRO_GATE_TEST=of-{os.getpid()}"


@pytest.fixture(name="processes")
def _processes() -> Iterator[list[int]]:
    """Yield a process with the mark, one in a session of its own, and one with another mark."""
    name, _, value = _MARK.partition("=")
    started = [
        subprocess.Popen(_SLEEP, env={**os.environ, name: mark}, start_new_session=alone)
        for mark, alone in ((value, False), (value, True), (f"{value}0", False))
    ]
    yield [child.pid for child in started]
    for child in started:
        child.kill()
        child.wait()


def test_marked_processes_are_found(processes: list[int]) -> None:
    """In any session, and by the whole mark."""
    assert set(marked(_MARK)) == set(processes[:2])


def test_marked_processes_are_killed(processes: list[int]) -> None:
    """And no others."""
    kill_marked(_MARK)

    for number in processes[:2]:
        wait_until_gone(number)
    assert is_running(processes[2])


def test_nothing_is_found_where_processes_cannot_be_held(
    processes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a process may be reused before it is killed."""
    monkeypatch.delattr(os, "pidfd_open")

    kill_marked(_MARK)

    assert list(marked(_MARK)) == []
    assert all(map(is_running, processes))


def test_a_session_is_killed_as_a_whole(processes: list[int]) -> None:
    """Its processes may have lost their environment; some are spared."""
    own = processes[1]

    kill_marked("NO=mark", session=own, spare=frozenset({own}))
    assert is_running(own)
    kill_marked("NO=mark", session=own)

    wait_until_gone(own)
    assert all(map(is_running, (processes[0], processes[2])))
