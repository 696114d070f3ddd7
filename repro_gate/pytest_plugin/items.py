"""The tests of a matrix file: its cells and controls by model, and its orphaned goldens.

A finding is a failure, and what was not measured is an error; neither has a traceback.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from repro_gate.cli.terminal.console import unavailable
from repro_gate.core.outcome import Outcome, outcome_of_cell
from repro_gate.core.report import GateReport
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import ControlReport, applies
from repro_gate.core.tokens.verdicts import STOPPED, Inconclusive
from repro_gate.errors import MeasurementUnavailable, ReproGateError
from repro_gate.pytest_plugin.measuring import MatrixGate
from repro_gate.pytest_plugin.options import MARKER
from repro_gate.reports.findings.tokens import Finding, orphan_findings, token_findings
from repro_gate.reports.findings.wording import describe_inconclusive
from repro_gate.reports.terminal import format_finding
from repro_gate.reports.text import shell
from repro_gate.reports.text.escape import log_line, one_line

Opener = Callable[[Path], MatrixGate]
N = TypeVar("N", bound=pytest.Collector | pytest.Item)
Result = tuple[Outcome, str]
"""The outcome of a test, and its text."""


def failure_text(error: ReproGateError) -> str:
    """Return an error of ours as lines of text, with its remedy."""
    lines: list[str] = [log_line(line) for line in str(error).splitlines()]
    if isinstance(error, MeasurementUnavailable):
        lines.append(f"  try: {log_line(error.remedy)}")
    return "\n".join(lines)


@contextmanager
def reported_errors() -> Generator[None]:
    """Fail a test with the text of an error of ours or of the operating system."""
    try:
        yield
    except ReproGateError as error:
        pytest.fail(failure_text(error), pytrace=False)
    except (OSError, MemoryError) as error:
        pytest.fail(failure_text(unavailable(error)), pytrace=False)


def cell_result(cell: Cell, report: GateReport) -> Result:
    """Return the outcome of one cell of a report, and its finding as text."""
    (found,) = (each for each in report.cells if each.cell == cell)
    # With --exitfirst its other runs are of no interest.
    shown = replace(found, unfinished=None) if found.unfinished == STOPPED else found
    alone = replace(report, cells=(shown,), orphans=())
    findings = (finding for finding in token_findings(alone) if finding.cells)
    return outcome_of_cell(found, report), _text_of(findings)


class MatrixFile(pytest.File):
    """A matrix file."""

    @classmethod
    def of(cls, parent: pytest.Collector, file: Path, opener: Opener) -> "MatrixFile":
        """Return the collector of a file."""
        collector = _made(cls, parent, path=file)
        collector.opener = opener
        return collector

    opener: Opener

    def collect(self) -> Iterable[pytest.Collector | pytest.Item]:
        """Collect each model, and the goldens that no cell uses."""
        try:
            gate = self.opener(self.path)
        except ReproGateError as error:
            raise self.CollectError(failure_text(error)) from None
        for model in gate.plan.models:
            yield _made(ModelCells, self, name=model, gate=gate)
        if gate.plan.cells:
            yield _made(OrphansItem, self, name="orphans", gate=gate)


class ModelCells(pytest.Collector):
    """The cells of one model, which are measured together."""

    def __init__(self, *, gate: MatrixGate, **more: Any) -> None:
        super().__init__(**more)
        self._gate = gate

    def collect(self) -> Iterable[pytest.Item]:
        """Collect the controls of the model, and each of its cells."""
        yield _made(ControlsItem, self, name="controls", gate=self._gate)
        for cell in self._gate.plan.all_of(self.name):
            yield _made(CellItem, self, name=cell.id, gate=self._gate, cell=cell)


class _GateItem(pytest.Item):
    """A test that fails with text instead of a traceback."""

    def __init__(self, *, gate: MatrixGate, **more: Any) -> None:
        super().__init__(**more)  # pyright: ignore[reportUnknownMemberType] -- it has no types
        self.gate = gate
        self._finding: str | None = None
        self.add_marker(MARKER)

    def setup(self) -> None:
        """Measure what the test needs; without a measurement the test is an error."""
        with reported_errors():
            outcome, text = self.result()
        if outcome is Outcome.INCONCLUSIVE:
            pytest.fail(text, pytrace=False)
        if outcome is Outcome.FAILED:
            self._finding = text
        elif text:
            self.add_report_section("setup", "repro-gate", text)

    def runtest(self) -> None:
        """Fail if there is a finding."""
        if self._finding is not None:
            pytest.fail(self._finding, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where the test comes from."""
        return self.path, None, self.name

    def result(self) -> Result:
        """Return the outcome and its text; raises `ReproGateError`."""
        raise NotImplementedError


class CellItem(_GateItem):
    """The test of one cell."""

    def __init__(self, *, cell: Cell, **more: Any) -> None:
        super().__init__(**more)
        self.cell = cell
        self.extra_keyword_matches.add(self.gate.plan.suites[cell].name)

    def result(self) -> Result:
        """Return the outcome of the cell."""
        report = self.gate.report_on(self.cell)
        _skip_if_stopped(report, [self.cell])
        return cell_result(self.cell, report)


class ControlsItem(_GateItem):
    """The test that another seed and another prompt change the output of a model."""

    def result(self) -> Result:
        """Return the outcome of the controls, which rest on the selected cells."""
        model = self.parent.name if self.parent else ""
        cells = self.gate.wanted.get(model) or list(self.gate.plan.all_of(model))
        self.gate.want(cells)
        report = self.gate.report_on(cells[0])
        controls = [control for control in report.controls if control.model == model]
        shown = {control.contrast.factor for control in controls}
        missing = [factor for factor in Factor if applies(factor, cells) and factor not in shown]
        if missing:
            _skip_if_stopped(report, cells)
        alone = replace(report, cells=(), orphans=(), controls=tuple(controls))
        findings = token_findings(alone)
        if findings:
            return Outcome.FAILED, _text_of(findings)
        unknown = [*_problems(controls), *(_not_run(model, factor, report) for factor in missing)]
        return (Outcome.INCONCLUSIVE if unknown else Outcome.PASSED), _text_of(unknown)


class OrphansItem(_GateItem):
    """The test that a cell uses each golden of the profiles of this machine."""

    def result(self) -> Result:
        """Return the orphaned goldens."""
        options = self.gate.session.repeat_options
        command = f"{shell.command('repro-gate update-snapshots', options)} --prune"
        findings = list(orphan_findings(self.gate.orphans(), "golden", command))
        return (Outcome.FAILED if findings else Outcome.PASSED), _text_of(findings)


def _made(kind: type[N], parent: pytest.Collector, **more: Any) -> N:
    # Pytest leaves these parameters without types.
    made: N = cast("Any", kind).from_parent(parent, **more)
    return made


def _skip_if_stopped(report: GateReport, cells: Iterable[Cell]) -> None:
    """Skip a test of cells that were left out after the finding of another one."""
    stopped = {each.cell for each in report.cells if each.verdict == STOPPED}
    if not stopped.isdisjoint(cells):
        pytest.skip(
            "not measured: --exitfirst ended the measurement at the finding of another cell"
        )


def _text_of(findings: Iterable[Finding]) -> str:
    return "\n\n".join(map(format_finding, findings))


def _problems(controls: Iterable[ControlReport]) -> Iterable[Finding]:
    for control in controls:
        if control.problem is not None:
            yield _unmeasured(control.model, control.contrast.factor, control.problem)


def _not_run(model: str, factor: Factor, report: GateReport) -> Finding:
    verdicts = (each.verdict for each in report.cells if each.cell.model == model)
    problem = next((each for each in verdicts if isinstance(each, Inconclusive)), None)
    nothing = Inconclusive(
        reason="no control was run", remedy="measure cells of this model to their end"
    )
    return _unmeasured(model, factor, problem or nothing)


def _unmeasured(model: str, factor: Factor, problem: Inconclusive) -> Finding:
    return Finding(
        word="control",
        ids=(one_line(f"{model} with another {factor}"),),
        outcome=Outcome.INCONCLUSIVE,
        description=describe_inconclusive(problem),
    )
