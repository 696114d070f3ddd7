"""The one place that picks adapters and reports."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from repro_gate.adapters.engines import EngineProcesses
from repro_gate.adapters.goldens import SyrupyGoldens
from repro_gate.adapters.matrix_file import read_matrix
from repro_gate.adapters.model_files import CachedModels
from repro_gate.adapters.model_pins import ModelPinsFile
from repro_gate.checks.tokens import CheckPorts
from repro_gate.core.matrix import Matrix
from repro_gate.core.report import GateReport
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import EngineStarter, GoldenReader, Progress
from repro_gate.reports.junit import render_junit
from repro_gate.reports.markdown import render_markdown

REPORTS: Final[Mapping[str, Callable[[GateReport], str]]] = {
    "report.md": render_markdown,
    "junit.xml": render_junit,
}
"""The files of a report folder besides report.json, which vouches for what was observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A matrix and everything around it."""

    config: Path
    matrix: Matrix
    snapshots: Path
    goldens: SyrupyGoldens
    pins: ModelPinsFile
    models: CachedModels
    engines: EngineStarter


def open_workspace(config: Path, *, device: str | None = None) -> Workspace:
    """Return the workspace of a matrix file, with every engine on `device` when one is given.

    Raises:
        InputInvalid: the matrix or the pins are broken.
    """
    matrix = read_matrix(config)
    if device is not None:
        matrix = _on_device(matrix, device)
    snapshots = config.parent / matrix.snapshots
    pins = ModelPinsFile(snapshots / "models.json")
    return Workspace(
        config=config,
        matrix=matrix,
        snapshots=snapshots,
        goldens=SyrupyGoldens(snapshots / "goldens"),
        pins=pins,
        models=CachedModels(beside=config.parent, cache=_cache() / "models", pins=pins.pinned()),
        engines=EngineProcesses(),
    )


def ports_for_check(
    workspace: Workspace, *, progress: Progress, goldens: GoldenReader | None = None
) -> CheckPorts:
    """Return the neighbours of a check in this workspace."""
    return CheckPorts(
        starter=workspace.engines,
        files=workspace.models,
        goldens=goldens or workspace.goldens,
        progress=progress,
        clock=time.monotonic,
    )


def update_lock(workspace: Workspace) -> AbstractContextManager[object]:
    """Return a lock that only one update of these snapshots can hold.

    Raises:
        MeasurementUnavailable: another one holds it; raised on entering, without waiting.
    """
    name = hashlib.sha256(os.fsencode(workspace.snapshots.resolve())).hexdigest()[:16]
    folder = _cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / f"{name}.lock").acquire(timeout=0)
    except Timeout as error:
        raise MeasurementUnavailable(
            f"another update-snapshots is at work on {workspace.snapshots}"
        ) from error


def _cache() -> Path:
    override = os.environ.get("REPRO_GATE_CACHE")
    return Path(override) if override else user_cache_path("repro-gate", appauthor=False)


def _on_device(matrix: Matrix, device: str) -> Matrix:
    models = {
        name: replace(model, engine=replace(model.engine, device=device))
        for name, model in matrix.models.items()
    }
    return replace(matrix, models=models)
