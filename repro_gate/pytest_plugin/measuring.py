"""Measure the cells of a matrix file model by model, when the first test of a model is due.

The runs of a model's cells are interleaved, its last ones are made in a fresh process, and its
controls rest on all of them. So a model is measured as a whole, by the same code as in a check, and
each of its tests shows its own part of the verdicts.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from repro_gate.checks.tokens.check import find_orphans, judge_tokens, measure_tokens
from repro_gate.cli import wiring
from repro_gate.cli.session import (
    Selection,
    Session,
    describe_engine,
    engine_specs,
    open_session,
)
from repro_gate.core.matrix import Plan
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.measurement import Measurement, joined
from repro_gate.core.tokens.verdicts import Inconclusive, Orphan
from repro_gate.errors import MeasurementUnavailable, ReproGateError, UsageInvalid
from repro_gate.ports import Progress

Shown = Callable[[], AbstractContextManager[Progress]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measurement of some cells, and the report on it."""

    measurement: Measurement
    report: GateReport


class MatrixGate:
    """The cells of one matrix file, and what was measured of them so far."""

    def __init__(
        self, session: Session, *, progress: Shown, once: bool = False, fail_fast: bool = False
    ) -> None:
        """Plan the selected suites; raises `UsageInvalid` and `NothingSelected`.

        Args:
            session: the matrix, and what is selected of it.
            progress: shows the progress of a measurement.
            once: run each cell only once.
            fail_fast: stop the measurement of a model after its first finding.
        """
        whole = session.full_plan()
        self.session = session
        self.plan = _once(whole.tokens) if once else whole.tokens
        self.wanted: dict[str, list[Cell]] = {}
        """The cells to measure together, by model."""
        self.parts: list[Measured] = []
        self._progress = progress
        self._fail_fast = fail_fast
        self._outcomes: dict[Cell, GateReport | ReproGateError] = {}

    @cached_property
    def workspace(self) -> wiring.Workspace:
        """The snapshots and model files of the matrix; raises `InputInvalid`."""
        return wiring.workspace_for(self.session)

    def cell(self, cell_id: str) -> Cell:
        """Return a planned cell; raises `UsageInvalid`."""
        for cell in self.plan.cells:
            if cell.id == cell_id:
                return cell
        known = self.plan.cells[0].id if self.plan.cells else "none"
        raise UsageInvalid(
            f"there is no cell {cell_id!r} in the selected suites; the first one is {known}"
        )

    def want(self, cells: Iterable[Cell]) -> None:
        """Have cells measured together with the others of their model."""
        for cell in cells:
            wanted = self.wanted.setdefault(cell.model, [])
            if cell not in wanted:
                wanted.append(cell)

    def report_on(self, cell: Cell) -> GateReport:
        """Return the report on the cells that are measured together with this one.

        Raises:
            ReproGateError: the cell could not be measured or judged.
            KeyboardInterrupt: the measurement was interrupted.
        """
        if cell not in self._outcomes:
            self.want([cell])
            self._measure([each for each in self.wanted[cell.model] if each not in self._outcomes])
        outcome = self._outcomes[cell]
        if isinstance(outcome, ReproGateError):
            raise outcome
        return outcome

    def measurement(self) -> Measurement:
        """Return everything measured so far, and why other cells were not."""
        whole = joined(part.measurement for part in self.parts)
        stopped = (part.measurement.stopped_at for part in self.parts)
        whole.stopped_at = next(filter(None, stopped), None)
        for cell, outcome in self._outcomes.items():
            if isinstance(outcome, ReproGateError):
                remedy = outcome.remedy if isinstance(outcome, MeasurementUnavailable) else None
                whole.problems[cell] = Inconclusive(reason=str(outcome), remedy=remedy)
        return whole

    def is_measured(self, cell: Cell) -> bool:
        """Whether a cell has a report."""
        return isinstance(self._outcomes.get(cell), GateReport)

    def orphans(self) -> list[Orphan]:
        """Return the goldens of this machine's profiles that no cell of the matrix uses.

        Raises:
            ReproGateError: an engine could not be described.
        """
        known = {engine.name: engine for part in self.parts for engine in part.report.engines}
        for spec in engine_specs(self.plan.models.values()):
            if spec.name not in known:
                known[spec.name] = describe_engine(self.session.engines, spec)
        measured = Measurement(engines=list(known.values()))
        return find_orphans(self.plan, measured, self.workspace.goldens)

    def _measure(self, cells: list[Cell]) -> None:
        plan = self.plan.of(cells)
        try:
            part = self._measured(plan)
        except ReproGateError as error:
            self._outcomes |= dict.fromkeys(cells, error)
            return
        self.parts.append(part)
        self._outcomes |= dict.fromkeys(cells, part.report)
        if part.measurement.interrupted:
            raise KeyboardInterrupt

    def _measured(self, plan: Plan) -> Measured:
        started_at = wiring.now()
        with self._progress() as progress, closing(self.session.engines):
            ports = wiring.ports_for_check(self.workspace, progress=progress)
            started = ports.clock()
            measured, committed = measure_tokens(
                plan,
                ports=ports,
                device_plans=self.session.device_plans(plan),
                fail_fast=self._fail_fast,
            )
        timing = measured.timing(wall_s=ports.clock() - started)
        report = judge_tokens(plan, measured, committed, timing=timing, started_at=started_at)
        report = replace(report, repeat_with=self.session.repeat_options)
        return Measured(measurement=measured, report=report)


def _once(plan: Plan) -> Plan:
    suites = {
        cell: replace(suite, runs=1, fresh_runs=0) for cell, suite in plan.alone.suites.items()
    }
    return replace(plan, suites=suites)


def open_matrix(
    file: Path,
    *,
    shown_as: Path,
    suites: tuple[str, ...] = (),
    device: str | None = None,
    devices: tuple[str, ...] = (),
) -> Session:
    """Open a session of a matrix file, whichever folder a test changes to; see `open_session`.

    Args:
        file: the absolute path.
        shown_as: its name in commands.
        suites: the selected ones; empty for the default ones.
        device: the device of every engine.
        devices: devices that work in parallel.
    """
    selection = Selection(config=file, suites=suites, device=device, devices=devices)
    session = open_session(selection)
    return replace(session, selection=replace(session.selection, config=shown_as))
