"""What the history has of the cells of a check that do not agree, for the page of the check."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from repro_gate.adapters.history.folder import HistoryFolder
from repro_gate.checks.history.timeline import read_timeline
from repro_gate.cli.history.show import baselines_of, watch_status
from repro_gate.cli.wiring import Workspace
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.logprobs.verdicts import Agrees
from repro_gate.core.report import GateReport
from repro_gate.core.timeline import KeptHistory, Timeline
from repro_gate.errors import ReproGateError

_MAX_CELLS: Final = 30
"""Of a suite; more charts would hide the rest of the page."""


def kept_history(
    folder: Path, workspace: Workspace, plans: Sequence[LogprobPlan], report: GateReport
) -> KeptHistory | None:
    """Return what a history has of the cells that do not agree; None if all do.

    A history that cannot be read is shown on the page, and changes nothing else.
    """
    differing = {
        part.suite: [cell.id for cell in part.cells if not isinstance(cell.verdict, Agrees)]
        for part in report.logprobs
    }
    chosen = [plan for plan in plans if differing.get(plan.suite.name)]
    if not chosen:
        return None
    try:
        with closing(HistoryFolder(folder)) as reader:
            timelines = [
                _timeline(workspace, plan, reader, differing[plan.suite.name][:_MAX_CELLS])
                for plan in chosen
            ]
    except (ReproGateError, OSError) as error:
        return KeptHistory(problem=" ".join(str(error).split()))
    left_out = sum(max(0, len(cells) - _MAX_CELLS) for cells in differing.values())
    return KeptHistory(timelines=tuple(timelines), left_out=left_out)


def _timeline(
    workspace: Workspace, plan: LogprobPlan, reader: HistoryFolder, cells: Sequence[str]
) -> Timeline:
    return read_timeline(
        plan.suite,
        history=reader,
        cells=set(cells),
        baselines=baselines_of(workspace.baselines, plan.cells),
        watch=watch_status(workspace, plan, reader),
    )
