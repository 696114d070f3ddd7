"""`repro-gate record-baseline`."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from repro_gate.adapters.files.atomic import sweep
from repro_gate.adapters.logs.draws import DrawLogFile, fingerprint_of
from repro_gate.checks.logprobs.collect import DrawCollector
from repro_gate.checks.logprobs.record import (
    Recording,
    Refused,
    local_models,
    plan_recordings,
    write_baselines,
)
from repro_gate.checks.tokens.record import ChangeKind, orphans_of, unpinned
from repro_gate.cli import wiring
from repro_gate.cli.logprobs import calibration_line, key_lines
from repro_gate.cli.paths import make_report_folder
from repro_gate.cli.session import Session
from repro_gate.cli.terminal.console import is_confirmed, print_line, refuse_under_ci, warn
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.cli.update import (
    Refusal,
    exit_code_of,
    note_lines,
    pin_lines,
    refusal_lines,
    summary_line,
    written_line,
)
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.outcome import ExitCode
from repro_gate.core.text import digest_of
from repro_gate.errors import UsageInvalid
from repro_gate.reports.findings.logprob_sessions import format_false_alarms

_LOG = "calibration.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """The options of `record-baseline`."""

    again: bool
    add: bool
    prune: bool
    resume: bool
    output: Path
    yes: bool
    dry_run: bool = False


def run_record(session: Session, options: RecordOptions) -> ExitCode:
    """Draw, show the baselines, ask, write them, and return the exit code."""
    if options.again and options.add:
        raise UsageInvalid("--again replaces a baseline and --add extends it; choose one")
    if not options.dry_run:
        refuse_under_ci(os.environ, what="baselines")
    plans = session.logprob_plans()
    if not plans:
        known = ", ".join(session.matrix.logprob_suites) or "none"
        raise UsageInvalid(f"no suite of log-probabilities is selected; the matrix has: {known}")
    workspace = wiring.workspace_for(session)
    with ExitStack() as stack:
        if options.dry_run:
            return _print_plan(_recordings(workspace, plans, options, stack), adds=options.add)
        stack.enter_context(wiring.update_lock(workspace))
        sweep(workspace.snapshots, trees=wiring.SNAPSHOT_FOLDERS)
        recordings = _recordings(workspace, plans, options, stack)
        try:
            _calibrate(recordings, options)
        except KeyboardInterrupt:
            warn("repro-gate: interrupted; nothing was written. Run again with --resume")
            return ExitCode.INTERRUPTED
        return _accept(workspace, recordings, options)


def _recordings(
    workspace: wiring.Workspace,
    plans: Sequence[LogprobPlan],
    options: RecordOptions,
    stack: ExitStack,
) -> list[Recording]:
    """Return the recordings; the stack closes their connections."""
    suites = [
        (plan, stack.enter_context(closing(wiring.scorer_for(workspace, plan)))) for plan in plans
    ]
    return plan_recordings(
        suites,
        baselines=workspace.baselines,
        again=options.again,
        adds_at=wiring.now() if options.add else None,
    )


def _print_plan(recordings: Sequence[Recording], *, adds: bool) -> ExitCode:
    """Print the planned draws and their cost, without any call."""
    for one in recordings:
        for line in _plan_lines(one, adds=adds):
            print_line(line)
    print_line("nothing was recorded (dry run)")
    return ExitCode.INCONCLUSIVE


def _plan_lines(one: Recording, *, adds: bool) -> Iterator[str]:
    suite, cells = one.plan.suite, len(one.plan.cells)
    if len(one.refused) < cells and not adds:
        yield f"suite {suite.name}: {one.unchanged} of {cells} cells keep their baseline"
    kinds = Counter(wanted.kind.value for wanted in one.wanted)
    for kind, count in kinds.items():
        yield f"suite {suite.name}: {count} to record ({kind}), {one.draws} draws each"
    for reason, count in Counter(refused.reason for refused in one.refused).items():
        yield f"suite {suite.name}: {count} of {cells} cells cannot be recorded: {reason}"
    # An upper bound: refused cells may have a baseline.
    cells_to_draw = [wanted.cell for wanted in one.wanted] + [
        refused.cell for refused in one.refused
    ]
    if adds:
        # What is refused keeps its baseline.
        cells_to_draw = [wanted.cell for wanted in one.wanted]
    yield from key_lines(cell.policy for cell in cells_to_draw)
    line = calibration_line(one.plan, cells_to_draw, adds=adds)
    if line is not None:
        yield f"{line}, if no other cell has a baseline" if one.refused and not adds else line


def _calibrate(recordings: Sequence[Recording], options: RecordOptions) -> None:
    make_report_folder(options.output)
    sweep(options.output, trees=())
    cells = {one.plan.suite.name: [wanted.cell for wanted in one.wanted] for one in recordings}
    lines = [
        calibration_line(one.plan, cells[one.plan.suite.name], adds=options.add)
        for one in recordings
    ]
    keys = key_lines(cell.policy for each in cells.values() for cell in each)
    for line in (*keys, *filter(None, lines)):
        warn(f"repro-gate: {line}")
    log = DrawLogFile(
        options.output / _LOG,
        fingerprint=fingerprint_of(
            [wanted.cell for one in recordings for wanted in one.wanted],
            # The draws of a session are not those of the next one.
            baselines={
                wanted.cell.id: digest_of([before.recorded_at, *before.totals])
                for one in recordings
                for wanted in one.wanted
                if (before := wanted.extends) is not None
            },
            tolerance=recordings[0].plan.suite.tolerance,
        ),
        started_at=wiring.now(),
        resume=options.resume,
    )
    with closing(log):
        for one in filter(lambda one: one.wanted, recordings):
            with shown_progress(Console(stderr=True), quiet=False, noun="draws") as progress:
                one.run(
                    DrawCollector(scorer=one.scorer, log=log, progress=progress), now=wiring.now
                )


def _accept(
    workspace: wiring.Workspace, recordings: Sequence[Recording], options: RecordOptions
) -> ExitCode:
    """Show the baselines, ask, write them, and return the exit code."""
    models = local_models(recordings)
    pins = unpinned(models, recorded=models, matrix=workspace.matrix, pinned=workspace.models.pins)
    baselines = [baseline for one in recordings for baseline in one.baselines]
    orphans = _orphans(workspace, recordings[0].plan) if options.prune else []
    refusals = [_refusal(refused) for one in recordings for refused in one.refused]
    for line in (
        *(line for one in recordings for line in _lines(one)),
        *(f"removed    {source}/{cell_id}" for source, cell_id in orphans),
        *pin_lines(pins, pinned={}),
        *note_lines(note for one in recordings for note in (*one.scorer.notes(), *one.notes)),
        summary_line(
            [
                *(kind for one in recordings for kind in _kinds(one)),
                *(ChangeKind.REMOVED for _ in orphans),
            ],
            unchanged=sum(one.unchanged for one in recordings),
            refused=len(refusals),
        ),
    ):
        print_line(line)
    if baselines or orphans:
        # With --resume the draws are not paid for again.
        later = "--yes and --resume"
        if not is_confirmed("Write these baselines?", yes=options.yes, options=later):
            return ExitCode.INCONCLUSIVE
        # First, so that a digest that cannot be pinned stops the recording.
        if pins:
            workspace.pins.pin(pins)
        write_baselines(baselines, orphans, store=workspace.baselines)
        print_line(written_line(workspace.snapshots, refused=len(refusals)))
    return exit_code_of(refusals, has_doubts=any(one.doubts for one in recordings))


def _orphans(workspace: wiring.Workspace, plan: LogprobPlan) -> list[tuple[str, str]]:
    return orphans_of(
        workspace.baselines.recorded,
        workspace.baselines.sources(),
        claimed=plan.claimed,
        only=workspace.session.selection.only,
    )


def _refusal(refused: Refused) -> Refusal:
    return Refusal(
        cell_id=refused.cell.id,
        reason=refused.reason,
        remedy=refused.remedy,
        is_finding=refused.is_finding,
    )


def _kinds(one: Recording) -> Iterator[ChangeKind]:
    kinds = {wanted.cell.id: wanted.kind for wanted in one.wanted}
    return (kinds[baseline.id] for baseline in one.baselines)


def _lines(one: Recording) -> Iterator[str]:
    """Yield the baselines, refusals and doubts of one suite."""
    candidates = {wanted.cell.id: wanted for wanted in one.wanted}
    for baseline in one.baselines:
        wanted = candidates[baseline.id]
        yield f"{wanted.kind.value:<10} {baseline.source}/{baseline.id}"
        yield f"           {_words(baseline)}"
        if wanted.before is not None:
            yield f"           before: {_words(wanted.before)}"
        for change in wanted.changes:
            yield f"           {change.name} was {change.before}"
    yield from refusal_lines(map(_refusal, one.refused))
    for refused in one.refused:
        if refused.outlying:
            draws = " ".join(
                f"{total:.3f}{' (outlier)' if total in refused.outlying else ''}"
                for total in refused.totals
            )
            yield f"draws      {refused.cell.id}: {draws}"
    for doubt in one.doubts:
        yield f"undetermined {one.plan.suite.name}: {doubt}"
    if one.baselines:
        suite = one.plan.suite
        yield f"{suite.name}: false alarms: {format_false_alarms(suite.tolerance, one.sessions)}"


def _words(baseline: Baseline) -> str:
    noise, sessions = baseline.noise, len(baseline.all_sessions)
    several = f" in {sessions} sessions" if sessions > 1 else ""
    return (
        f"{len(baseline.draws)} draws{several} of {len(baseline.encoding.response)} tokens, median "
        f"{noise.center:.3f} nats, standard deviation {noise.deviation:.3f}, "
        f"{100 * noise.atom:.0f} % identical"
    )
