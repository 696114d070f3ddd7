"""The hooks of a run of pytest that collects the cells of matrix files."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.errors import ReproGateError, UsageInvalid
from repro_gate.ports import Progress
from repro_gate.pytest_plugin.items import CellItem, MatrixFile, failure_text
from repro_gate.pytest_plugin.measuring import MatrixGate, open_matrix
from repro_gate.pytest_plugin.options import MATRIX_FILE, Options
from repro_gate.pytest_plugin.reporting import SessionReport

_WHOLE_MODELS = frozenset({"no", "loadscope", "loadfile"})
"""The distributions of pytest-xdist that keep the tests of a model on one worker."""


class Collecting:
    """The hooks of a run that collects cells."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config = config
        self._options = options
        self._worker: dict[str, Any] = getattr(config, "workerinput", {})
        self.gates: dict[Path, MatrixGate] = {}
        """By matrix file."""
        self._report = SessionReport(options, shown_as=self._shown_as)
        self._add_matrix_file()

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """Collect a matrix file."""
        expected = self._options.config
        is_wanted = file_path.name == MATRIX_FILE if expected is None else file_path == expected
        return MatrixFile.of(parent, file_path, self._opened) if is_wanted else None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Have the selected cells of each model measured together."""
        for item in session.items:
            if isinstance(item, CellItem):
                item.gate.want([item.cell])

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Pass on to a worker of pytest-xdist how tests are distributed."""
        node.workerinput["repro_gate_dist"] = self._config.getoption("dist")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of pytest-xdist has measured."""
        # A worker that crashed has no output.
        self._report.add_data(getattr(node, "workeroutput", {}).get("repro_gate", "{}"))

    def pytest_sessionstart(self) -> None:
        """Verify that the reports can be written, before the work."""
        if self._writes:
            try:
                self._report.prepare()
            except ReproGateError as error:
                raise pytest.UsageError(failure_text(error)) from error

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None]:
        """Write the reports, or send what they rest on to the controller of pytest-xdist."""
        for gate in self.gates.values():
            self._report.add_gate(gate)
        if self._worker:
            self._config.workeroutput["repro_gate"] = self._report.data()  # type: ignore[attr-defined]
        elif self._writes:
            self._report.finish(interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
        # Before the other plugins, because some of them fail after an interruption.
        yield
        if self._report.is_incomplete and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._is_missing and exitstatus != pytest.ExitCode.INTERRUPTED:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the result of the matrix files as a whole, and what was left out."""
        lines = list(self._report.lines())
        if self._is_missing:
            lines.append(
                f"no {MATRIX_FILE} among the collected paths, so nothing was checked; add its "
                "path, or give --repro-gate-config"
            )
        elif self._config.getoption("update_snapshots", default=False):
            lines.append(
                "tests of cells update no golden, also with --snapshot-update: use repro-gate "
                "update-snapshots or repro-gate review"
            )
        if lines and not self._config.getoption("collectonly"):
            terminalreporter.write_sep("-", "repro-gate")
            for line in lines:
                terminalreporter.write_line(line)

    @property
    def _writes(self) -> bool:
        return not self._worker and not self._config.getoption("collectonly")

    @property
    def _is_missing(self) -> bool:
        """Whether a gate that was asked for has found no matrix."""
        return self._options.is_asked and not self._worker and not self._report.has_matrix

    def _opened(self, file: Path) -> MatrixGate:
        """Return the gate of a matrix file; raises `ReproGateError`."""
        self._report.add_file(file)
        if self._options.report is not None and self.gates:
            first = next(iter(self.gates))
            raise UsageInvalid(
                f"--repro-gate-report is for one matrix file, and {first} is another one; choose "
                "one with --repro-gate-config"
            )
        device, devices = self._devices()
        session = open_matrix(
            file,
            shown_as=self._shown_as(file),
            suites=self._options.suites,
            device=device,
            devices=devices,
        )
        gate = MatrixGate(
            session,
            progress=self._progress,
            fail_fast=self._config.getoption("maxfail") == 1,
        )
        _require_tokens(gate, self._options.suites)
        self.gates[file] = gate
        return gate

    def _devices(self) -> tuple[str | None, tuple[str, ...]]:
        """Return the device of this process, or several that share the work of it."""
        device, devices = self._options.device, self._options.devices
        workers = self._worker.get("workercount", 1)
        if workers == 1:
            return device, devices
        if self._worker["repro_gate_dist"] not in _WHOLE_MODELS:
            raise UsageInvalid(
                f"with --dist {self._worker['repro_gate_dist']} each of {workers} workers would "
                "load every model; use --dist loadscope, which keeps a model on one worker"
            )
        if not devices:
            return device, ()
        if workers > len(devices):
            raise UsageInvalid(
                f"--repro-gate-devices has {len(devices)} devices for {workers} workers; two "
                "workers on one device would need the memory of two models"
            )
        # A worker that replaces a crashed one has a higher number.
        number = int(self._worker["workerid"].removeprefix("gw"))
        return devices[number % len(devices)], ()

    @contextmanager
    def _progress(self) -> Generator[Progress]:
        """Show the progress of a measurement on a terminal, or with -v."""
        plugins, verbosity = self._config.pluginmanager, self._config.get_verbosity()
        capture: Any = plugins.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            console = Console(stderr=True)
            is_shown = verbosity > 0 or (verbosity == 0 and console.is_terminal)
            reporter: Any = plugins.getplugin("terminalreporter")
            if reporter is not None and is_shown:
                reporter.ensure_newline()
                reporter.flush()
            quiet = bool(self._worker) or not is_shown
            with shown_progress(console, quiet=quiet) as progress:
                yield progress

    def _add_matrix_file(self) -> None:
        """Collect the matrix of the root folder too, where pytest is given no paths for it."""
        file = self._options.config
        if file is None:
            if self._config.args_source is pytest.Config.ArgsSource.ARGS:
                return
            file = self._config.rootpath / MATRIX_FILE
        given = (Path(arg.partition("::")[0]) for arg in self._config.args)
        paths = [self._config.invocation_params.dir / path for path in given]
        if file.is_file() and not any(file.is_relative_to(path) for path in paths):
            self._config.args.append(str(file))

    def _shown_as(self, file: Path) -> Path:
        """Return the name of a matrix file in commands that are run in this folder."""
        folder = self._config.invocation_params.dir
        return file.relative_to(folder) if file.is_relative_to(folder) else file


def _require_tokens(gate: MatrixGate, suites: tuple[str, ...]) -> None:
    """Raise `UsageInvalid` for suites of log-probabilities, of which no cell becomes a test."""
    others = [plan.suite.name for plan in gate.session.logprob_plans()]
    if others and (suites or not gate.plan.cells):
        raise UsageInvalid(
            f"{others[0]} is a suite of log-probabilities, which is judged as a whole and may cost "
            f"calls; use repro-gate check --suite {others[0]}"
        )
