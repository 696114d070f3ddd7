"""A token check with fakes."""

from dataclasses import dataclass, field

from repro_gate.checks.tokens.check import check_tokens
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.core.matrix import Matrix, Plan, plan
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.golden import Golden
from repro_gate.core.tokens.verdicts import Verdict
from repro_gate.ports import GoldenReader, ReferenceReader
from tests.fakes.engines import ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryModelFiles, MemoryReferences
from tests.fakes.values import golden_of, matrix_of, suite_of
from tests.fakes.watching import FakeClock, RecordingProgress

STARTED_AT = "2026-01-02T03:04:05+00:00"


@dataclass(slots=True, kw_only=True)
class Scene:
    """A check that is ready to run; everything works by default."""

    plan: Plan
    starter: ScriptedStarter = field(default_factory=ScriptedStarter)
    goldens: GoldenReader = field(default_factory=MemoryGoldens)
    files: MemoryModelFiles = field(default_factory=MemoryModelFiles)
    progress: RecordingProgress = field(default_factory=RecordingProgress)
    references: ReferenceReader = field(default_factory=MemoryReferences)
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def ports(self) -> CheckPorts:
        """The fakes, as ports of the check."""
        return CheckPorts(
            starter=self.starter,
            files=self.files,
            goldens=self.goldens,
            progress=self.progress,
            clock=self.clock,
            references=self.references,
        )

    def check(self, *, started: float | None = None) -> GateReport:
        """Run the check, of a command that began at `started`, or just now."""
        return check_tokens(
            self.plan,
            ports=self.ports,
            started=self.clock.now if started is None else started,
            started_at=STARTED_AT,
        )


def scene_of(
    *cells: Cell,
    runs: int = 3,
    fresh_runs: int = 1,
    starter: ScriptedStarter | None = None,
    matrix: Matrix | None = None,
    goldens: GoldenReader | None = None,
    references: ReferenceReader | None = None,
) -> Scene:
    """Return the check of one suite of cells; without `goldens` each cell has its right one."""
    known = matrix or matrix_of(suite_of(*cells, runs=runs, fresh_runs=fresh_runs))
    return Scene(
        plan=plan(known),
        starter=starter or ScriptedStarter(),
        goldens=MemoryGoldens(recorded_for(*known.cells())) if goldens is None else goldens,
        references=references or MemoryReferences(),
    )


def recorded_for(*cells: Cell) -> list[Golden]:
    """Return the right golden of each cell."""
    return [golden_of(cell) for cell in cells]


def verdicts_of(report: GateReport) -> dict[str, Verdict]:
    """Return the verdicts by the id of their cell or golden."""
    return {cell.id: cell.verdict for cell in report.cells}


def report_on(report: GateReport, cell: Cell) -> CellReport:
    """Return the report on one cell."""
    return next(found for found in report.cells if found.cell == cell)
