"""The part of the wiring that comes first: the matrix is read and its engines are started.

An engine needs a third of a second to load its libraries. It does so while the gate imports the
rest of itself, so nothing slow may be imported here.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from repro_gate.adapters.engines import EngineProcesses
from repro_gate.adapters.matrix_file import read_matrix
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE, Matrix, Plan, plan
from repro_gate.core.models import EngineSpec
from repro_gate.core.report import EngineReport
from repro_gate.errors import MeasurementUnavailable, UsageInvalid
from repro_gate.ports import EngineStarter

_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What part of which matrix is meant, and where it runs."""

    config: Path
    suites: tuple[str, ...] = ()
    only: str | None = None
    runs: int | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A matrix that has been read, and the engines that are starting for it."""

    selection: Selection
    matrix: Matrix
    engines: EngineProcesses

    @property
    def options(self) -> tuple[str, ...]:
        """What another command needs to mean the same matrix on the same device."""
        chosen = self.selection
        config = () if chosen.config == DEFAULT_MATRIX_FILE else ("--config", str(chosen.config))
        device = () if chosen.device is None else ("--device", chosen.device)
        return (*config, *device)

    def plan(self) -> Plan:
        """Return what the selection means; raises when that is nothing."""
        chosen = self.selection
        planned = plan(self.matrix, suites=chosen.suites, only=chosen.only, runs=chosen.runs)
        if not planned.cells:
            raise MeasurementUnavailable(
                f"nothing was checked: no cell matches --only {chosen.only!r}",
                remedy=self._other_cells(),
            )
        return planned

    def selects_any(self) -> bool:
        """Tell whether any cell is selected."""
        chosen = self.selection
        return bool(plan(self.matrix, suites=chosen.suites, only=chosen.only).cells)

    def _other_cells(self) -> str:
        """Return what to ask for instead of a pattern that no selected cell matches."""
        for suite in self.matrix.suites.values():
            if plan(self.matrix, suites=[suite.name], only=self.selection.only).cells:
                return f"--suite {suite.name}, which has such cells"
        first = plan(self.matrix, suites=self.selection.suites).cells[0]
        return f"--only {first.id!r}, or a pattern such as '{first.model}--*'"


def open_matrix(selection: Selection) -> Opening:
    """Read the matrix of a selection, with every engine on its device when it names one.

    Raises:
        InputInvalid: the matrix is broken.
        UsageInvalid: there is no such device.
    """
    matrix = read_matrix(selection.config)
    if selection.device is not None:
        if not _DEVICE.fullmatch(selection.device):
            raise UsageInvalid(f"a device is cpu, cuda or cuda:N, not {selection.device!r}")
        matrix = _on_device(matrix, selection.device)
    folder = selection.config.parent
    return Opening(selection=selection, matrix=matrix, engines=EngineProcesses(folder))


def open_and_start(selection: Selection) -> Opening:
    """Do the same, and start the engines that the selection will ask first."""
    opening = open_matrix(selection)
    for model in opening.plan().models.values():
        opening.engines.start_early(model.engine)
    return opening


def describe_engine(engines: EngineStarter, spec: EngineSpec) -> EngineReport:
    """Return what an engine says of itself; raises `MeasurementUnavailable`."""
    engine = engines.start(spec)
    try:
        return engine.describe()
    finally:
        engine.close()


def _on_device(matrix: Matrix, device: str) -> Matrix:
    models = {
        name: replace(model, engine=replace(model.engine, device=device))
        for name, model in matrix.models.items()
    }
    return replace(matrix, models=models)
