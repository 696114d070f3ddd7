"""What update-snapshots and record-baseline share: the list of changes and the confirmation."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from repro_gate.checks.tokens.record import ChangeKind, GoldenChange
from repro_gate.cli.printing import print_line
from repro_gate.core.divergence import first_divergence
from repro_gate.core.goldens import FactChange, Golden, definition_changes, provenance_changes
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import Note
from repro_gate.core.tokens import text_of
from repro_gate.errors import UsageInvalid
from repro_gate.reports import foreign
from repro_gate.reports.explain import explain_change, spell_token, where
from repro_gate.reports.figures import plural
from repro_gate.reports.foreign import cut

_MAX_SHOWN_CHARACTERS = 60
"""Of an output that is compared with nothing."""
_MAX_SHOWN_IDS = 3


def ci_variable(environ: Mapping[str, str]) -> str | None:
    """Return the variable that shows that this is a CI job, or None."""
    for name in ("CI", "GITHUB_ACTIONS"):
        if environ.get(name, "").lower() not in {"", "0", "false"}:
            return name
    return None


def refuse_under_ci(environ: Mapping[str, str], *, what: str = "goldens") -> None:
    """Raise `UsageInvalid` in CI, where nobody would look at what changes."""
    name = ci_variable(environ)
    if name is not None:
        raise UsageInvalid(
            f"{what} are not updated under CI ({name} is set): a snapshot that CI writes "
            f"itself always passes; run this where a person looks at the change"
        )


def is_confirmed(question: str, *, yes: bool, options: str = "--yes") -> bool:
    """Ask whether to write; say so when nothing is written.

    Args:
        question: what a person is asked.
        yes: answers in advance.
        options: what to pass instead of an answer, after a look at the list.

    Raises:
        UsageInvalid: stdin is no terminal.
    """
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageInvalid(
            "nothing was written: this is no terminal, so nobody can be asked; "
            f"look at the list, then pass {options}"
        )
    try:
        is_yes = input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        is_yes = False
    if not is_yes:
        print_line("Nothing was written.")
    return is_yes


def change_lines(changes: Sequence[GoldenChange]) -> Iterator[str]:
    """Yield each change, with both texts from shortly before they diverge, and the changed facts.

    What changed since the goldens were recorded is shown once for all goldens that share it.
    """
    causes: dict[tuple[FactChange, ...], list[str]] = defaultdict(list)
    for change in changes:
        yield from _change(change)
        if change.kind is ChangeKind.UPDATED and change.before and change.after:
            before, after = change.before.provenance, change.after.provenance
            causes[provenance_changes(before, after)].append(change.cell_id)
    for facts, ids in causes.items():
        lines = cut("", [foreign.change_line(foreign.change(fact)) for fact in facts])
        shown: list[str] = [line for _, line in lines]
        yield f"changed    since the golden of {_shown_ids(ids)} was recorded:"
        yield from map(_detail, shown or ["nothing that the provenance records"])


def pin_lines(pins: Mapping[str, str], *, pinned: Mapping[str, str]) -> Iterator[str]:
    """Yield each digest to pin, with the one that it replaces."""
    for name, digest in pins.items():
        before = f"{pinned[name]} -> " if name in pinned else ""
        yield f"pin        {name} sha256 {before}{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A cell of which nothing is recorded."""

    cell_id: str
    reason: str
    remedy: str | None
    is_finding: bool
    """Whether something is wrong with it, rather than that it could not be measured."""


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
    """Yield each message once, with what it is about: a golden keeps mistakes as well."""
    about: dict[str, dict[str, None]] = defaultdict(dict)
    for note in notes:
        about[note.message][foreign.one_line(note.about)] = None
    for message, names in about.items():
        yield f"note       {_shown_ids(list(names))}: {foreign.message(message)}"


def written_line(snapshots: Path, *, refused: int) -> str:
    """Return how an update ends that has written something."""
    if not refused:
        return f"{snapshots} is up to date; commit it."
    cells = plural(refused, "cell")
    return f"Wrote {snapshots}, but nothing for the {cells} refused; commit what was recorded."


def _change(change: GoldenChange) -> Iterator[str]:
    title = f"{change.kind.value:<10} {change.profile}/{change.cell_id}"
    before, after = change.before, change.after
    match change.kind:
        case ChangeKind.NEW | ChangeKind.REPAIRED | ChangeKind.REMOVED:
            yield title
            yield from (_detail(f"- {_beginning(golden)}") for golden in [before] if golden)
            yield from (_detail(f"+ {_beginning(golden)}") for golden in [after] if golden)
        case ChangeKind.UPDATED | ChangeKind.REDEFINED:
            if before is not None and after is not None:
                yield from _rewritten(title, before, after)
        case _:
            assert_never(change.kind)


def _rewritten(title: str, before: Golden, after: Golden) -> Iterator[str]:
    divergence = first_divergence(before.generation, after.generation)
    if divergence is None:
        yield f"{title}: the tokens stay the same"
    else:
        yield f"{title}: diverges at {where(divergence)}"
    for fact in definition_changes(before.cell, after.cell):
        yield _detail(foreign.change_line(foreign.change(fact)))
    if divergence is not None:
        explanation = explain_change(before.generation, after.generation, divergence)
        context = explanation.context
        context = context if context == text_of(explanation.before) else f"...{context}"
        yield _detail(f"- {context}{explanation.expected_continuation}")
        yield _detail(f"+ {context}{explanation.observed_continuation}")
        # Different tokens may spell the same text.
        expected, observed = map(spell_token, (divergence.expected, divergence.observed))
        yield _detail(f"{where(divergence)} was {expected}, is {observed}")


def _beginning(golden: Golden) -> str:
    return foreign.clipped(text_of(golden.generation.tokens), _MAX_SHOWN_CHARACTERS)


def _shown_ids(ids: Sequence[str]) -> str:
    rest = len(ids) - _MAX_SHOWN_IDS
    shown = ", ".join(ids[:_MAX_SHOWN_IDS])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _detail(text: str) -> str:
    return f"           {text}"
