"""`repro-gate check`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from rich.console import Console

from repro_gate.adapters.files.checkout import clean_commit_of
from repro_gate.adapters.models.files import absence_remedy
from repro_gate.checks.tokens.check import judge_tokens, measure_tokens
from repro_gate.cli import results, wiring
from repro_gate.cli.results import CheckOptions
from repro_gate.cli.session import Session, start_scoring
from repro_gate.cli.terminal.console import print_result, warn
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.matrix import Plan
from repro_gate.core.outcome import ExitCode, Outcome, decide
from repro_gate.core.report import GateReport, Note, NoteOrigin
from repro_gate.core.shards.split import WholePlan
from repro_gate.core.tokens.measurement import Measurement
from repro_gate.errors import ReproGateError, UsageInvalid
from repro_gate.reports.text.escape import one_line


def run_check(session: Session, options: CheckOptions, *, started: float) -> ExitCode:
    """Check, write the reports, print the result, and return the exit code."""
    workspace = wiring.workspace_for(session)
    planned = session.plan()
    if options.dry_run:
        if options.result.json:
            raise UsageInvalid("--dry-run prints no JSON: leave out --json")
        return _print_plan(workspace, planned)
    results.prepare_folder(options.result.output)
    # While the engines start.
    commit = clean_commit_of(session.file.parent)
    measured, report = _check_tokens(workspace, planned.tokens, options, started=started)
    if planned.logprobs:
        report = _with_logprobs_or_findings(report, workspace, planned.logprobs, options)
    timing = replace(report.timing, wall_s=time.monotonic() - started)
    report = replace(report, timing=timing, repeat_with=session.repeat_options, commit=commit)
    history = wiring.history_for(workspace, planned.logprobs, report)
    finish = partial(results.finish, report, options.result, history=history)
    shard = session.selection.shard
    if shard is None:
        return finish()
    from repro_gate.cli.merge import write_shard_report  # noqa: PLC0415 -- for a shard alone

    part = partial(write_shard_report, session, measured, report, options.result.output, shard)
    return finish(write_more=part)


def _check_tokens(
    workspace: wiring.Workspace, plan: Plan, options: CheckOptions, *, started: float
) -> tuple[Measurement, GateReport]:
    # A check of log-probabilities alone shows no progress of runs.
    quiet = options.result.is_quiet or not plan.cells
    started_at = wiring.now()
    with shown_progress(Console(stderr=True), quiet=quiet) as progress:
        ports = wiring.ports_for_check(workspace, progress=progress)
        measured, committed = measure_tokens(
            plan,
            ports=ports,
            device_plans=workspace.session.device_plans(plan),
            fail_fast=options.fail_fast,
        )
    timing = measured.timing(wall_s=ports.clock() - started)
    report = judge_tokens(plan, measured, committed, timing=timing, started_at=started_at)
    return measured, report


def _with_logprobs_or_findings(
    report: GateReport,
    workspace: wiring.Workspace,
    plans: Sequence[LogprobPlan],
    options: CheckOptions,
) -> GateReport:
    """Add the log-probabilities; if that fails, findings about tokens are kept."""
    try:
        return _with_logprobs(report, workspace, plans, options)
    except (ReproGateError, OSError) as error:
        if decide(report) is not Outcome.FAILED:
            raise
        message = f"not checked: {one_line(' '.join(str(error).split()))}"
        warn(f"repro-gate: log-probabilities {message}")
        note = Note(about="log-probabilities", message=message, origin=NoteOrigin.GATE)
        return replace(report, notes=(*report.notes, note))


def _with_logprobs(
    report: GateReport,
    workspace: wiring.Workspace,
    plans: Sequence[LogprobPlan],
    options: CheckOptions,
) -> GateReport:
    has_finding = decide(report) is Outcome.FAILED
    is_stopped = options.fail_fast and has_finding and not report.interrupted
    is_over = report.interrupted or is_stopped
    if not is_over:
        start_scoring(workspace.session, plans)
    # It imports numpy and scipy, while the engines start.
    from repro_gate.cli import logprobs  # noqa: PLC0415

    with logprobs.prepare_suites(workspace, plans, is_over=is_over) as suites:
        checked = logprobs.check_suites(
            workspace, suites, options, started_at=report.started_at, is_stopped=is_stopped
        )
    return replace(
        report,
        logprobs=tuple(suite.report for suite in checked),
        interrupted=report.interrupted or any(suite.interrupted for suite in checked),
        suites=(*report.suites, *(plan.suite.name for plan in plans)),
        notes=tuple(dict.fromkeys(chain(report.notes, *(suite.notes for suite in checked)))),
    )


def _print_plan(workspace: wiring.Workspace, planned: WholePlan) -> ExitCode:
    """Print what would run and what it would cost, and run nothing."""
    lines = list(_token_lines(workspace, planned.tokens))
    if planned.logprobs:
        from repro_gate.cli import logprobs  # noqa: PLC0415

        with logprobs.prepare_suites(workspace, planned.logprobs) as suites:
            lines += logprobs.plan_lines(suites)
    lines.append("nothing was checked (dry run)")
    print_result("".join(f"{one_line(line)}\n" for line in lines))
    return ExitCode.INCONCLUSIVE


def _token_lines(workspace: wiring.Workspace, plan: Plan) -> Iterator[str]:
    if plan.cells:
        runs = sum(map(plan.runs_of, plan.cells))
        max_tokens = sum(plan.runs_of(cell) * cell.max_tokens for cell in plan.cells)
        yield (
            f"tokens: {len(plan.cells)} cells, {runs} runs of at most {max_tokens} tokens in all, "
            "plus controls"
        )
    for file in (file for model in plan.models.values() for file in model.files):
        if workspace.models.absence_of(file) is not None:
            yield f"model {file.key} is missing: {absence_remedy(file)}"
