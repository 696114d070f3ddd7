"""`repro-gate axes`: what each change of a setting does to the tokens of a model."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from repro_gate.adapters.files.atomic import write_atomically
from repro_gate.checks.tokens.experiments import AxesPlan, ExperimentPorts, measure_axes
from repro_gate.cli import wiring
from repro_gate.cli.session import Session, engine_specs
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.axes import chosen_cells
from repro_gate.core.engines import EngineSpec
from repro_gate.core.matrix import Matrix, plan
from repro_gate.core.outcome import ExitCode
from repro_gate.core.tokens.cell import Cell
from repro_gate.errors import NothingSelected, UsageInvalid
from repro_gate.ports import Progress
from repro_gate.reports.axes import render_axes, render_axes_page

DEVICES = ("cuda", "rocm", "metal", "vulkan")
"""Tried for a model on the CPU, if its engine has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AxesOptions:
    """What to measure, and where to write it."""

    model: str
    engines: tuple[str, ...]
    """Other engines of the matrix."""
    output: Path | None
    """The file of the page; None for none."""


def run_axes(session: Session, options: AxesOptions) -> ExitCode:
    """Measure the axes of a model and print them; returns 4 if its runs do not repeat.

    Raises:
        UsageInvalid: the matrix has no such model, engine or suite, or the page is no file.
        MeasurementUnavailable: the model cannot be run, or no cell is selected.
    """
    (model,) = session.models([options.model])
    if options.output is not None:
        _require_writable(options.output)
    every = cells_of(session.matrix, model.name)
    planned = AxesPlan(
        model=model,
        cells=_selected(session, model.name, every),
        all_cells=len(every),
        cores=usable_cores(),
        devices=DEVICES,
        engines=engines_of(session.matrix, options.engines),
    )
    started_at = wiring.now()
    with shown_progress(Console(stderr=True), quiet=False) as progress:
        ports = experiment_ports(wiring.workspace_for(session), progress)
        report = measure_axes(planned, ports=ports, started_at=started_at)
    print(render_axes(report), end="", flush=True)
    if options.output is not None:
        write_atomically(options.output, render_axes_page(report))
    if report.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.PASSED if report.is_reproducible else ExitCode.INCONCLUSIVE


def _require_writable(file: Path) -> None:
    """Raise `UsageInvalid` for a page that could not be written minutes later."""
    if not file.parent.is_dir():
        raise UsageInvalid(f"there is no folder {file.parent}: name another file with --output")
    if file.is_dir():
        raise UsageInvalid(f"{file} is a folder: name a file with --output")


def experiment_ports(workspace: wiring.Workspace, progress: Progress) -> ExperimentPorts:
    """Return the ports of experiments in a workspace."""
    return ExperimentPorts(
        starter=workspace.session.engines,
        files=workspace.models,
        progress=progress,
        clock=time.monotonic,
    )


def usable_cores() -> int:
    """Return the number of cores that the affinity allows."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cells_of(matrix: Matrix, model: str) -> tuple[Cell, ...]:
    """Return the cells of a model in all suites, each once."""
    return tuple({cell: None for cell in matrix.cells() if cell.model == model})


def engines_of(matrix: Matrix, names: Sequence[str]) -> tuple[EngineSpec, ...]:
    """Return engines of the matrix; raises `UsageInvalid` for an unknown name."""
    others = (one.engine for one in matrix.variants.values() if one.engine is not None)
    known = {spec.name: spec for spec in (*engine_specs(matrix.models.values()), *others)}
    for name in names:
        if name not in known:
            raise UsageInvalid(
                f"there is no engine {name!r} with a model in the matrix; it has: "
                f"{', '.join(known)}"
            )
    return tuple(known[name] for name in names)


def _selected(session: Session, model: str, every: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Return the cells of the selection, or a few of all."""
    chosen = session.selection
    if not chosen.suites and chosen.only is None:
        cells = chosen_cells(every)
    else:
        suites = chosen.suites or tuple(session.matrix.suites)
        planned = plan(session.matrix, suites=suites, only=chosen.only)
        cells = tuple(cell for cell in planned.cells if cell.model == model)
    if not cells:
        raise NothingSelected(
            f"nothing was measured: no selected cell is of the model {model}",
            remedy="select other cells with --suite and --only, or add some to a suite",
        )
    return cells
