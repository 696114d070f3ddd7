"""The report folder of a check, and what the shell gets to see of the result."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

from rich.console import Console

from repro_gate.adapters.atomic import sweep, write_atomically
from repro_gate.checks.tokens.record import observed_goldens
from repro_gate.cli import wiring
from repro_gate.cli.exiting import file_remedy, reason_of
from repro_gate.cli.leftovers import REPORT, clear, clear_early
from repro_gate.cli.places import make_report_folder
from repro_gate.cli.printing import say, warn
from repro_gate.cli.proposal import ci_variable
from repro_gate.core.evidence import Evidence, Unfinished, evidence_of
from repro_gate.core.outcome import ExitCode, FailOn, shell_code
from repro_gate.core.report import GateReport
from repro_gate.errors import MeasurementUnavailable, NothingSelected, ReproGateError, UsageInvalid
from repro_gate.reports.foreign import clipped
from repro_gate.reports.json_report import render_json
from repro_gate.reports.summary import render_summary
from repro_gate.reports.terminal import render_terminal

_TREE: Final = "observed"
"""Of the report folder: it holds a folder for each profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """What the command line says of the result."""

    output: Path
    json: bool = False
    quiet: bool = False
    fail_on: FailOn = FailOn.INCONCLUSIVE

    @property
    def is_quiet(self) -> bool:
        """Tell whether nobody wants to watch."""
        return self.quiet or self.json


def _nothing() -> None:
    """Write nothing more."""


def import_early(*, with_goldens: bool) -> None:
    """Import, in a thread, what writes the reports: it takes as long as a hundred generations."""

    def imports() -> None:
        from repro_gate.adapters import evidence_file  # noqa: F401, PLC0415

        if with_goldens:
            from repro_gate.adapters import observed  # noqa: F401, PLC0415

    # Without the memory for a thread they are imported when they are needed.
    with suppress(RuntimeError):
        Thread(target=imports, daemon=True).start()


def prepare(output: Path, *, keeps_shard: bool = False) -> None:
    """Find out before the work, not after it, that the reports cannot be written.

    Raises:
        InputInvalid: the folder, or one that is written in it, is a link.
        MeasurementUnavailable: it cannot be written.
        UsageInvalid: no folder can have this name.
    """
    report = output / REPORT
    try:
        make_report_folder(output)
        sweep(output, trees=(_TREE,))
        write_atomically(report, "")
        clear(output, keeps_shard=keeps_shard)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageInvalid(f"--output: {clipped(str(output), 80)}: {error.strerror}") from error
        raise _unwritable(output, error) from error


def leave_failure(
    output: Path, error: ReproGateError, code: ExitCode, *, keeps_shard: bool = False
) -> None:
    """Leave the reason why there is no report, where a report folder is there to leave it in.

    A command line that is wrong begins no check, and takes no earlier report away; under CI it
    does, where a job may publish what it finds.
    """
    remedy = error.remedy if isinstance(error, MeasurementUnavailable) else None
    with suppress(OSError):
        is_wrong = isinstance(error, UsageInvalid | NothingSelected)
        if is_wrong and (output / REPORT).is_file() and ci_variable(os.environ) is None:
            return
        clear_early(output, keeps_shard=keeps_shard)
        if output.is_dir() and not output.is_symlink():
            failure = Unfinished(exit_code=code.value, message=str(error), remedy=remedy)
            _leave(output, failure)


def conclude(
    report: GateReport, options: ResultOptions, *, write_more: Callable[[], None] = _nothing
) -> ExitCode:
    """Write the reports, say the result, and return the exit code.

    `write_more` writes what else stands in the folder; it may raise OSError, as they may.
    """
    problem: MeasurementUnavailable | None = None
    report_json = None
    code = shell_code(report, options.fail_on)
    try:
        report_json = _write(report, options.output, write_more)
    except (OSError, MemoryError) as error:
        # The verdict is known, and is said all the same; but without its reports it is no pass.
        problem = _unwritable(options.output, error)
        code = ExitCode.INCONCLUSIVE if code is ExitCode.PASSED else code
        warn(f"repro-gate: {problem}")
        # What was written before the disk was full must not speak for the whole.
        leave_failure(options.output, problem, code)
    say(_result(report, options, report_json or render_json(report)))
    return code


def keep_observed(report: GateReport, output: Path) -> int:
    """Write what `update-snapshots --from` accepts, and return how many cells that are.

    Raises:
        InputInvalid: a folder to write into is a link.
        MeasurementUnavailable: the folder cannot be written.
        OSError: nor can a file in it.
    """
    count = len(observed_goldens(report))
    if count:
        make_report_folder(output.parent)
        prepare(output)
        digests = _write_observed(report, output)
        write_atomically(output / REPORT, render_json(report, observed=digests))
    return count


def _leave(output: Path, evidence: Evidence) -> None:
    # Imported early in a thread, while the engines work.
    from repro_gate.adapters.evidence_file import write_evidence  # noqa: PLC0415

    write_evidence(output, evidence)


def _write(report: GateReport, output: Path, write_more: Callable[[], None]) -> str:
    """Write the reports and return what report.json says."""
    write_more()
    digests = _write_observed(report, output)
    for name, render in wiring.REPORTS.items():
        write_atomically(output / name, render(report))
    _leave(output, evidence_of(report))
    # Last, because it vouches for the rest.
    report_json = render_json(report, observed=digests)
    write_atomically(output / REPORT, report_json)
    return report_json


def _write_observed(report: GateReport, output: Path) -> dict[str, str]:
    goldens = observed_goldens(report)
    if not goldens and not (output / "observed").exists():
        return {}
    # It brings pytest along, and is imported early like the other.
    from repro_gate.adapters.observed import write_observed  # noqa: PLC0415

    # Also where nothing was observed: what an earlier check left there is removed.
    return write_observed(output, goldens)


def _unwritable(output: Path, error: OSError | MemoryError) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"the reports cannot be written to {output}: {reason_of(error)}",
        remedy=f"{file_remedy(error)}; or name another folder with --output",
    )


def _result(report: GateReport, options: ResultOptions, report_json: str) -> str:
    if options.json:
        return report_json
    if options.quiet:
        return f"{render_summary(report)}\n"
    console = Console()
    with console.capture() as capture:
        render_terminal(report, console)
    return capture.get()
