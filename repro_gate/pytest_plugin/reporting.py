"""The report on a whole run of pytest, from the measurements of every worker."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from repro_gate import __version__
from repro_gate.adapters.files.checkout import clean_commit_of
from repro_gate.adapters.files.codec import decode, encode
from repro_gate.checks.shards.merge import measurement_of
from repro_gate.checks.tokens.check import judge_tokens, read_committed
from repro_gate.cli import results, wiring
from repro_gate.cli.terminal.console import unavailable
from repro_gate.core.outcome import ExitCode, Outcome, decide
from repro_gate.core.report import EngineReport, GateReport
from repro_gate.core.shards.report import PlanIdentity, Shard, ShardReport, measured_cells
from repro_gate.core.tokens.measurement import Measurement, joined
from repro_gate.errors import InputInvalid, MeasurementUnavailable, ReproGateError
from repro_gate.pytest_plugin.measuring import MatrixGate, open_matrix
from repro_gate.pytest_plugin.options import Options
from repro_gate.reports.findings.notes import check_notes
from repro_gate.reports.findings.summary import render_summary
from repro_gate.reports.text import shell
from repro_gate.reports.text.escape import log_line

_REVIEW: Final = "repro-gate review --from"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one process measured of the selected cells of a matrix file."""

    selected: tuple[str, ...]
    """By id; of all processes."""
    measurement: Measurement


class SessionReport:
    """Collects what every process measured, judges it as a whole, and writes the reports."""

    def __init__(self, options: Options, *, shown_as: Callable[[Path], Path]) -> None:
        self._options = options
        self._shown_as = shown_as
        self._started = time.monotonic()
        self._started_at = wiring.now()
        self._parts: dict[Path, list[_Part]] = {}
        self._lines: list[str] = []
        self.is_incomplete = False
        """Whether it cannot be a pass, although each test may have passed or been skipped."""

    @property
    def has_matrix(self) -> bool:
        """Whether any process collected a matrix file."""
        return bool(self._parts)

    def prepare(self) -> None:
        """Verify that the reports can be written; raises `ReproGateError`."""
        if self._options.report is not None:
            results.prepare_folder(self._options.report)

    def add_file(self, file: Path) -> None:
        """Add a matrix file, which may be invalid."""
        self._parts.setdefault(file, [])

    def add_gate(self, gate: MatrixGate) -> None:
        """Add what this process measured of a matrix file."""
        selected = tuple(cell.id for cells in gate.wanted.values() for cell in cells)
        part = _Part(selected=selected, measurement=gate.measurement())
        self._parts.setdefault(gate.session.file, []).append(part)

    def add_data(self, text: str) -> None:
        """Add what another process measured."""
        for file, parts in json.loads(text).items():
            self._parts.setdefault(Path(file), []).extend(map(_part_of, parts))

    def data(self) -> str:
        """Return what this process measured, for `add_data` of another one."""
        return json.dumps(
            {str(file): [*map(_data_of, parts)] for file, parts in self._parts.items()}
        )

    def finish(self, *, interrupted: bool) -> None:
        """Judge what was measured, and write the reports."""
        selected = [file for file, parts in self._parts.items() if any(p.selected for p in parts)]
        if self._options.report is not None and not selected:
            nothing = "no cell was selected, or no worker of pytest-xdist has ended"
            self._fail(MeasurementUnavailable(nothing, remedy="see the output of pytest"))
        for file in selected:
            try:
                self._write(self._judged(file, interrupted=interrupted))
            except ReproGateError as error:
                self.is_incomplete = True
                self._fail(error)
            except (OSError, MemoryError) as error:
                self.is_incomplete = True
                self._fail(unavailable(error))

    def lines(self) -> Iterator[str]:
        """Yield what to show at the end of the run."""
        yield from self._lines

    def _judged(self, file: Path, *, interrupted: bool) -> GateReport:
        """Return the report on the selected cells; those that no process measured are in it."""
        session = open_matrix(
            file,
            shown_as=self._shown_as(file),
            suites=self._options.suites,
            device=self._options.device,
            devices=self._options.devices,
        )
        parts = self._parts[file]
        selected = {cell_id for part in parts for cell_id in part.selected}
        whole = session.full_plan().tokens
        plan = whole.of(cell for cell in whole.cells if cell.id in selected)
        measured = joined(part.measurement for part in parts)
        stopped = (part.measurement.stopped_at for part in parts)
        measured.stopped_at = next(filter(None, stopped), None)
        measured.interrupted |= interrupted
        # Its finding may be an expected one, and the cells after it are skipped.
        self.is_incomplete |= measured.stopped_at is not None
        require_one_profile(measured.engines)
        workspace = wiring.workspace_for(session)
        committed = read_committed(
            workspace.goldens, workspace.current_references, plan=plan, measured=measured
        )
        report = judge_tokens(
            plan,
            measured,
            committed,
            timing=measured.timing(wall_s=time.monotonic() - self._started),
            started_at=self._started_at,
        )
        commit = clean_commit_of(session.file.parent)
        report = replace(report, repeat_with=session.repeat_options, commit=commit)
        self._lines += [log_line(line) for line in _lines_of(report)]
        self._lines += [
            f"left out: {plan.suite.name}, a suite of log-probabilities, which is judged as a "
            f"whole and may cost calls: repro-gate check --suite {plan.suite.name}"
            for plan in session.logprob_plans()
        ]
        return report

    def _write(self, report: GateReport) -> None:
        folder = self._options.report
        if folder is not None:
            results.write_reports(report, folder)
            shown = str(self._shown_as(folder))
            self._lines.append(log_line(f"reports: {shown}"))
            if decide(report) is Outcome.FAILED:
                self._lines.append(f"change by change: {_REVIEW} {shell.quoted(shown)}")

    def _fail(self, error: ReproGateError) -> None:
        self._lines += [f"no report: {log_line(line)}" for line in str(error).splitlines()]
        if self._options.report is not None:
            code = ExitCode.INPUT_INVALID if isinstance(error, InputInvalid) else None
            results.write_failure(self._options.report, error, code or ExitCode.INCONCLUSIVE)


def require_one_profile(engines: Iterable[EngineReport]) -> None:
    """Raise `MeasurementUnavailable` if the workers' devices have different profiles.

    A report compares all cells of an engine with the goldens of one profile.
    """
    profiles: dict[str, str] = {}
    for engine in engines:
        first = profiles.setdefault(engine.name, engine.profile)
        if first != engine.profile:
            raise MeasurementUnavailable(
                f"the devices have different profiles: {first} and {engine.profile}",
                remedy="check each class of device separately, with --repro-gate-device",
            )


def _lines_of(report: GateReport) -> Iterator[str]:
    for note in check_notes(report):
        yield f"note: {note.claim}"
        yield from (f"  {label}: {text}" for label, text in note.lines)
    yield render_summary(report)


def _data_of(part: _Part) -> Mapping[str, Any]:
    measured = part.measurement
    cells = [*measured.repetitions, *measured.problems.keys() - measured.repetitions.keys()]
    shard = ShardReport(
        tool_version=__version__,
        started_at="",
        shard=Shard(1, 1),
        identity=PlanIdentity(digest="", commit=None, suites=(), only=None, runs=None, options=()),
        cells=measured_cells(cells, measured),
        provenances=measured.provenances(cells),
        engines=tuple(measured.engines),
        models=measured.models,
        controls=tuple(measured.controls),
        logprobs=(),
        timing=measured.timing(wall_s=0.0),
        interrupted=measured.interrupted,
        notes=tuple(measured.notes),
    )
    stopped = measured.stopped_at
    return {
        "selected": part.selected,
        "stopped_at": None if stopped is None else stopped.id,
        "shard": encode(shard, ShardReport),
    }


def _part_of(data: Mapping[str, Any]) -> _Part:
    shard: ShardReport = decode(data["shard"], ShardReport)
    stopped = (one.cell for one in shard.cells if one.cell.id == data["stopped_at"])
    measurement = replace(
        measurement_of(shard),
        engine_s=shard.timing.engine_s,
        load_s=shard.timing.load_s,
        generated_tokens=shard.timing.generated_tokens,
        stopped_at=next(stopped, None),
    )
    return _Part(selected=tuple(data["selected"]), measurement=measurement)
