"""`repro-gate record-baseline`."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from repro_gate.adapters.atomic import sweep
from repro_gate.adapters.draw_log import DrawLogFile, fingerprint_of
from repro_gate.checks.calibration import (
    Calibrated,
    Candidate,
    Refused,
    apply_baselines,
    calibrate,
    candidates,
)
from repro_gate.checks.looks import Drawer
from repro_gate.checks.recording import unpinned
from repro_gate.checks.survey import orphans_of
from repro_gate.cli import wiring
from repro_gate.cli.asking import is_confirmed
from repro_gate.cli.estimate import calibration_line, key_lines
from repro_gate.cli.opening import Opening
from repro_gate.cli.places import make_report_folder
from repro_gate.cli.printing import print_line, warn
from repro_gate.cli.progress import shown_progress
from repro_gate.cli.proposal import note_lines, pin_lines, refusal_lines, written_line
from repro_gate.cli.update import refuse_under_ci
from repro_gate.core.baselines import Baseline
from repro_gate.core.outcome import ExitCode
from repro_gate.core.policies import LogprobPlan
from repro_gate.core.report import Note
from repro_gate.errors import UsageInvalid
from repro_gate.ports import Scorer

_LOG = "calibration.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """The command line of `record-baseline`."""

    again: bool
    prune: bool
    resume: bool
    output: Path
    yes: bool
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class _Recording:
    """What one suite's recording has come to."""

    plan: LogprobPlan
    scorer: Scorer
    wanted: list[Candidate]
    kept: int
    """Cells whose baseline stays as it is."""
    refused: list[Refused]
    orphans: list[tuple[str, str]]
    baselines: tuple[Baseline, ...] = ()
    doubts: tuple[str, ...] = ()
    """What no check of these baselines can determine."""
    notes: tuple[Note, ...] = ()
    """What its calibration noticed, besides the scorer."""


def run_record(opening: Opening, options: RecordOptions) -> ExitCode:
    """Draw, show what came of it, ask, write, and return the exit code."""
    if not options.dry_run:
        refuse_under_ci(os.environ, what="baselines")
    plans = opening.logprob_plans()
    if not plans:
        raise UsageInvalid("no suite of log-probabilities is selected")
    workspace = wiring.workspace_of(opening)
    if options.dry_run:
        return _print_plan(workspace, plans, options)
    with wiring.update_lock(workspace), ExitStack() as stack:
        sweep(workspace.snapshots, trees=wiring.TREES)
        recordings = [_begun(workspace, plan, options, stack) for plan in plans]
        _share_out(recordings)
        try:
            _calibrate_all(recordings, options)
        except KeyboardInterrupt:
            warn("repro-gate: interrupted; nothing was written. Run again with --resume")
            return ExitCode.INTERRUPTED
        if not _written(workspace, recordings, options):
            return ExitCode.INCONCLUSIVE
    refused = [refused for one in recordings for refused in one.refused]
    return _exit_code(refused, has_doubts=any(one.doubts for one in recordings))


def _print_plan(
    workspace: wiring.Workspace, plans: Sequence[LogprobPlan], options: RecordOptions
) -> ExitCode:
    """Print what would be drawn and spent; nothing is called and nothing is written."""
    with ExitStack() as stack:
        recordings = [_begun(workspace, plan, options, stack) for plan in plans]
        _share_out(recordings)
        for one in recordings:
            for line in _plan_lines(one):
                print_line(line)
    print_line("nothing was recorded: this was a dry run")
    return ExitCode.INCONCLUSIVE


def _plan_lines(one: _Recording) -> Iterator[str]:
    suite, cells = one.plan.suite, len(one.plan.cells)
    if len(one.refused) < cells:
        yield f"suite {suite.name}: {one.kept} of {cells} cells keep their baseline"
    states = Counter(wanted.state.value for wanted in one.wanted)
    draws = suite.tolerance.calibration_draws
    for state, count in states.items():
        yield f"suite {suite.name}: {count} to record ({state}), {draws} draws each"
    for reason, count in Counter(refused.reason for refused in one.refused).items():
        yield f"suite {suite.name}: {count} of {cells} cells cannot be recorded: {reason}"
    # Whether those that cannot be recorded now have a baseline is not known: an upper bound.
    meant = [wanted.cell for wanted in one.wanted] + [refused.cell for refused in one.refused]
    yield from key_lines(cell.policy for cell in meant)
    line = calibration_line(one.plan, meant)
    if line is not None:
        yield f"{line}, if no other cell has a baseline" if one.refused else line


def _written(
    workspace: wiring.Workspace, recordings: Sequence[_Recording], options: RecordOptions
) -> bool:
    """Show what came of it, ask, write; false when the answer is no."""
    pins = _new_pins(workspace, recordings)
    _show(recordings, pins)
    baselines = [baseline for one in recordings for baseline in one.baselines]
    orphans = [orphan for one in recordings for orphan in one.orphans]
    if not baselines and not orphans:
        return True
    # Whoever has to start again need not pay for the draws again.
    later = "--yes and --resume"
    if not is_confirmed("Write these baselines?", yes=options.yes, later=later):
        print_line("Nothing was written.")
        return False
    # First, as a digest that cannot be pinned must stop the recording.
    if pins:
        workspace.pins.pin(pins)
    apply_baselines(baselines, orphans, store=workspace.baselines)
    refused = sum(len(one.refused) for one in recordings)
    print_line(written_line(workspace.snapshots, refused=refused))
    return True


def _begun(
    workspace: wiring.Workspace, plan: LogprobPlan, options: RecordOptions, stack: ExitStack
) -> _Recording:
    scorer = wiring.scorer_for(workspace, plan)
    stack.enter_context(closing(scorer))
    wanted, refused = candidates(
        plan, scorer=scorer, baselines=workspace.baselines, again=options.again
    )
    only = workspace.opening.selection.only
    sources = sorted({one.source for one in wanted} | workspace.baselines.sources())
    return _Recording(
        plan=plan,
        scorer=scorer,
        wanted=wanted,
        kept=len(plan.cells) - len(wanted) - len(refused),
        refused=refused,
        orphans=orphans_of(plan, sources=sources, baselines=workspace.baselines, only=only)
        if options.prune
        else [],
    )


def _share_out(recordings: Sequence[_Recording]) -> None:
    """Leave what several suites have in common to one of them."""
    most_first = sorted(recordings, key=lambda one: -one.plan.suite.tolerance.calibration_draws)
    drawn_by: dict[str, _Recording] = {}
    for one in most_first:
        for wanted in one.wanted:
            drawn_by.setdefault(wanted.cell.id, one)
    for place, one in enumerate(recordings):
        one.wanted = [wanted for wanted in one.wanted if drawn_by[wanted.cell.id] is one]
        # Every suite of a matrix finds the same orphans.
        one.orphans = one.orphans if place == 0 else []


def _calibrate_all(recordings: Sequence[_Recording], options: RecordOptions) -> None:
    make_report_folder(options.output)
    sweep(options.output, trees=())
    cells = {one.plan.suite.name: [wanted.cell for wanted in one.wanted] for one in recordings}
    lines = [calibration_line(one.plan, cells[one.plan.suite.name]) for one in recordings]
    keys = key_lines(cell.policy for each in cells.values() for cell in each)
    for line in (*keys, *filter(None, lines)):
        warn(f"repro-gate: {line}")
    log = DrawLogFile(
        options.output / _LOG,
        fingerprint=fingerprint_of(
            [wanted.cell for one in recordings for wanted in one.wanted],
            baselines={},
            tolerance=recordings[0].plan.suite.tolerance,
        ),
        started_at=wiring.now(),
        resume=options.resume,
    )
    with closing(log):
        for one in filter(lambda one: one.wanted, recordings):
            with shown_progress(Console(stderr=True), quiet=False, noun="draws") as progress:
                drawer = Drawer(scorer=one.scorer, log=log, progress=progress)
                draws = one.plan.suite.tolerance.calibration_draws
                progress.started(cells=len(one.wanted), runs=len(one.wanted) * draws)
                made: Calibrated = calibrate(one.wanted, one.plan, drawer=drawer, now=wiring.now)
            one.baselines = made.baselines
            one.refused += made.refused
            one.doubts = made.doubts
            one.notes = made.notes


def _new_pins(workspace: wiring.Workspace, recordings: Iterable[_Recording]) -> dict[str, str]:
    """Return the digests of the local models that baselines are recorded of for the first time."""
    models: dict[str, Mapping[str, str]] = {}
    for one in recordings:
        local = {wanted.cell.id: wanted.cell.policy.local_model for wanted in one.wanted}
        for baseline in one.baselines:
            model = local[baseline.id]
            if model is not None:
                models[model.name] = baseline.provenance
    return unpinned(models, recorded=models, matrix=workspace.matrix, pinned=workspace.models.pins)


def _show(recordings: Sequence[_Recording], pins: Mapping[str, str]) -> None:
    counts: Counter[str] = Counter()
    for one in recordings:
        states = {wanted.cell.id: wanted for wanted in one.wanted}
        for baseline in one.baselines:
            wanted = states[baseline.id]
            counts[wanted.state.value] += 1
            print_line(f"{wanted.state.value:<10} {baseline.source}/{baseline.id}")
            print_line(f"           {_words(baseline)}")
            if wanted.before is not None:
                print_line(f"           before: {_words(wanted.before)}")
            for change in wanted.changes:
                print_line(f"           {change.name} was {change.before}")
        for source, cell_id in one.orphans:
            counts["removed"] += 1
            print_line(f"removed    {source}/{cell_id}")
        _show_refused(one.refused)
        for doubt in one.doubts:
            print_line(f"undetermined {one.plan.suite.name}: {doubt}")
        counts["kept"] += one.kept
        counts["refused"] += len(one.refused)
    notes = (note for one in recordings for note in (*one.scorer.notes(), *one.notes))
    for line in (*pin_lines(pins, pinned={}), *note_lines(notes)):
        print_line(line)
    kept, refused_count = counts.pop("kept"), counts.pop("refused")
    recorded = ", ".join(f"{count} {state}" for state, count in counts.items())
    nothing = "nothing was recorded" if refused_count else "nothing to record"
    print_line(f"{recorded or nothing}; {kept} kept, {refused_count} refused")


def _show_refused(refused: Sequence[Refused]) -> None:
    for line in refusal_lines((one.cell.id, one.reason, one.remedy) for one in refused):
        print_line(line)
    for one in refused:
        if one.outlying:
            draws = " ".join(
                f"{total:.3f}{' (outlier)' if total in one.outlying else ''}"
                for total in one.totals
            )
            print_line(f"draws      {one.cell.id}: {draws}")


def _words(baseline: Baseline) -> str:
    noise = baseline.noise
    return (
        f"{len(baseline.draws)} draws of {len(baseline.encoding.response)} tokens, median "
        f"{noise.center:.3f} nats, standard deviation {noise.deviation:.3f}, "
        f"{100 * noise.atom:.0f} % identical"
    )


def _exit_code(refused: Sequence[Refused], *, has_doubts: bool) -> ExitCode:
    if any(one.is_finding for one in refused):
        return ExitCode.FINDINGS
    return ExitCode.INCONCLUSIVE if refused or has_doubts else ExitCode.PASSED
