"""`repro-gate watch state` and `verify`: what the stored nights show, without a draw."""

import json as json_format
from collections.abc import Callable
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

from repro_gate.adapters.files.codec import encode
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.adapters.history.index import FILE as INDEX
from repro_gate.checks.watch.state import status_of, stored_nights
from repro_gate.cli import wiring
from repro_gate.cli.terminal.console import print_line, print_result
from repro_gate.cli.watch.suites import WatchedSuite
from repro_gate.core.outcome import ExitCode
from repro_gate.core.watch.status import WatchStatus, exit_code_of
from repro_gate.errors import InputInvalid
from repro_gate.reports.text.format import plural
from repro_gate.reports.watch.data import StateData, state_data
from repro_gate.reports.watch.words import headline_of, render_status, render_status_markdown


def run_state(
    suite: WatchedSuite,
    history: Path,
    *,
    json: bool = False,
    markdown: bool = False,
    now: Callable[[], str] = wiring.now,
) -> ExitCode:
    """Print the state of a watch, and return its exit code."""
    status = read_status(suite, history, now=now())
    print_result(shown(status, json=json, markdown=markdown))
    return exit_code_of(status.state)


def read_status(suite: WatchedSuite, history: Path, *, now: str) -> WatchStatus:
    """Return the status of a watch from its file and its nights; raises `InputInvalid`."""
    watch = suite.watch()
    with closing(HistoryFolder(history)) as reader:
        return status_of(suite.plan, watch, history=reader, now=now)


def shown(status: WatchStatus, *, json: bool, markdown: bool = False) -> str:
    """Return the status in the format that is asked for."""
    if json:
        return f"{json_format.dumps(encode(state_data(status), StateData), indent=2)}\n"
    return render_status_markdown(status) if markdown else render_status(status)


def run_verify(
    suite: WatchedSuite, history: Path, *, now: Callable[[], str] = wiring.now
) -> ExitCode:
    """Read every closed file again, compare the index with them, and print the state.

    Raises:
        InputInvalid: a file is not as it was written, or the index has other draws than the files.
    """
    watch = suite.watch()
    if watch is None:
        return run_state(suite, history, now=now)
    with (
        closing(HistoryFolder(history)) as indexed,
        closing(HistoryFolder(history, keeps_index=False)) as read,
    ):
        nights = stored_nights(watch.epoch, read)
        for stored, found in zip_longest(stored_nights(watch.epoch, indexed), nights):
            if stored != found:
                key = (found or stored).key
                raise InputInvalid.at(
                    history / INDEX,
                    "",
                    expected="the draws of the session files",
                    found=f"others in the night {key}; remove the index, and it is made again",
                )
        status = status_of(suite.plan, watch, history=read, now=now())
    print_line(f"verified {plural(len(nights), 'night')} of {suite.name} in {history}")
    print_line(headline_of(status))
    return ExitCode.PASSED if nights else ExitCode.INCONCLUSIVE
