"""Read all committed files of a matrix, and print what is wrong with them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from repro_gate.adapters.files.references import REFERENCES, ReferenceFiles
from repro_gate.adapters.files.snapshots import (
    BASELINES,
    GOLDENS,
    PINS,
    BaselineFiles,
    GoldenFiles,
    ModelPinsFile,
    misplaced,
)
from repro_gate.adapters.files.watches import WATCHES, WatchFiles
from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.checks.lint import Problem, ProblemKind, Snapshots, lint_code, problems_of
from repro_gate.cli.terminal.console import print_line
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import InputInvalid
from repro_gate.reports.text.format import plural

_TREES: Final = (GOLDENS, BASELINES, REFERENCES)
_Read = TypeVar("_Read")


def run_lint(file: Path, *, as_json: bool) -> ExitCode:
    """Print every problem of a matrix file and of its snapshots."""
    problems: list[Problem] = []
    files = _lint(file, problems)
    if as_json:
        print(json.dumps(list(map(_data, problems)), indent=2))
    else:
        for line in _lines(problems, f"{file} and {plural(files, 'snapshot')}"):
            print_line(line)
    return lint_code(problems)


def _lint(file: Path, problems: list[Problem]) -> int:
    """Add every problem, and return the number of snapshots."""
    try:
        matrix = read_matrix(file)
    except InputInvalid as error:
        problems.append(_invalid(file, error))
        return 0
    folder = file.parent / matrix.snapshots
    problems.extend(map(_misplaced, misplaced(folder, trees=_TREES, flat=(WATCHES,))))
    snapshots = _Reader(folder, problems).read()
    problems.extend(problems_of(matrix, snapshots, file=file, pins=folder / PINS))
    return snapshots.size


class _Reader:
    """Reads all snapshots; what is invalid becomes a problem and is None."""

    def __init__(self, folder: Path, problems: list[Problem]) -> None:
        self._folder = folder
        self._problems = problems

    def read(self) -> Snapshots:
        goldens = GoldenFiles(self._folder / GOLDENS)
        baselines = BaselineFiles(self._folder / BASELINES)
        references = ReferenceFiles(self._folder / REFERENCES)
        watches = WatchFiles(self._folder / WATCHES)
        pins = self._folder / PINS
        return Snapshots(
            goldens=self._all(GOLDENS, lambda file: goldens.read(file.parent.name, file.stem)),
            baselines=self._all(
                BASELINES, lambda file: baselines.read(file.parent.name, file.stem)
            ),
            references=self._all(
                REFERENCES, lambda file: references.of(file.parent.name, file.stem)
            ),
            watches=self._all(WATCHES, lambda file: watches.read(file.stem), "[!.]*.json"),
            pins=self._one(pins, lambda _: ModelPinsFile(pins).pinned()),
        )

    def _all(
        self, name: str, read: Callable[[Path], _Read], pattern: str = "[!.]*/[!.]*.json"
    ) -> dict[Path, _Read | None]:
        files = sorted((self._folder / name).glob(pattern))
        return {file: self._one(file, read) for file in files}

    def _one(self, file: Path, read: Callable[[Path], _Read]) -> _Read | None:
        try:
            return read(file)
        except InputInvalid as error:
            self._problems.append(_invalid(file, error))
            return None


def _invalid(file: Path, error: InputInvalid) -> Problem:
    return Problem(kind=ProblemKind.INVALID, file=file, message=str(error))


def _misplaced(path: Path) -> Problem:
    is_link = path.is_symlink()
    return Problem.at(
        ProblemKind.INVALID if is_link else ProblemKind.UNEXPECTED,
        path,
        "",
        expected="a snapshot, such as goldens/PROFILE/CELL.json",
        found="a symbolic link" if is_link else "something that no command reads",
        remedy="replace it by the file itself" if is_link else "move or remove it",
    )


def _lines(problems: Sequence[Problem], checked: str) -> Iterator[str]:
    for problem in problems:
        yield from (f"{problem.kind}: {line}" for line in problem.message.splitlines())
        if problem.remedy is not None:
            yield f"  try: {problem.remedy}"
    counts = Counter(problem.kind for problem in problems)
    notes = counts.pop(ProblemKind.NOTE, 0)
    found = [f"{counts[kind]} {kind}" for kind in ProblemKind if counts[kind]]
    found += [plural(notes, "note")] if notes else []
    yield f"{checked}: {', '.join(found) or 'no problem'}"


def _data(problem: Problem) -> dict[str, str | None]:
    return {
        "kind": problem.kind.value,
        "file": str(problem.file),
        "message": problem.message,
        "remedy": problem.remedy,
    }
