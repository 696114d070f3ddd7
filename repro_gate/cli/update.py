"""`repro-gate update-snapshots`, and the list of changes that it shares with `record-baseline`."""

import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from rich.console import Console

from repro_gate.adapters.files.atomic import sweep
from repro_gate.adapters.files.golden_writer import SyrupyGoldens
from repro_gate.adapters.files.snapshots import GOLDENS
from repro_gate.adapters.logs.runs import FILE, RunLogFile
from repro_gate.adapters.models.files import sha256_of
from repro_gate.checks.tokens.record import (
    ChangeKind,
    GoldenChange,
    Observation,
    apply,
    observe,
    orphans_of,
    propose,
)
from repro_gate.cli import wiring
from repro_gate.cli.drift.stale import stale_lines
from repro_gate.cli.paths import make_report_folder
from repro_gate.cli.review.observed import new_pins, observation_from, profile_of
from repro_gate.cli.session import Session, describe_engine, engine_specs
from repro_gate.cli.terminal.console import is_confirmed, print_line, refuse_under_ci, warn
from repro_gate.cli.terminal.progress import shown_progress
from repro_gate.core.outcome import ExitCode, Outcome, outcome_of_verdict
from repro_gate.core.report import CellReport, Note
from repro_gate.core.tokens.generation import Place, first_divergence, text_of
from repro_gate.core.tokens.golden import (
    FactChange,
    Golden,
    definition_changes,
    provenance_changes,
)
from repro_gate.core.tokens.verdicts import Nondeterministic, Vacuous
from repro_gate.errors import ReproGateError, UsageInvalid
from repro_gate.reports.findings.divergence import explain_change, format_place, format_token
from repro_gate.reports.findings.wording import describe
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import limited, one_line
from repro_gate.reports.text.format import plural
from repro_gate.reports.text.shell import command

_MAX_SHOWN_CHARACTERS = 60
"""The length of an output without a counterpart."""
_MAX_SHOWN_IDS = 3


def change_lines(changes: Sequence[GoldenChange]) -> Iterator[str]:
    """Yield each change with both texts around the divergence, and the changed facts.

    Facts that changed since goldens were recorded are shown once for all goldens with them.
    """
    causes: dict[tuple[FactChange, ...], list[str]] = defaultdict(list)
    for change in changes:
        yield from _change(change)
        if change.kind is ChangeKind.UPDATED and change.before and change.after:
            before, after = change.before.provenance, change.after.provenance
            causes[provenance_changes(before, after)].append(change.cell_id)
    for facts, ids in causes.items():
        lines = limited("", [escape.format_change(fact) for fact in facts])
        shown: list[str] = [line for _, line in lines]
        yield f"changed    since the golden of {_shown_ids(ids)} was recorded:"
        yield from map(_detail, shown or ["nothing that the provenance records"])


def pin_lines(pins: Mapping[str, str], *, pinned: Mapping[str, str]) -> Iterator[str]:
    """Yield each digest to pin, with the one it replaces."""
    for name, digest in pins.items():
        before = f"{pinned[name]} -> " if name in pinned else ""
        yield f"pin        {name} sha256 {before}{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A cell that is not recorded."""

    cell_id: str
    reason: str
    remedy: str | None
    is_finding: bool
    """Whether it failed, rather than could not be measured."""


def refusal_lines(refused: Iterable[Refusal]) -> Iterator[str]:
    """Yield one line for each reason with its cells, and each remedy once."""
    ids_by_remedy: dict[str | None, dict[str, list[str]]] = {}
    for one in refused:
        ids_by_remedy.setdefault(one.remedy, {}).setdefault(one.reason, []).append(one.cell_id)
    for remedy, ids_by_reason in ids_by_remedy.items():
        for reason, ids in ids_by_reason.items():
            yield f"refused    {ids[0] if len(ids) == 1 else plural(len(ids), 'cell')}: {reason}"
            if len(ids) > 1:
                yield _detail(_shown_ids(ids))
        if remedy is not None:
            yield _detail(f"try: {remedy}")


def exit_code_of(refused: Iterable[Refusal], *, has_doubts: bool = False) -> ExitCode:
    """Return the exit code of a recording: a finding beats what could not be measured."""
    is_finding = [one.is_finding for one in refused]
    if any(is_finding):
        return ExitCode.FINDINGS
    return ExitCode.INCONCLUSIVE if is_finding or has_doubts else ExitCode.PASSED


def summary_line(kinds: Iterable[ChangeKind], *, unchanged: int, refused: int) -> str:
    """Return the counts of a recording, the last line before the question."""
    counts = Counter(kind.value for kind in kinds)
    changed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    nothing = "nothing was recorded" if refused else "nothing to record"
    return f"{changed or nothing}; {unchanged} unchanged, {refused} refused"


def note_lines(notes: Iterable[Note]) -> Iterator[str]:
    """Yield each message once, with its subjects."""
    about: dict[str, dict[str, None]] = defaultdict(dict)
    for note in notes:
        about[note.message][escape.one_line(note.about)] = None
    for message, names in about.items():
        yield f"note       {_shown_ids(list(names))}: {escape.message(message)}"


def written_line(snapshots: Path, *, refused: int) -> str:
    """Return the last line of a command that has written snapshots."""
    if not refused:
        return f"{snapshots} is up to date; commit it."
    cells = plural(refused, "cell")
    return f"Wrote {snapshots}, except for the {cells} refused; commit what was recorded."


def _change(change: GoldenChange) -> Iterator[str]:
    title = f"{change.kind.value:<10} {change.profile}/{change.cell_id}"
    before, after = change.before, change.after
    match change.kind:
        case ChangeKind.NEW | ChangeKind.REPAIRED | ChangeKind.REMOVED:
            yield title
            yield from (_detail(f"- {_beginning(golden)}") for golden in [before] if golden)
            yield from (_detail(f"+ {_beginning(golden)}") for golden in [after] if golden)
        case ChangeKind.UPDATED | ChangeKind.EXTENDED | ChangeKind.REDEFINED:
            if before is not None and after is not None:
                yield from _rewritten(title, before, after)
        case _:
            assert_never(change.kind)


def _rewritten(title: str, before: Golden, after: Golden) -> Iterator[str]:
    divergence = first_divergence(before.generation, after.generation)
    if divergence is None:
        is_new = before.generation.lacks_logits_of(after.generation)
        yield f"{title}: the tokens stay the same{', with their logits from now on' * is_new}"
    else:
        yield f"{title}: diverges at {format_place(divergence)}"
    for fact in definition_changes(before.cell, after.cell):
        yield _detail(escape.format_change(fact))
    if divergence is not None:
        explanation = explain_change(after.cell, before.generation, after.generation, divergence)
        context = explanation.context
        context = context if context == text_of(explanation.before) else f"...{context}"
        if divergence.place is not Place.LOGITS:
            yield _detail(f"- {context}{explanation.expected_continuation}")
            yield _detail(f"+ {context}{explanation.observed_continuation}")
        # Different tokens may have the same text.
        expected, observed = (
            format_token(token, divergence.place)
            for token in (divergence.expected, divergence.observed)
        )
        yield _detail(f"{format_place(divergence)} was {expected}, is {observed}")


def _beginning(golden: Golden) -> str:
    return escape.clipped(text_of(golden.generation.tokens), _MAX_SHOWN_CHARACTERS)


def _shown_ids(ids: Sequence[str]) -> str:
    rest = len(ids) - _MAX_SHOWN_IDS
    shown = ", ".join(ids[:_MAX_SHOWN_IDS])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _detail(text: str) -> str:
    return f"           {text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions:
    """The options of `update-snapshots`."""

    source: Path | None
    cause: str | None
    """The id of a change group of the source; None for all of it."""
    prune: bool
    yes: bool
    repin: tuple[str, ...]
    """Models to pin to a new file."""
    resume: bool
    output: Path
    """The folder of the run log."""


def run_update(session: Session, options: UpdateOptions, *, started: float) -> ExitCode:
    """Show the changes, ask, write them, and return the exit code."""
    refuse_under_ci(os.environ)
    return record_snapshots(session, options, started=started)


def record_snapshots(session: Session, options: UpdateOptions, *, started: float) -> ExitCode:
    """Do the same, wherever it is; see `run_update`."""
    if options.resume and options.source is not None:
        raise UsageInvalid("--resume and --from exclude each other: --from measures nothing")
    if options.cause is not None and options.source is None:
        raise UsageInvalid("--cause needs --from: the report of a check has the causes")
    chosen = session
    if options.repin:
        session = _session_to_repin(session, options)
    session = _with_own_goldens(session, options)
    _refuse_logprobs_alone(session, options)
    workspace = wiring.workspace_for(session, repinned=options.repin)
    with wiring.update_lock(workspace), _run_log(workspace, options) as log:
        sweep(workspace.snapshots, trees=wiring.SNAPSHOT_FOLDERS)
        try:
            observation = _observe(workspace, options, log, started=started)
            if observation.report is None or not observation.report.interrupted:
                return _accept(observation, workspace, options)
        except (KeyboardInterrupt, ReproGateError, OSError):
            _print_continuation(log, chosen, options)
            raise
        warn("repro-gate: interrupted; nothing was written")
        _print_continuation(log, chosen, options)
        return ExitCode.INTERRUPTED


@contextmanager
def _run_log(workspace: wiring.Workspace, options: UpdateOptions) -> Generator[RunLogFile | None]:
    """Yield the log of the runs; None if nothing will be measured."""
    if not _measures(workspace, options):
        yield None
        return
    # Before the log of an earlier update is replaced: there has to be something to measure.
    workspace.session.plan()
    make_report_folder(options.output)
    file = options.output / FILE
    with closing(RunLogFile(file, started_at=wiring.now(), resume=options.resume)) as log:
        if log.runs:
            found = f"{plural(log.runs, 'run')} of {plural(log.cells, 'cell')}"
            warn(f"repro-gate: resuming: {one_line(str(file))} has {found}")
        yield log


def _accept(
    observation: Observation, workspace: wiring.Workspace, options: UpdateOptions
) -> ExitCode:
    proposal = propose(
        observation.goldens,
        goldens=workspace.goldens,
        digests=_new_pins(workspace, options, observation),
        orphans=_orphans(workspace, observation) if options.prune else (),
    )
    refusals = list(map(refusal_of, observation.refused))
    for line in (
        *change_lines(proposal.changes),
        *pin_lines(proposal.pins, pinned=workspace.pins.pinned()),
        *refusal_lines(refusals),
        *note_lines(observation.notes),
        summary_line(
            [change.kind for change in proposal.changes],
            unchanged=proposal.unchanged,
            refused=len(refusals),
        ),
    ):
        print_line(line)
    if not proposal.is_empty:
        # With --resume nothing is measured again.
        later = "--yes" if observation.report is None else "--yes and --resume"
        if not is_confirmed("Write these goldens?", yes=options.yes, options=later):
            return ExitCode.INCONCLUSIVE
        goldens = SyrupyGoldens(workspace.snapshots / GOLDENS)
        apply(proposal, store=goldens, pins=workspace.pins)
        print_line(written_line(workspace.snapshots, refused=len(refusals)))
        written = [change.after for change in proposal.changes if change.after is not None]
        for line in stale_lines(workspace, written):
            print_line(line)
        # Those of adapters begin with the name of their model.
        if {key.partition("/")[0] for key in proposal.pins} - _generating(workspace):
            print_line(
                "Baselines still belong to the old file: run repro-gate record-baseline --again"
            )
    return exit_code_of(refusals)


def _print_continuation(log: RunLogFile | None, session: Session, options: UpdateOptions) -> None:
    """Print the command that continues this update."""
    if log is None or not log.runs:
        return
    chosen = session.selection
    words = [
        *session.repeat_options,
        *(word for name in chosen.suites for word in ("--suite", name)),
        *(("--only", chosen.only) if chosen.only is not None else ()),
        *(word for name in options.repin for word in ("--repin", name)),
        *(["--prune"] if options.prune else []),
        "--resume",
    ]
    resumes = command("repro-gate update-snapshots", words)
    kept = one_line(str(options.output / FILE))
    warn(f"repro-gate: {plural(log.runs, 'run')} kept in {kept}; continue with: {resumes}")


def _print_remeasured(log: RunLogFile) -> None:
    """Print why runs of an interrupted update were not used."""
    ids: dict[tuple[FactChange, ...], list[str]] = defaultdict(list)
    for cell_id, changes in log.remeasured:
        ids[changes].append(cell_id)
    for changes, names in ids.items():
        lines = limited("", [escape.format_change(change) for change in changes])
        reason = "; ".join(line for _, line in lines)
        warn(f"repro-gate: measured again: {_shown_ids(names)}: {reason}")


def _with_own_goldens(session: Session, options: UpdateOptions) -> Session:
    """Return a session without suites against a profile; raises `UsageInvalid` without others."""
    matrix, chosen = session.matrix, session.selection
    usual = matrix.default_suites if options.source is None else tuple(matrix.suites)
    names = chosen.suites or usual
    others = [name for name in names if profile_of(matrix, name) is not None]
    if not others:
        return session
    kept = tuple(name for name in names if name not in others)
    listed = ", ".join(f"{name} (against {profile_of(matrix, name)})" for name in others)
    if not kept:
        raise UsageInvalid(
            f"the goldens of {listed} are recorded on that profile, with a suite of tokens"
        )
    warn(f"repro-gate: left out, as their goldens are recorded elsewhere: {listed}")
    return replace(session, selection=replace(chosen, suites=kept))


def _refuse_logprobs_alone(session: Session, options: UpdateOptions) -> None:
    """Raise `UsageInvalid` when only suites of log-probabilities are selected."""
    # With --from, the default suites of this matrix do not matter.
    is_limited = session.selection.suites or options.source is None
    if (
        is_limited
        and not (options.prune or options.repin)
        and not session.selects_tokens()
        and session.logprob_plans()
    ):
        raise UsageInvalid(
            "only log-probabilities are selected, and update-snapshots records tokens; "
            "repro-gate record-baseline records log-probabilities"
        )


def _session_to_repin(session: Session, options: UpdateOptions) -> Session:
    """Return a session that selects all cells of the models, unless the user selects some."""
    chosen = session.selection
    for model in session.models(options.repin):
        if not model.has_files:
            raise UsageInvalid(f"{model.name} has no source in {session.file}, and so no pin")
        if all(file.sha256 is not None for file in model.files):
            raise UsageInvalid(
                f"{model.name} is pinned in {session.file}: change the sha256 of "
                f"models.{model.name} there, then run repro-gate update-snapshots"
            )
    suites = chosen.suites or tuple(session.matrix.suites)
    only = chosen.only
    if only is None and len(options.repin) == 1:
        # Cell ids start with the name of the model.
        only = f"{options.repin[0]}--*"
    return replace(session, selection=replace(chosen, suites=suites, only=only))


def _new_pins(
    workspace: wiring.Workspace, options: UpdateOptions, observation: Observation
) -> dict[str, str]:
    """Return the digests to pin: of models recorded now, and repinned ones without token cells."""
    pins = new_pins(workspace, observation)
    for name in options.repin:
        if name not in _generating(workspace):
            model = workspace.matrix.models[name]
            located = workspace.models.locate(model)
            pins |= {
                spec.key: sha256_of(file.path)
                for spec, file in zip(model.files, located.files, strict=True)
                if spec.sha256 is None and file.path is not None
            }
    before = workspace.pins.pinned()
    return {name: digest for name, digest in pins.items() if before.get(name) != digest}


def _generating(workspace: wiring.Workspace) -> set[str]:
    return {cell.model for cell in workspace.matrix.cells()}


def _measures(workspace: wiring.Workspace, options: UpdateOptions) -> bool:
    if options.source is not None:
        return False
    return workspace.session.selects_tokens() or not (options.prune or options.repin)


def _observe(
    workspace: wiring.Workspace, options: UpdateOptions, log: RunLogFile | None, *, started: float
) -> Observation:
    session = workspace.session
    if options.source is not None:
        return observation_from(workspace, options.source, cause=options.cause)
    if log is None:
        # Pruning needs to know the profiles of this machine, and nothing else.
        specs = engine_specs(workspace.matrix.models.values()) if options.prune else []
        profiles = (describe_engine(session.engines, spec).profile for spec in specs)
        return Observation(profiles=frozenset(profiles))
    try:
        with shown_progress(Console(stderr=True), quiet=False, shows_drift=False) as progress:
            return observe(
                session.plan().tokens,
                ports=wiring.ports_for_check(workspace, progress=progress, run_log=log),
                started=started,
                started_at=wiring.now(),
            )
    finally:
        _print_remeasured(log)


def _orphans(workspace: wiring.Workspace, observation: Observation) -> list[tuple[str, str]]:
    return orphans_of(
        workspace.goldens.recorded,
        observation.profiles,
        claimed={cell.id for cell in workspace.matrix.cells()},
        only=workspace.session.selection.only,
    )


def refusal_of(cell: CellReport) -> Refusal:
    """Return why a cell is not recorded."""
    description = describe(cell)
    remedy: str | None = description.remedy
    if remedy is None and isinstance(cell.verdict, Vacuous):
        remedy = description.advice
    # The position differs between cells, and would split the cells into many lines.
    is_unstable = isinstance(cell.verdict, Nondeterministic)
    claim = "its runs differ from each other" if is_unstable else description.claim
    return Refusal(
        cell_id=cell.id,
        reason=f"{cell.verdict.word}: {description.reason or claim}",
        remedy=remedy,
        is_finding=outcome_of_verdict(cell.verdict) is Outcome.FAILED,
    )
