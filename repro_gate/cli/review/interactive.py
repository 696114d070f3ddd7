"""`repro-gate review`: the changes of a check at a terminal, one key for a decision."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import typer
from rich.console import Console

from repro_gate.adapters.files.atomic import sweep
from repro_gate.adapters.github.artifact import download_report
from repro_gate.cli import wiring
from repro_gate.cli.drift.stale import stale_lines
from repro_gate.cli.paths import REPORT, make_report_folder
from repro_gate.cli.review.session import ReviewedFolder
from repro_gate.cli.session import Session
from repro_gate.cli.terminal.console import print_line, refuse_under_ci, warn
from repro_gate.core.changes.review import (
    QUIT,
    Change,
    Decision,
    Order,
    ReviewState,
    begin,
    exit_code_of,
    step,
)
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from repro_gate.reports.findings.changes import command_lines, other_findings, other_lines
from repro_gate.reports.findings.tokens import config_option
from repro_gate.reports.review import render_change, summary_lines
from repro_gate.reports.text.shell import command, quoted

RUNS: Final = "runs"
"""The folder below that of the reports with one folder for each downloaded run."""
_USUAL_SIZE: Final = (80, 24)
"""Of a terminal that does not report it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """The options of `review`."""

    order: Order
    output: Path
    """The folder of the reports of this machine."""
    source: Path | None
    """The report folder to review; None for `output` or a run."""
    run: str | None
    """A run of GitHub Actions, whose artifact is downloaded."""
    name: str
    """Of the artifact."""


def run_review(session: Session, options: ReviewOptions) -> ExitCode:
    """Show the changes of a check and write the decisions on them; return the exit code."""
    refuse_under_ci(os.environ)
    folder = _folder(options)
    workspace = wiring.workspace_for(session)
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stdout)):
        return _print_commands(ReviewedFolder(workspace, folder), folder)
    with wiring.update_lock(workspace):
        sweep(workspace.snapshots, trees=wiring.SNAPSHOT_FOLDERS)
        reviewed = ReviewedFolder(workspace, folder)
        changes, earlier = reviewed.changes(options.order), reviewed.decisions()
        if earlier is None:
            warn("repro-gate: the report is another one than in the last review; beginning anew")
        decisions = earlier or {}
        state = begin(changes, options.order, decisions)
        if state is not None:
            decisions = _review(state, reviewed).decisions
        return _conclude(reviewed, workspace, changes, decisions, _resume_command(session, options))


def _folder(options: ReviewOptions) -> Path:
    if options.run is not None:
        make_report_folder(options.output)
        return download_report(options.run, options.name, options.output / RUNS)
    if options.source is not None:
        return options.source
    report = options.output / REPORT
    if not report.exists():
        found = "none; run `repro-gate check` first"
        raise InputInvalid.at(report, "", expected="the report of a check", found=found)
    return options.output


def _is_terminal(stream: TextIO | None) -> bool:
    # A closed stream is None.
    return stream is not None and stream.isatty()


def _review(state: ReviewState, reviewed: ReviewedFolder) -> ReviewState:
    """Return the state in which the reviewer left; everything decided is written."""
    console = Console(highlight=False)
    try:
        while not state.is_over:
            _show(state, reviewed, console)
            moved = step(state, _key())
            reviewed.write(moved)
            state = moved.state
    except KeyboardInterrupt:
        return state
    return state


def _key() -> str:
    try:
        # Without input the terminal is gone.
        return typer.getchar() or QUIT
    except (EOFError, OSError):
        return QUIT


def _show(state: ReviewState, reviewed: ReviewedFolder, console: Console) -> None:
    width, height = _size()
    shown = reviewed.shown(state, width=width)
    if console.is_dumb_terminal:
        print(flush=True)
    else:
        console.clear()
    for line in render_change(state, shown, width=width, height=height):
        console.print(line, soft_wrap=True)


def _size() -> tuple[int, int]:
    """Return the columns and lines of the terminal; rich does not ask a dumb one."""
    try:
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return _USUAL_SIZE
    return (columns, lines) if columns and lines else _USUAL_SIZE


def _conclude(
    reviewed: ReviewedFolder,
    workspace: wiring.Workspace,
    changes: Sequence[Change],
    decisions: Mapping[str, Decision],
    resume: str,
) -> ExitCode:
    """Print how the review ended and what is next, and return the exit code."""
    others = other_findings(reviewed.report)
    code = exit_code_of(changes, decisions, others={each.outcome for each in others})
    recorded = sum(len(group.cells) for group in reviewed.groups) - len(changes)
    is_open = any(decisions.get(each.cell_id) in {None, Decision.SKIPPED} for each in changes)
    for line in (
        *summary_lines(changes, decisions, recorded=recorded),
        *stale_lines(workspace, reviewed.written.values()),
        *other_lines(others),
        *([f"continue with: {resume}"] if is_open else []),
        *([_commit(workspace)] if reviewed.written else []),
    ):
        print_line(line)
    return code


def _commit(workspace: wiring.Workspace) -> str:
    return f"next: git add {quoted(str(workspace.snapshots))}, commit, and check again"


def _resume_command(session: Session, options: ReviewOptions) -> str:
    folder = options.source
    if options.run is not None:
        folder = options.output / RUNS / options.run
    words = [
        *config_option(session.repeat_options),
        *(() if options.order is Order.CAUSE else ("--by", options.order.value)),
        *(() if folder is None else ("--from", str(folder))),
    ]
    return command("repro-gate review", words)


def _print_commands(reviewed: ReviewedFolder, folder: Path) -> ExitCode:
    """Print the commands that replace a review; nothing is decided, so it is inconclusive."""
    changes = reviewed.changes(Order.CAUSE)
    open_ = {change.cause for change in changes}
    groups = [group for group in reviewed.groups if group.id in open_]
    others = other_findings(reviewed.report)
    lines = [*command_lines(groups, reviewed.report, folder), *other_lines(others)]
    for line in lines:
        print_line(line)
    if not groups:
        for line in summary_lines(changes, {}, recorded=len(reviewed.groups)):
            print_line(line)
        return exit_code_of(changes, {}, others={each.outcome for each in others})
    raise MeasurementUnavailable(
        "nothing was decided: a review needs a terminal for its keys",
        remedy="repro-gate review at a terminal, or the commands above",
    )
