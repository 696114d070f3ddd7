"""`repro-gate update-snapshots`."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from repro_gate.adapters.atomic import sweep
from repro_gate.adapters.goldens import SyrupyGoldens
from repro_gate.adapters.observed import read_observed
from repro_gate.checks.recording import (
    ForgivingGoldens,
    Proposal,
    apply,
    observed_goldens,
    orphans_of,
    propose,
    refused,
    unpinned,
)
from repro_gate.checks.tokens import check_tokens
from repro_gate.cli import wiring
from repro_gate.cli.check import now
from repro_gate.cli.opening import Opening
from repro_gate.cli.progress import shown_progress
from repro_gate.core.goldens import Facts, Golden
from repro_gate.core.outcome import ExitCode, Outcome, outcome_of_verdict
from repro_gate.core.report import CellReport
from repro_gate.core.tokens import text_of
from repro_gate.errors import UsageInvalid

_SHOWN = 60
"""Characters of an output that stand in a line of the proposal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions:
    """The command line of `update-snapshots`."""

    source: Path | None
    prune: bool
    yes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What may become golden, whether it was seen here or elsewhere."""

    goldens: Sequence[Golden]
    profiles: frozenset[str]
    models: Mapping[str, Facts]
    refused: Sequence[CellReport]
    interrupted: bool


def run_update(opening: Opening, options: UpdateOptions, *, started: float) -> ExitCode:
    """Show what would change, ask, change it, and return the exit code."""
    refuse_under_ci(os.environ)
    workspace = wiring.workspace_of(opening)
    with wiring.update_lock(workspace):
        sweep(workspace.snapshots)
        seen = _seen(workspace, options, started=started)
        if seen.interrupted:
            return ExitCode.INTERRUPTED
        proposal = propose(
            seen.goldens,
            goldens=workspace.goldens,
            digests=unpinned(seen.models, matrix=workspace.matrix, pins=workspace.pins),
            orphans=_orphans(workspace, options, seen),
        )
        console = Console()
        _show(proposal, seen.refused, console)
        if not proposal.is_empty and _confirmed(options):
            apply(
                proposal, store=SyrupyGoldens(workspace.snapshots / "goldens"), pins=workspace.pins
            )
            _line(console, f"{workspace.snapshots} is up to date; commit it.")
    return _exit_code(seen.refused)


def refuse_under_ci(environ: Mapping[str, str]) -> None:
    """Raise `UsageInvalid` where nobody would look at what changes."""
    for name in ("CI", "GITHUB_ACTIONS"):
        if environ.get(name, "").lower() not in {"", "0", "false"}:
            raise UsageInvalid(
                f"goldens are not updated under CI ({name} is set): a snapshot that CI writes "
                f"itself always passes; run this where a person looks at the change"
            )


def _seen(workspace: wiring.Workspace, options: UpdateOptions, *, started: float) -> _Seen:
    if options.source is not None:
        return _seen_elsewhere(workspace, options.source)
    forgiving = ForgivingGoldens(workspace.goldens)
    with shown_progress(Console(stderr=True), quiet=False) as progress:
        report = check_tokens(
            workspace.opening.plan(),
            ports=wiring.ports_for_check(workspace, progress=progress, goldens=forgiving),
            started=started,
            started_at=now(),
        )
    return _Seen(
        goldens=observed_goldens(report),
        profiles=frozenset(engine.profile for engine in report.engines),
        models=report.models,
        refused=refused(report),
        interrupted=report.interrupted,
    )


def _seen_elsewhere(workspace: wiring.Workspace, source: Path) -> _Seen:
    observed = read_observed(source, matrix=workspace.matrix)
    wanted = {cell.id for cell in workspace.opening.plan().cells}
    goldens = [golden for golden in observed.goldens if golden.cell.id in wanted]
    return _Seen(
        goldens=goldens,
        profiles=frozenset(golden.profile for golden in goldens),
        models=observed.models,
        refused=(),
        interrupted=False,
    )


def _orphans(
    workspace: wiring.Workspace, options: UpdateOptions, seen: _Seen
) -> list[tuple[str, str]]:
    if not options.prune:
        return []
    return orphans_of(
        workspace.matrix,
        profiles=seen.profiles,
        goldens=workspace.goldens,
        only=workspace.opening.selection.only,
    )


def _show(proposal: Proposal, refusals: Sequence[CellReport], console: Console) -> None:
    for change in proposal.changes:
        _line(console, f"{change.kind.value:<10} {change.profile}/{change.cell_id}")
        for sign, golden in (("-", change.before), ("+", change.after)):
            if golden is not None:
                text = text_of(golden.generation.tokens)
                cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
                _line(console, f"           {sign} {cut}")
    for name, digest in proposal.pins.items():
        _line(console, f"pin        {name} sha256 {digest}")
    for cell in refusals:
        reason = getattr(cell.verdict, "reason", "its runs differ from each other")
        _line(console, f"refused    {cell.id}: {cell.verdict.word}: {reason}")
    counts = Counter(change.kind.value for change in proposal.changes)
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing to change"
    _line(console, f"{told}; {proposal.unchanged} unchanged, {len(refusals)} refused")


def _line(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True, highlight=False)


def _confirmed(options: UpdateOptions) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageInvalid("not a terminal, so nobody can be asked: look at the list, pass --yes")
    return input("Write these goldens? [y/N] ").strip().lower() in {"y", "yes"}


def _exit_code(refusals: Sequence[CellReport]) -> ExitCode:
    outcomes = {outcome_of_verdict(cell.verdict) for cell in refusals}
    if Outcome.FAILED in outcomes:
        return ExitCode.FINDINGS
    return ExitCode.INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else ExitCode.PASSED
