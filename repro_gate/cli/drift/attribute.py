"""`repro-gate explain --attribute`: find the cause of a divergence by experiments."""

from pathlib import Path

from rich.console import Console

from repro_gate.checks.tokens.attribution import AttributionPlan, attribute
from repro_gate.cli import wiring
from repro_gate.cli.drift.axes import engines_of, experiment_ports, usable_cores
from repro_gate.cli.drift.explain import Experiments
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.attribution import golden_of
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Golden
from repro_gate.errors import MeasurementUnavailable
from repro_gate.reports.attribution import render_attribution, render_no_attribution


def run_attribution(
    report: GateReport,
    cell: CellReport,
    committed: Golden | None,
    config: Path | None,
    options: Experiments,
) -> ExitCode:
    """Print which single change gives the golden's tokens on this machine.

    Raises:
        UsageInvalid: the matrix has no such engine.
        MeasurementUnavailable: the cell cannot be run here.
    """
    golden = golden_of(cell, committed)
    if golden is None:
        print(f"\n{render_no_attribution(cell)}", end="")
        return ExitCode.PASSED
    device = options.device or _device_of(report)
    session = open_session(Selection(config=config, device=device))
    model = session.matrix.models.get(cell.cell.model)
    if model is None:
        name = escape_text(cell.cell.model)
        raise MeasurementUnavailable(
            f"the matrix has no model {name} any more",
            remedy="explain with the matrix of the check",
        )
    planned = AttributionPlan(
        report=cell,
        facts={} if cell.provenance is None else report.provenances[cell.provenance],
        golden=golden,
        model=model,
        cores=usable_cores(),
        engines=engines_of(session.matrix, options.engines),
    )
    with shown_progress(Console(stderr=True), quiet=False) as progress:
        ports = experiment_ports(wiring.workspace_for(session), progress)
        found = attribute(planned, ports=ports)
    print(f"\n{render_attribution(found)}", end="", flush=True)
    return ExitCode.INTERRUPTED if found.interrupted else ExitCode.PASSED


def _device_of(report: GateReport) -> str | None:
    """Return the device that a check was given."""
    words = list(report.repeat_with)
    return words[words.index("--device") + 1] if "--device" in words[:-1] else None
