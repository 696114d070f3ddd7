"""Chooses the adapters and reports; `session` is the part that comes before slow imports."""

import hashlib
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from repro_gate.adapters.files.references import REFERENCES, CurrentReferences, ReferenceFiles
from repro_gate.adapters.files.snapshots import (
    BASELINES,
    GOLDENS,
    PINS,
    BaselineFiles,
    GoldenFiles,
    ModelPinsFile,
)
from repro_gate.adapters.files.watches import WATCHES
from repro_gate.adapters.models.files import CachedModels
from repro_gate.checks.logprobs.local import LocalScorer, ScorersByProvider
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.cli.paths import history_beside
from repro_gate.cli.session import Session
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.matrix import Matrix
from repro_gate.core.report import GateReport
from repro_gate.core.timeline import KeptHistory
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import Progress, RunLog, Scorer
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown


def _render_html(report: GateReport, history: KeptHistory | None = None) -> str:
    # The template engine takes a fifth of a second to import, and `record` needs no page.
    from repro_gate.reports.html.check.page import render_html  # noqa: PLC0415

    return render_html(report, history=history)


_PAGE: Final = "report.html"
REPORTS: Final[Mapping[str, Callable[[GateReport], str]]] = {
    "report.md": render_markdown,
    _PAGE: _render_html,
    "junit.xml": render_junit,
}
"""The reports besides report.json, which has the digests of the observed goldens.

`paths` lists their names again: they are removed before the imports that this table needs.
"""
SNAPSHOT_FOLDERS: Final = (GOLDENS, BASELINES, REFERENCES, WATCHES)
"""The folders of the snapshots, with one folder for each profile or source."""


def reports_with(history: KeptHistory | None) -> Mapping[str, Callable[[GateReport], str]]:
    """Return the reports, of which the page shows a history."""
    return {**REPORTS, _PAGE: partial(_render_html, history=history)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A session, with the snapshots and model files of its matrix."""

    session: Session
    snapshots: Path
    goldens: GoldenFiles
    baselines: BaselineFiles
    references: ReferenceFiles
    pins: ModelPinsFile
    models: CachedModels

    @property
    def matrix(self) -> Matrix:
        """The matrix."""
        return self.session.matrix

    @property
    def current_references(self) -> CurrentReferences:
        """The references that count for this matrix."""
        return CurrentReferences(self.references, self.matrix)


def workspace_for(session: Session, *, repinned: Collection[str] = ()) -> Workspace:
    """Return the workspace of a session; raises `InputInvalid` when its pins are broken.

    Args:
        session: the session.
        repinned: models whose pin is ignored because it will be replaced.
    """
    folder = session.file.parent
    snapshots = folder / session.matrix.snapshots
    pins = ModelPinsFile(snapshots / PINS)
    dropped = {file.key for name in repinned for file in session.matrix.models[name].files}
    pinned = {key: digest for key, digest in pins.pinned().items() if key not in dropped}
    return Workspace(
        session=session,
        snapshots=snapshots,
        goldens=GoldenFiles(snapshots / GOLDENS),
        baselines=BaselineFiles(snapshots / BASELINES),
        references=ReferenceFiles(snapshots / REFERENCES),
        pins=pins,
        models=CachedModels(beside=folder, cache=cache_folder() / "models", pins=pinned),
    )


def history_for(
    workspace: Workspace, plans: Sequence[LogprobPlan], report: GateReport
) -> KeptHistory | None:
    """Return what the history has of the cells that do not agree; None without a history."""
    session = workspace.session
    folder = history_beside(session.file, session.selection.config)
    if not (report.logprobs and folder.is_dir()):
        return None
    # It imports a database and what draws charts, and most checks have no history.
    from repro_gate.cli.history.kept import kept_history  # noqa: PLC0415

    return kept_history(folder, workspace, plans, report)


def ports_for_check(
    workspace: Workspace, *, progress: Progress, run_log: RunLog | None = None
) -> CheckPorts:
    """Return the ports of a token check in this workspace."""
    return CheckPorts(
        starter=workspace.session.engines,
        files=workspace.models,
        goldens=workspace.goldens,
        progress=progress,
        clock=time.monotonic,
        run_log=run_log,
        references=workspace.current_references,
    )


def scorer_for(workspace: Workspace, plan: LogprobPlan) -> Scorer:
    """Return the scorer for the policies of a plan, limited by the budget of its suite."""
    kinds = {policy.provider.is_local for policy in plan.policies}
    if kinds == {True}:
        return _local_scorer(workspace)
    # The HTTP client takes a third of a second to import, and local engines do not need it.
    from repro_gate.adapters.hosted.scorer import HostedScorer  # noqa: PLC0415

    hosted = HostedScorer(plan.suite.budget)
    if kinds == {False}:
        return hosted
    return ScorersByProvider(hosted=hosted, local=_local_scorer(workspace))


def _local_scorer(workspace: Workspace) -> LocalScorer:
    return LocalScorer(
        starter=workspace.session.engines, files=workspace.models, now=now, clock=time.monotonic
    )


def now() -> str:
    """Return the current time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def update_lock(workspace: Workspace) -> AbstractContextManager[object]:
    """Return the lock for updating these snapshots.

    Raises:
        MeasurementUnavailable: another process holds it.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 -- see `cache_folder`

    name = hashlib.sha256(os.fsencode(workspace.snapshots.resolve())).hexdigest()[:16]
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / f"{name}.lock").acquire(timeout=0)
    except Timeout as error:
        raise MeasurementUnavailable(
            f"another update of {workspace.snapshots} is running",
            remedy="wait until it ends, or stop it",
        ) from error


def cache_folder() -> Path:
    """Return the folder of built and fetched models, and of locks."""
    # Not needed where the variable is set.
    from platformdirs import user_cache_path  # noqa: PLC0415

    override = os.environ.get("REPRO_GATE_CACHE")
    return Path(override) if override else user_cache_path("repro-gate", appauthor=False)
