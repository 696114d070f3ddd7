"""What is wrong with a matrix and its snapshots, without measuring anything."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from repro_gate.core.engines import FileSpec
from repro_gate.core.logprobs.baseline import Baseline, changes_against
from repro_gate.core.logprobs.policy import LogprobSuite
from repro_gate.core.matrix import Evidence, Matrix, plan
from repro_gate.core.outcome import ExitCode
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import FactChange, Golden, definition_changes
from repro_gate.core.tokens.reference import Reference
from repro_gate.core.watch.changes import epoch_changes
from repro_gate.core.watch.epoch import Watch
from repro_gate.core.watch.status import not_the_same
from repro_gate.errors import InputInvalid, UsageInvalid

_MAX_VALUE: Final = 60
"""Characters of a value; a prompt may have thousands."""
_MAX_NAMED: Final = 3
"""Changes in one message."""
_UPDATE: Final = "repro-gate update-snapshots"
_RECORD: Final = "repro-gate record-baseline"


class ProblemKind(StrEnum):
    """What is wrong with a file."""

    INVALID = "invalid"
    """No command can use it."""
    STALE = "stale"
    """It is of another definition than that of the matrix."""
    ORPHANED = "orphaned"
    """Nothing in the matrix uses it."""
    UNRECORDED = "unrecorded"
    """A cell lacks it."""
    UNEXPECTED = "unexpected"
    """It is no snapshot, so nothing reads it."""
    NOTE = "note"
    """A check passes nevertheless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem of one file, and what to do about it."""

    kind: ProblemKind
    file: Path
    message: str
    """Names the file, the place in it, what was expected and what was found."""
    remedy: str | None = None

    @classmethod
    def at(  # noqa: PLR0913 -- the four parts of a message, and what to do
        cls,
        kind: ProblemKind,
        file: Path,
        place: str,
        *,
        expected: str,
        found: str,
        remedy: str | None,
    ) -> "Problem":
        """Return the problem of one place in one file."""
        message = str(InputInvalid.at(file, place, expected=expected, found=found))
        return cls(kind=kind, file=file, message=message, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """The committed files by path; None for one that is invalid."""

    goldens: Mapping[Path, Golden | None] = field(default_factory=dict[Path, Golden | None])
    baselines: Mapping[Path, Baseline | None] = field(default_factory=dict[Path, Baseline | None])
    references: Mapping[Path, Reference | None] = field(
        default_factory=dict[Path, Reference | None]
    )
    watches: Mapping[Path, Watch | None] = field(default_factory=dict[Path, Watch | None])
    pins: Mapping[str, str] | None = None
    """SHA-256 digests by the key of a model file; None if they are invalid."""

    @property
    def size(self) -> int:
        """The number of files."""
        parts = (self.goldens, self.baselines, self.references, self.watches)
        return sum(map(len, parts))


def lint_code(problems: Iterable[Problem]) -> ExitCode:
    """Return the exit code for problems: 3 beats 10, and a note gives 0."""
    kinds = {problem.kind for problem in problems}
    if ProblemKind.INVALID in kinds:
        return ExitCode.INPUT_INVALID
    return ExitCode.FINDINGS if kinds - {ProblemKind.NOTE} else ExitCode.PASSED


def problems_of(
    matrix: Matrix, snapshots: Snapshots, *, file: Path, pins: Path
) -> Iterator[Problem]:
    """Yield every problem of the snapshots of a matrix.

    Args:
        matrix: the matrix.
        snapshots: all that could be read.
        file: the matrix file.
        pins: the file of the pins.
    """
    try:
        plan(matrix)
    except UsageInvalid as error:
        message = f"{file}: default_suites: {error}"
        yield Problem(kind=ProblemKind.INVALID, file=file, message=message)
    yield from _of_goldens(matrix, snapshots.goldens)
    yield from _of_baselines(matrix, snapshots.baselines)
    yield from _unrecorded(matrix, snapshots, file)
    yield from _of_references(matrix, snapshots)
    for path, watch in snapshots.watches.items():
        yield from _of_watch(path, watch, matrix.logprob_suites.get(path.stem))
    if snapshots.pins is not None:
        yield from _of_pins(matrix, snapshots.pins, snapshots.goldens, pins)


def _of_goldens(matrix: Matrix, goldens: Mapping[Path, Golden | None]) -> Iterator[Problem]:
    cells = {cell.id: cell for cell in matrix.cells()}
    exact = [suite for suite in matrix.suites.values() if suite.evidence is Evidence.LOGITS]
    with_logits = {cell.id for suite in exact for cell in suite.cells}
    for path, golden in goldens.items():
        cell = cells.get(path.stem)
        if cell is None:
            yield _orphan(path, f"a cell {path.stem} in the matrix")
        elif golden is not None:
            remedy = f"{_UPDATE} --only {cell.id}, on {golden.profile}"
            yield from _stale(path, "cell", definition_changes(golden.cell, cell), remedy)
            if cell.id in with_logits and not golden.generation.logits:
                wanted, found = "logits, which a suite compares", "tokens only"
                kind = ProblemKind.UNRECORDED
                yield Problem.at(kind, path, "logits", expected=wanted, found=found, remedy=remedy)


def _of_baselines(matrix: Matrix, baselines: Mapping[Path, Baseline | None]) -> Iterator[Problem]:
    suites = matrix.logprob_suites.values()
    cells = {cell.id: (cell, suite) for suite in suites for cell in suite.cells}
    for path, baseline in baselines.items():
        if path.stem not in cells:
            yield _orphan(path, f"a cell {path.stem} in the matrix")
            continue
        cell, suite = cells[path.stem]
        provider = cell.policy.provider
        if not provider.is_local and path.parent.name != provider.name:
            yield _orphan(path, f"a policy of {path.parent.name}; {cell.id} is of {provider.name}")
        elif baseline is not None:
            changes = changes_against(cell, baseline, suite.tolerance)
            remedy = f"{_RECORD} --suite {suite.name} --only {cell.id}"
            yield from _stale(path, "definition", changes, remedy)


def _orphan(path: Path, expected: str) -> Problem:
    remedy = "remove the file, or undo the change of the matrix"
    kind = ProblemKind.ORPHANED
    return Problem.at(kind, path, "", expected=expected, found="none", remedy=remedy)


def _stale(path: Path, place: str, changes: Sequence[FactChange], remedy: str) -> Iterator[Problem]:
    """Yield the problem of a file of another definition."""
    if changes:
        now = _limited([f"{each.name} {_shown(each.after)}" for each in changes])
        then = _limited([f"{each.name} {_shown(each.before)}" for each in changes])
        kind = ProblemKind.STALE
        yield Problem.at(kind, path, place, expected=now, found=then, remedy=remedy)


def _shown(value: str | None) -> str:
    if value is None:
        return "not set"
    return escape_text(value if len(value) <= _MAX_VALUE else f"{value[:_MAX_VALUE]}...")


def _limited(texts: Sequence[str]) -> str:
    more = len(texts) - _MAX_NAMED
    return ", ".join([*texts[:_MAX_NAMED], *([f"{more} more"] if more > 0 else [])])


def _unrecorded(matrix: Matrix, snapshots: Snapshots, file: Path) -> Iterator[Problem]:
    """Yield the cells without a snapshot for a machine that has others of their model or policy."""
    goldens, baselines = (_ids(paths) for paths in (snapshots.goldens, snapshots.baselines))
    for suite in matrix.suites.values():
        recorded = {suite.against: goldens[suite.against]} if suite.against else goldens
        groups = [(cell.model, cell.id, recorded) for cell in suite.cells]
        wanted = _Wanted(suite.name, "golden", _UPDATE, suite.name in matrix.default_suites)
        yield from _lacking(file, wanted, groups)
    for hosted in matrix.logprob_suites.values():
        groups = [
            (
                cell.policy.name,
                cell.id,
                baselines
                if cell.policy.provider.is_local
                else {cell.policy.provider.name: baselines[cell.policy.provider.name]},
            )
            for cell in hosted.cells
        ]
        wanted = _Wanted(hosted.name, "baseline", _RECORD, hosted.name in matrix.default_suites)
        yield from _lacking(file, wanted, groups)


def _ids(paths: Iterable[Path]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        found[path.parent.name].add(path.stem)
    return found


class _Wanted(NamedTuple):
    """The snapshots that a suite needs."""

    suite: str
    noun: str
    command: str
    is_default: bool

    def problem(self, file: Path, ids: Sequence[str], *, on: str | None) -> Problem:
        # A suite that nobody has asked for yet is no finding.
        is_note = on is None and not self.is_default
        command = f"{self.command} --suite {self.suite}"
        return Problem.at(
            ProblemKind.NOTE if is_note else ProblemKind.UNRECORDED,
            file,
            f"suites.{self.suite}",
            expected=f"a {self.noun} of each cell" + ("" if on is None else f" for {on}"),
            found=f"none of {_limited(ids)}",
            remedy=command if on is None else f"{command}, on {on}",
        )


def _lacking(
    file: Path, wanted: _Wanted, cells: Iterable[tuple[str, str, Mapping[str, set[str]]]]
) -> Iterator[Problem]:
    """Yield what a suite lacks; `cells` are (group, id, ids that each machine or source has)."""
    groups: dict[str, list[str]] = defaultdict(list)
    recorded: dict[str, Mapping[str, set[str]]] = {}
    for group, cell_id, found in cells:
        groups[group].append(cell_id)
        recorded[group] = found
    lacking: dict[str | None, list[str]] = defaultdict(list)
    for group, ids in groups.items():
        known = recorded[group]
        places = sorted(name for name, own in known.items() if not own.isdisjoint(ids))
        for place in places:
            lacking[place].extend(each for each in ids if each not in known[place])
        if not places:
            lacking[None].extend(ids)
    for on, without in lacking.items():
        if without:
            yield wanted.problem(file, without, on=on)


def _of_references(matrix: Matrix, snapshots: Snapshots) -> Iterator[Problem]:
    goldens: dict[str, list[Golden]] = defaultdict(list)
    for golden in filter(None, snapshots.goldens.values()):
        goldens[golden.profile].append(golden)
    for path, reference in snapshots.references.items():
        if reference is None:
            continue
        stale = reference.stale(goldens[reference.profile])
        if not matrix.names(reference):
            expected = f"the change variants.{reference.variant} of the matrix"
            found = "another one, so that it grades nothing"
        elif stale:
            expected = f"the goldens as they are of {_limited(stale)}"
            found = "earlier ones, so that it does not grade them"
        else:
            continue
        kind, remedy = ProblemKind.NOTE, reference.remedy
        yield Problem.at(kind, path, "cells", expected=expected, found=found, remedy=remedy)


def _of_watch(path: Path, watch: Watch | None, suite: LogprobSuite | None) -> Iterator[Problem]:
    if suite is None:
        yield _orphan(path, f"a suite of log-probabilities {path.stem} in the matrix")
    elif watch is not None and (changes := list(epoch_changes(watch.epoch, suite.cells))):
        expected, found = f"the suite {suite.name} as the matrix has it", _limited(changes)
        kind, remedy = ProblemKind.STALE, not_the_same(suite.name, changes).remedy
        yield Problem.at(kind, path, "epoch", expected=expected, found=found, remedy=remedy)


def _of_pins(
    matrix: Matrix, pins: Mapping[str, str], goldens: Mapping[Path, Golden | None], path: Path
) -> Iterator[Problem]:
    files = {file.key: file for model in matrix.models.values() for file in model.files}
    for key, digest in pins.items():
        wanted = files[key].sha256 if key in files else None
        if key not in files or wanted not in {None, digest}:
            expected = wanted or "the name of a model file of the matrix"
            kind, remedy = ProblemKind.ORPHANED, f"remove the line of {key}"
            place = f"sha256.{key}"
            yield Problem.at(kind, path, place, expected=expected, found=digest, remedy=remedy)
    for file in files.values():
        yield from _of_other_files(file, file.sha256 or pins.get(file.key), goldens, path)


def _of_other_files(
    file: FileSpec, pinned: str | None, goldens: Mapping[Path, Golden | None], path: Path
) -> Iterator[Problem]:
    """Yield the digests that goldens of a model file have, and its pin does not."""
    ours = [each for each in goldens.values() if each is not None and each.cell.model == file.name]
    digests = {each.provenance.get(file.sha256_fact): each.cell.id for each in ours}
    for digest, cell_id in digests.items():
        if digest in {None, pinned}:
            continue
        yield Problem.at(
            ProblemKind.UNRECORDED if pinned is None else ProblemKind.STALE,
            path,
            f"sha256.{file.key}",
            expected=f"the file of its goldens, such as {cell_id}: {digest}",
            found="no pin, so that a check accepts any file" if pinned is None else pinned,
            remedy=f'add "{file.key}": "{digest}"'
            if pinned is None
            else f"restore the pin, or {_UPDATE} --repin {file.name}",
        )
