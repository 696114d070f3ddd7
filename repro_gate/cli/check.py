"""`repro-gate check`."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from repro_gate.adapters.atomic import write_atomically
from repro_gate.adapters.observed import write_observed
from repro_gate.checks.recording import observed_goldens
from repro_gate.checks.tokens import check_tokens
from repro_gate.cli import wiring
from repro_gate.cli.opening import Opening
from repro_gate.cli.progress import shown_progress
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.report import GateReport
from repro_gate.errors import MeasurementUnavailable
from repro_gate.reports.json_report import render_json
from repro_gate.reports.summary import render_summary
from repro_gate.reports.terminal import render_terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The command line of `check`."""

    output: Path
    json: bool
    quiet: bool
    exit_zero: bool


def run_check(opening: Opening, options: CheckOptions, *, started: float) -> ExitCode:
    """Check, write the reports, say the result, and return the exit code."""
    workspace = wiring.workspace_of(opening)
    _prepare(options.output)
    with shown_progress(Console(stderr=True), quiet=options.quiet or options.json) as progress:
        report = check_tokens(
            opening.plan(),
            ports=wiring.ports_for_check(workspace, progress=progress),
            started=started,
            started_at=now(),
        )
    written = _write(report, options.output)
    _say(report, options)
    code = exit_code_for(report)
    if code is ExitCode.PASSED and not written:
        code = ExitCode.INCONCLUSIVE
    return ExitCode.PASSED if options.exit_zero else code


def now() -> str:
    """Return the time by the calendar, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _prepare(output: Path) -> None:
    """Find out before the work, not after it, that the reports cannot be written."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / "report.json"
        if not probe.exists():
            write_atomically(probe, "")
            probe.unlink()
    except OSError as error:
        raise _unwritable(output, error) from error


def _write(report: GateReport, output: Path) -> bool:
    """Write the reports and tell whether that went well."""
    try:
        digests = write_observed(output, observed_goldens(report))
        for name, render in wiring.REPORTS.items():
            write_atomically(output / name, render(report))
        # Last, because it vouches for the rest.
        write_atomically(output / "report.json", render_json(report, observed=digests))
    except OSError as error:
        # The verdict is known, and is said all the same.
        print(f"repro-gate: {_unwritable(output, error)}", file=sys.stderr)
        return False
    return True


def _unwritable(output: Path, error: OSError) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"the reports cannot be written to {output}: {error.strerror or error}"
    )


def _say(report: GateReport, options: CheckOptions) -> None:
    if options.json:
        print(render_json(report), end="")
    elif options.quiet:
        print(render_summary(report))
    else:
        render_terminal(report, Console())
