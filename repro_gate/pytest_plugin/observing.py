"""What the fixtures give: what a cell generates, its golden, its verdict and its snapshot."""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from repro_gate.adapters.files.golden_writer import golden_extension
from repro_gate.adapters.files.snapshots import GOLDENS
from repro_gate.checks.tokens.record import observed_goldens
from repro_gate.cli.paths import matrix_file
from repro_gate.cli.session import Session
from repro_gate.cli.terminal.console import refuse_under_ci
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.outcome import Outcome
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import bytes_of
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.golden_format import to_data
from repro_gate.ports import Progress
from repro_gate.pytest_plugin.items import cell_result, reported_errors
from repro_gate.pytest_plugin.measuring import MatrixGate, open_matrix
from repro_gate.pytest_plugin.options import MATRIX_FILE, PARAMETER, PLUGIN, Options

_CELLS = pytest.StashKey["Cells"]()


@dataclass(frozen=True, slots=True)
class Observed:
    """A cell with its tokens: generated on this machine, or recorded as its golden."""

    golden: Golden

    @property
    def tokens(self) -> list[int]:
        """The ids of the generated tokens."""
        return [token.id for token in self.golden.generation.tokens]

    @property
    def text(self) -> str:
        """The generated text; bytes that are no UTF-8 are replaced."""
        return bytes_of(self.golden.generation.tokens).decode("utf-8", "replace")

    @property
    def stop(self) -> str:
        """Why the generation ended, such as `length`."""
        return self.golden.generation.stop.value

    @property
    def data(self) -> dict[str, Any]:
        """The content of a golden file, to compare with a snapshot."""
        return to_data(self.golden)


class Cells:
    """The cells of the selected suites."""

    def __init__(self, session: Session, collected: MatrixGate | None) -> None:
        self._session = session
        self._collected = collected
        self._wanted: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: pytest.Config) -> "Cells":
        """Return the cells for a run of pytest; the matrix is read once."""
        if _CELLS not in config.stash:
            options = Options.of(config)
            with reported_errors():
                file = options.config or _matrix_file(config)
                device = next(iter((options.device, *options.devices)), None)
                session = open_matrix(file, shown_as=file, suites=options.suites, device=device)
                plugin: Any = config.pluginmanager.getplugin(PLUGIN)
                collected = None if plugin is None else plugin.gates.get(file)
                config.stash[_CELLS] = cls(session, collected)
        return config.stash[_CELLS]

    @property
    def ids(self) -> list[str]:
        """The ids of the cells."""
        with reported_errors():
            return [cell.id for cell in self._whole.plan.cells]

    def want(self, items: Iterable[pytest.Item]) -> None:
        """Have the cells that are parameters of tests measured together."""
        callspecs = (getattr(item, "callspec", None) for item in items)
        wanted = (spec.params.get(PARAMETER) for spec in callspecs if spec is not None)
        self._wanted = tuple(filter(None, wanted))

    def cell(self, cell_id: str) -> Observed:
        """Return what a cell generates: in one run, unless its own test has run before."""
        with reported_errors():
            cell = self._once.cell(cell_id)
            if self._whole.is_measured(cell):
                report = self._whole.report_on(cell)
            else:
                self._once.want(map(self._once.cell, self._wanted))
                report = self._once.report_on(cell)
        return Observed(_observed(cell, report))

    def golden(self, cell_id: str) -> Observed:
        """Return the golden of a cell for the profile of this machine."""
        profile = self.cell(cell_id).golden.profile
        with reported_errors():
            return Observed(self._once.workspace.goldens.read(profile, cell_id))

    def check(self, cell_id: str) -> None:
        """Run a cell as often as its suite does, and fail unless it matches its golden."""
        with reported_errors():
            cell = self._whole.cell(cell_id)
            outcome, text = cell_result(cell, self._whole.report_on(cell))
        if outcome is not Outcome.PASSED:
            pytest.fail(text, pytrace=False)

    def folder_of(self, observed: Observed) -> Path:
        """Return the folder of the goldens of a profile."""
        return self._once.workspace.snapshots / GOLDENS / observed.golden.profile

    @cached_property
    def _whole(self) -> MatrixGate:
        # What the tests of cells have measured is not measured again.
        return self._collected or MatrixGate(self._session, progress=_no_progress)

    @cached_property
    def _once(self) -> MatrixGate:
        return MatrixGate(self._session, progress=_no_progress, once=True)


class GoldenSnapshot:
    """Gives the syrupy snapshot of a cell, for the profile of this machine."""

    def __init__(self, cells: Cells, snapshot: SnapshotAssertion, *, updates: bool) -> None:
        self._cells = cells
        self._snapshot = snapshot
        self._updates = updates

    def __call__(self, cell_id: str) -> SnapshotAssertion:
        """Return the snapshot; in CI it is not updated."""
        if self._updates:
            # Syrupy itself would write in CI too.
            with reported_errors():
                refuse_under_ci(os.environ)
        folder = self._cells.folder_of(self._cells.cell(cell_id))
        return self._snapshot.with_defaults(extension_class=golden_extension(folder))(name=cell_id)


def _matrix_file(config: pytest.Config) -> Path:
    file = config.rootpath / MATRIX_FILE
    return file if file.is_file() else matrix_file(None).absolute()


def _observed(cell: Cell, report: GateReport) -> Golden:
    """Return the output of a cell; one that proves nothing, or has none, fails the test."""
    for golden in observed_goldens(report):
        if golden.cell == cell:
            return golden
    _, text = cell_result(cell, report)
    pytest.fail(text, pytrace=False)


@contextmanager
def _no_progress() -> Generator[Progress]:
    with shown_progress(Console(stderr=True), quiet=True) as progress:
        yield progress
