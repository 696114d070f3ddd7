"""What a check leaves behind: its reports and its result."""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from repro_gate.adapters.files.atomic import sweep, write_atomically
from repro_gate.adapters.files.observed import FOLDER as OBSERVED
from repro_gate.adapters.files.observed import write_observed
from repro_gate.adapters.files.results import report_text, write_report
from repro_gate.checks.tokens.record import changed_goldens
from repro_gate.cli import wiring
from repro_gate.cli.paths import (
    REPORT,
    make_report_folder,
    remove_reports,
    remove_reports_quietly,
    report_folder,
)
from repro_gate.cli.terminal.console import ci_variable, file_remedy, print_result, reason_of, warn
from repro_gate.core.changes.groups import change_groups
from repro_gate.core.outcome import ExitCode, FailOn, shell_code
from repro_gate.core.report import CheckResult, GateReport, UnfinishedCheck, result_of
from repro_gate.core.timeline import KeptHistory
from repro_gate.errors import MeasurementUnavailable, NothingSelected, ReproGateError, UsageInvalid
from repro_gate.reports.findings.summary import render_summary
from repro_gate.reports.findings.tokens import config_option
from repro_gate.reports.json import summary_data
from repro_gate.reports.terminal import render_terminal
from repro_gate.reports.text.escape import clipped
from repro_gate.reports.text.shell import command


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """The options about the result."""

    output: Path
    json: bool = False
    quiet: bool = False
    fail_on: FailOn = FailOn.INCONCLUSIVE

    @property
    def is_quiet(self) -> bool:
        """Whether to show no progress."""
        return self.quiet or self.json


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The options of `check`."""

    result: ResultOptions
    resume: bool = False
    dry_run: bool = False
    fail_fast: bool = False


def _no_more() -> None:
    """Do nothing."""


def prepare_folder(output: Path, *, keeps_shard: bool = False) -> None:
    """Verify that the reports can be written, before the work.

    Raises:
        InputInvalid: the folder, or a folder in it, is a link.
        MeasurementUnavailable: it cannot be written.
        UsageInvalid: the name of the folder is too long.
    """
    report = output / REPORT
    try:
        make_report_folder(output)
        sweep(output, trees=(OBSERVED,))
        write_atomically(report, "")
        remove_reports(output, keeps_shard=keeps_shard)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageInvalid(f"--output: {clipped(str(output), 80)}: {error.strerror}") from error
        raise _unwritable(output, error) from error


def write_failure(
    output: Path, error: ReproGateError, code: ExitCode, *, keeps_shard: bool = False
) -> None:
    """Write the reason why there is no report, if the report folder exists.

    An invalid command line starts no check and leaves earlier reports alone, except in CI, where a
    later step would publish them.
    """
    remedy = error.remedy if isinstance(error, MeasurementUnavailable) else None
    with suppress(OSError):
        is_wrong = isinstance(error, UsageInvalid | NothingSelected)
        if is_wrong and (output / REPORT).is_file() and ci_variable(os.environ) is None:
            return
        remove_reports_quietly(output, keeps_shard=keeps_shard)
        if output.is_dir() and not output.is_symlink():
            failure = UnfinishedCheck(exit_code=code.value, message=str(error), remedy=remedy)
            write_report(output, _text_of(failure))


def finish(
    report: GateReport,
    options: ResultOptions,
    *,
    history: KeptHistory | None = None,
    write_more: Callable[[], None] = _no_more,
) -> ExitCode:
    """Write the reports, print the result, and return the exit code.

    Args:
        report: what was found.
        options: where to write, and what to print.
        history: for the page of the check.
        write_more: writes further files; may raise OSError.
    """
    problem: MeasurementUnavailable | None = None
    report_json = None
    code = shell_code(report, options.fail_on)
    try:
        write_more()
        report_json = write_reports(report, options.output, history)
    except (OSError, MemoryError) as error:
        # The verdict is still printed, but without its reports it is not a pass.
        problem = _unwritable(options.output, error)
        code = ExitCode.INCONCLUSIVE if code is ExitCode.PASSED else code
        warn(f"repro-gate: {problem}")
        # Reports written before the disk was full must not be taken for the whole.
        write_failure(options.output, problem, code)
    print_result(_shown(report, options, report_json))
    return code


def _text_of(result: CheckResult) -> str:
    return report_text(result, summary_data(result))


def write_reports(report: GateReport, output: Path, history: KeptHistory | None = None) -> str:
    """Write the reports, and return the text of report.json; raises OSError."""
    digests = _write_observed(report, output)
    for name, render in wiring.reports_with(history).items():
        write_atomically(output / name, render(report))
    # Last, because it has the digests of the rest.
    report_json = _text_of(result_of(report, observed=digests))
    write_report(output, report_json)
    return report_json


def _write_observed(report: GateReport, output: Path) -> dict[str, str]:
    goldens = changed_goldens(report)
    if not goldens and not (output / OBSERVED).exists():
        return {}
    # Also where nothing was observed: what an earlier check left there is removed.
    return write_observed(output, goldens)


def _unwritable(output: Path, error: OSError | MemoryError) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"the reports cannot be written to {output}: {reason_of(error)}",
        remedy=f"{file_remedy(error)}; or name another folder with --output",
    )


def _shown(report: GateReport, options: ResultOptions, report_json: str | None) -> str:
    if options.json:
        return report_json or _text_of(result_of(report))
    if options.quiet:
        return f"{render_summary(report)}\n"
    console = Console()
    with console.capture() as capture:
        render_terminal(report, console)
    return f"{capture.get()}{_next(report, options)}"


def _next(report: GateReport, options: ResultOptions) -> str:
    """Return the command that reviews the changes, for somebody who can; empty for a log."""
    is_local = ci_variable(os.environ) is None and sys.stdout is not None and sys.stdout.isatty()
    if not is_local or not change_groups(report):
        return ""
    config = config_option(report.repeat_with)
    is_usual = options.output == report_folder(None, Path() if config else None)
    words = [*config, *(() if is_usual else ("--output", str(options.output)))]
    return f"next: {command('repro-gate review', words)}\n"
