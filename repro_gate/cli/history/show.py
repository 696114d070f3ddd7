"""`repro-gate history show`: what the stored sessions of a suite show, without a draw."""

import json as json_format
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from rich.console import Console

from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.adapters.files.snapshots import BaselineFiles
from repro_gate.adapters.files.watches import WATCHES, WatchFiles
from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.checks.history.timeline import read_timeline
from repro_gate.checks.watch.state import status_of
from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.terminal.console import print_line, print_result
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.policy import LogprobCell, LogprobPlan
from repro_gate.core.matrix import Matrix
from repro_gate.core.outcome import ExitCode
from repro_gate.core.timeline import Timeline
from repro_gate.core.watch.status import WatchStatus
from repro_gate.errors import NothingSelected, UsageInvalid
from repro_gate.ports.history import HistoryReader
from repro_gate.reports.history.json import history_document
from repro_gate.reports.history.page import render_history_page
from repro_gate.reports.history.terminal import render_history

SCHEMA: Final = "repro-gate/timeline/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """What to show, and how."""

    suite: str | None
    """None for the only one of the matrix."""
    cells: str | None
    """A pattern of ids; None for all."""
    html: Path | None
    """The file of the page; None for none."""
    json: bool


def run_show(options: ShowOptions, config: Path | None, history: Path) -> ExitCode:
    """Print what a history shows, and write its page if asked to.

    Raises:
        UsageInvalid: there is no such suite, or the page is no file.
        NothingSelected: the history has no session of the suite.
        InputInvalid: the matrix, a baseline, the watch or the history is broken.
    """
    if options.html is not None:
        _require_writable(options.html)
    workspace = wiring.workspace_for(open_session(Selection(config=config)))
    plan = _plan(workspace.matrix, options.suite)
    with closing(HistoryFolder(history)) as reader:
        timeline = read_timeline(
            plan.suite,
            history=reader,
            cells=_chosen(reader, plan, options.cells),
            baselines=baselines_of(workspace.baselines, plan.cells),
            watch=watch_status(workspace, plan, reader),
        )
    if not timeline.sessions and not timeline.empty:
        raise NothingSelected(
            f"{history} has no session of the suite {plan.suite.name}",
            remedy="fetch the history, or add the report folder of a check: repro-gate history add",
        )
    _show(timeline, options)
    return ExitCode.PASSED


def _show(timeline: Timeline, options: ShowOptions) -> None:
    if options.html is not None:
        write_atomically(options.html, render_history_page(timeline))
    if options.json:
        document = {"schema": SCHEMA, **history_document(timeline)}
        print_result(f"{json_format.dumps(document, indent=2, allow_nan=False)}\n")
        return
    render_history(timeline, Console(highlight=False))
    if options.html is not None:
        print_line(f"{options.html}: written")


def _require_writable(file: Path) -> None:
    if not file.parent.is_dir():
        raise UsageInvalid(f"there is no folder {file.parent}: name another file with --html")
    if file.is_dir():
        raise UsageInvalid(f"{file} is a folder: name a file with --html")


def _plan(matrix: Matrix, name: str | None) -> LogprobPlan:
    """Return the plan of all cells of a suite."""
    known = matrix.logprob_suites
    chosen = next(iter(known)) if name is None and len(known) == 1 else name
    if chosen is None or chosen not in known:
        listed = ", ".join(known) or "none"
        asked = "name one with --suite" if chosen is None else f"there is no suite {chosen!r}"
        raise UsageInvalid(f"{asked}; the suites of log-probabilities are: {listed}")
    suite = known[chosen]
    claimed = frozenset(cell.id for other in known.values() for cell in other.cells)
    return LogprobPlan(suite=suite, cells=suite.cells, claimed=claimed)


def _chosen(
    reader: HistoryReader, plan: LogprobPlan, pattern: str | None
) -> Collection[str] | None:
    """Return the ids of the cells that a pattern selects; None for all."""
    if pattern is None:
        return None
    kept = {part.cell.id for _, part in reader.points(plan.suite.name)}
    chosen = {cell for cell in kept if fnmatchcase(cell, pattern)}
    if not chosen:
        raise NothingSelected(
            f"the history has no cell {pattern!r}", remedy="select others with --cell"
        )
    return chosen


def baselines_of(files: BaselineFiles, cells: Collection[LogprobCell]) -> Mapping[str, Baseline]:
    """Return the baselines of the cells as they are defined now, by id."""
    recorded = {source: files.recorded(source) for source in files.sources()}
    found: dict[str, Baseline] = {}
    for cell in cells:
        provider = cell.policy.provider
        # That of an engine is its profile, which only a started engine reports.
        sources = recorded if provider.is_local else [provider.name]
        for source in sources:
            if cell.id in recorded.get(source, ()):
                baseline = files.read(source, cell.id)
                if not cell.changes_since(baseline.definition):
                    found[cell.id] = baseline
    return found


def watch_status(
    workspace: wiring.Workspace, plan: LogprobPlan, reader: HistoryReader
) -> WatchStatus | None:
    """Return the status of the watch of a suite; None when none is open."""
    watch = WatchFiles(workspace.snapshots / WATCHES).read(plan.suite.name)
    if watch is None:
        return None
    return status_of(plan, watch, history=reader, now=wiring.now())
