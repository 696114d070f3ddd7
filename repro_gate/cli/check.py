"""`repro-gate check`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from threading import Thread

from rich.console import Console

from repro_gate.adapters.atomic import write_atomically
from repro_gate.checks.recording import observed_goldens
from repro_gate.checks.tokens import check_tokens
from repro_gate.cli import wiring
from repro_gate.cli.opening import Opening
from repro_gate.cli.printing import say
from repro_gate.cli.progress import shown_progress
from repro_gate.core.matrix import Plan
from repro_gate.core.outcome import ExitCode, exit_code_for
from repro_gate.core.policies import LogprobPlan
from repro_gate.core.report import GateReport
from repro_gate.errors import MeasurementUnavailable
from repro_gate.reports.foreign import one_line
from repro_gate.reports.json_report import render_json
from repro_gate.reports.summary import render_summary
from repro_gate.reports.terminal import render_terminal

_OBSERVED = "repro_gate.adapters.observed"
"""Imported in a thread while the engines work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The command line of `check`."""

    output: Path
    json: bool
    quiet: bool
    exit_zero: bool
    resume: bool = False
    dry_run: bool = False


def run_check(opening: Opening, options: CheckOptions, *, started: float) -> ExitCode:
    """Check, write the reports, say the result, and return the exit code."""
    workspace = wiring.workspace_of(opening)
    tokens, plans = opening.plan(), opening.logprob_plans()
    if options.dry_run:
        return _say_plan(workspace, tokens, plans)
    _prepare(options.output)
    if tokens.cells:
        # Syrupy brings pytest along, and its import takes as long as a hundred generations.
        Thread(target=import_module, args=[_OBSERVED], daemon=True).start()
    report = _checked_tokens(workspace, tokens, options, started=started)
    if plans:
        report = _with_logprobs(report, workspace, plans, options)
    timing = replace(report.timing, wall_s=time.monotonic() - started)
    report = replace(report, timing=timing, repeat_with=opening.options)
    report_json = _write(report, options.output)
    is_said = say(_result(report, options, report_json or render_json(report)))
    # An interruption is no verdict, and neither is a report that could not be given.
    ignored = options.exit_zero and not report.interrupted
    code = ExitCode.PASSED if ignored else exit_code_for(report)
    if code is ExitCode.PASSED and not (report_json and is_said):
        code = ExitCode.INCONCLUSIVE
    return code


def _checked_tokens(
    workspace: wiring.Workspace, plan: Plan, options: CheckOptions, *, started: float
) -> GateReport:
    # Where only log-probabilities are checked, nobody wants to hear of no runs.
    quiet = _is_quiet(options) or not plan.cells
    with shown_progress(Console(stderr=True), quiet=quiet) as progress:
        return check_tokens(
            plan,
            ports=wiring.ports_for_check(workspace, progress=progress),
            started=started,
            started_at=wiring.now(),
        )


def _with_logprobs(
    report: GateReport,
    workspace: wiring.Workspace,
    plans: Sequence[LogprobPlan],
    options: CheckOptions,
) -> GateReport:
    # Numpy and scipy come with it.
    from repro_gate.cli import logprobs  # noqa: PLC0415

    drawing = logprobs.LogprobOptions(
        output=options.output,
        resume=options.resume,
        is_quiet=_is_quiet(options),
        started_at=report.started_at,
    )
    with logprobs.prepared(workspace, plans, is_interrupted=report.interrupted) as suites:
        checked = logprobs.check_suites(workspace, suites, drawing)
    return replace(
        report,
        logprobs=tuple(suite.report for suite in checked),
        interrupted=report.interrupted or any(suite.interrupted for suite in checked),
        suites=(*report.suites, *(plan.suite.name for plan in plans)),
    )


def _say_plan(workspace: wiring.Workspace, tokens: Plan, plans: Sequence[LogprobPlan]) -> ExitCode:
    """Print what would be run and spent, and spend nothing."""
    runs = sum(map(tokens.runs_of, tokens.cells))
    lines = [f"tokens: {len(tokens.cells)} cells, {runs} runs"] if tokens.cells else []
    if plans:
        from repro_gate.cli import logprobs  # noqa: PLC0415

        with logprobs.prepared(workspace, plans) as suites:
            lines += logprobs.plan_lines(suites)
    lines.append("nothing was checked: this was a dry run")
    say("".join(f"{one_line(line)}\n" for line in lines))
    return ExitCode.INCONCLUSIVE


def _is_quiet(options: CheckOptions) -> bool:
    return options.quiet or options.json


def _prepare(output: Path) -> None:
    """Find out before the work, not after it, that the reports cannot be written."""
    report = output / "report.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(report, "")
        # Whatever ends this check early, the report of the one before must not stand for it.
        report.unlink()
    except OSError as error:
        raise _unwritable(output, error) from error


def _write(report: GateReport, output: Path) -> str | None:
    """Write the reports and return what report.json says, or None when that did not go well."""
    try:
        digests = _write_observed(report, output)
        for name, render in wiring.REPORTS.items():
            write_atomically(output / name, render(report))
        # Last, because it vouches for the rest.
        report_json = render_json(report, observed=digests)
        write_atomically(output / "report.json", report_json)
    except OSError as error:
        # The verdict is known, and is said all the same.
        print(f"repro-gate: {_unwritable(output, error)}", file=sys.stderr)
        return None
    return report_json


def _write_observed(report: GateReport, output: Path) -> dict[str, str]:
    goldens = observed_goldens(report)
    if not goldens and not (output / "observed").exists():
        return {}
    # Also where nothing was observed: what an earlier check left there is taken away.
    digests: dict[str, str] = import_module(_OBSERVED).write_observed(output, goldens)
    return digests


def _unwritable(output: Path, error: OSError) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"the reports cannot be written to {output}: {error.strerror or error}"
    )


def _result(report: GateReport, options: CheckOptions, report_json: str) -> str:
    if options.json:
        return report_json
    if options.quiet:
        return f"{render_summary(report)}\n"
    console = Console()
    with console.capture() as capture:
        render_terminal(report, console)
    return capture.get()
