"""The files of a commit, read from its objects: the work tree may hold anything."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from repro_gate.adapters.files.checkout import run_git
from repro_gate.adapters.files.documents import max_bytes_of
from repro_gate.adapters.files.snapshots import (
    BASELINE_SCHEMA,
    BASELINES,
    GOLDEN_SCHEMA,
    GOLDENS,
    PINS,
    PINS_SCHEMA,
    parse_baseline,
    parse_golden,
    parse_pins,
)
from repro_gate.adapters.matrix.prompts import MAX_FILE_BYTES, ReadFile
from repro_gate.adapters.matrix.reader import parse_matrix
from repro_gate.core.guards import is_name
from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.sign_off.measured import Checkout
from repro_gate.core.sign_off.statement import Entry, Kind
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Golden
from repro_gate.errors import InputInvalid, MeasurementUnavailable

_ID: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHORT_ID: Final = re.compile(r"[0-9a-f]{4,64}", re.IGNORECASE)
_ENTRY: Final = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]+) +(\S+)\t(.+)", re.DOTALL)
_REGULAR: Final = (b"100644", b"100755")
_TIMEOUT_S: Final = 120
_MAX_BYTES: Final = 1 << 30
"""Of all goldens or all baselines of a commit."""


Snapshot = TypeVar("Snapshot", Golden, Baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    object: str
    size: int


def commit_id_of(folder: Path, revision: str) -> str:
    """Return the id of a commit of the repository that a folder is in.

    Raises:
        MeasurementUnavailable: there is no repository, or it does not have the commit.
    """
    name = f"{revision}^{{commit}}"
    try:
        found = run_git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
        commit = found.decode("ascii", errors="replace").strip()
    except MeasurementUnavailable:
        commit = ""
    if not _ID.fullmatch(commit):
        _require_repository(folder)
        raise MeasurementUnavailable(
            f"the commit {escape_text(revision)} is not in the repository at {folder.absolute()}",
            remedy="git fetch --tags, or git fetch origin COMMIT; in a clone of the repository",
        )
    # Git prefers a tag or a branch to the commit whose id begins so, and others can make one.
    if _SHORT_ID.fullmatch(revision) and not commit.startswith(revision.lower()):
        raise MeasurementUnavailable(
            f"{revision} looks like the id of a commit, but is a tag or a branch at {commit}",
            remedy=f"give the whole id of the commit, or refs/tags/{revision}",
        )
    return commit


def _require_repository(folder: Path) -> None:
    try:
        run_git(folder, "rev-parse", "--git-dir")
    except MeasurementUnavailable as error:
        raise MeasurementUnavailable(
            f"there is no repository that git reads at {folder.absolute()}: {error.reason}",
            remedy="run it in a clone of the repository that belongs to you",
        ) from error


def read_checkout(folder: Path, commit: str, *, matrix: str) -> Checkout:
    """Return what a commit contains.

    Args:
        folder: in a clone.
        commit: its whole id.
        matrix: the path of the matrix file in the repository.

    Raises:
        InputInvalid: a file of the commit is missing or invalid.
        MeasurementUnavailable: git fails.
    """
    repository = _Commit(folder, commit)
    files = repository.files(matrix)
    if matrix not in files:
        expected = f"a regular file in the commit {commit}"
        raise InputInvalid.at(matrix, "", expected=expected, found="none")
    content = repository.read(files, max_bytes=max_bytes_of("matrix-v1"))[matrix]
    parsed = parse_matrix(content, Path(matrix), repository.beside(matrix))
    snapshots = PurePosixPath(matrix).parent / parsed.snapshots
    goldens = repository.folder(snapshots / GOLDENS, schema=GOLDEN_SCHEMA)
    baselines = repository.folder(snapshots / BASELINES, schema=BASELINE_SCHEMA)
    pins = snapshots / PINS
    pinned = repository.read(repository.files(str(pins)), max_bytes=max_bytes_of(PINS_SCHEMA))
    if pinned and str(pins) not in pinned:
        raise InputInvalid.at(str(pins), "", expected="a regular file", found="a folder")
    entries = [
        Entry(kind=Kind.MATRIX, name=matrix, digest={"sha256": _sha256(content)}),
        *repository.entries(Kind.GOLDENS, snapshots / GOLDENS, goldens),
        *repository.entries(Kind.BASELINES, snapshots / BASELINES, baselines),
        *(
            Entry(kind=Kind.PINS, name=name, digest={"sha256": _sha256(data)})
            for name, data in pinned.items()
        ),
    ]
    return Checkout(
        commit=commit,
        matrix=parsed,
        entries=tuple(entries),
        goldens=_snapshots(snapshots / GOLDENS, goldens, parse_golden),
        baselines=_snapshots(snapshots / BASELINES, baselines, parse_baseline),
        pins=parse_pins(pinned[str(pins)], file=Path(pins)) if pinned else {},
    )


def files_digest(contents: Mapping[str, bytes]) -> str:
    """Return the sha256 of a folder: of its list as `sha256sum` prints it, sorted by path."""
    lines = (f"{_sha256(data)}  {path}\n" for path, data in sorted(contents.items()))
    return _sha256("".join(lines).encode("utf-8", errors="surrogateescape"))


class _Commit:
    """The objects of one commit."""

    def __init__(self, folder: Path, commit: str) -> None:
        self._folder = folder
        self._commit = commit

    def files(self, path: str) -> dict[str, _File]:
        """Return the regular files at or below a path; raises `InputInvalid` for others."""
        listed = run_git(
            self._folder,
            *("ls-tree", "-r", "-l", "-z", "--full-tree", self._commit, "--"),
            path,
            timeout_s=_TIMEOUT_S,
        )
        return dict(_files(listed))

    def read(self, files: Mapping[str, _File], *, max_bytes: int) -> dict[str, bytes]:
        """Return the content of files, each at most so large; raises `InputInvalid`."""
        total = 0
        for path, file in files.items():
            total += file.size
            if file.size > max_bytes or total > _MAX_BYTES:
                expected = f"at most {min(max_bytes, _MAX_BYTES)} bytes"
                found = str(file.size)
                raise InputInvalid.at(escape_text(path), "", expected=expected, found=found)
        if not files:
            return {}
        wanted = "".join(f"{file.object}\n" for file in files.values())
        output = run_git(
            self._folder, "cat-file", "--batch", stdin=wanted.encode(), timeout_s=_TIMEOUT_S
        )
        return dict(_contents(output, files))

    def beside(self, matrix: str) -> ReadFile:
        """Return what reads the files of the folder of a matrix file."""

        def read(name: str) -> bytes:
            path = str(PurePosixPath(matrix).parent / name)
            found = self.read(self.files(path), max_bytes=MAX_FILE_BYTES)
            if path not in found:
                expected = f"a regular file in the commit {self._commit}"
                raise InputInvalid.at(escape_text(path), "", expected=expected, found="none")
            return found[path]

        return read

    def folder(self, path: PurePosixPath, *, schema: str) -> dict[str, bytes]:
        """Return the content of the files below a folder, by their path in it."""
        found = self.read(self.files(f"{path}/"), max_bytes=max_bytes_of(schema))
        return {str(PurePosixPath(name).relative_to(path)): data for name, data in found.items()}

    def entries(
        self, kind: Kind, path: PurePosixPath, contents: Mapping[str, bytes]
    ) -> Iterator[Entry]:
        """Yield the entry of a folder, unless it is empty."""
        if contents:
            tree = run_git(self._folder, "rev-parse", "--verify", f"{self._commit}:{path}")
            yield Entry(
                kind=kind,
                name=str(path),
                digest={"sha256": files_digest(contents), "gitTree": tree.decode("ascii").strip()},
                annotations={"files": len(contents)},
            )


def _files(listed: bytes) -> Iterator[tuple[str, _File]]:
    for line in filter(None, listed.split(b"\0")):
        parts = _ENTRY.fullmatch(line)
        path = line.partition(b"\t")[2].decode("utf-8", errors="surrogateescape")
        if parts is None or parts[1] not in _REGULAR:
            expected = "regular files in the commit"
            found = "a link or a submodule"
            raise InputInvalid.at(escape_text(path), "", expected=expected, found=found)
        name = parts[3].decode("ascii")
        if not parts[4].isdigit():
            raise _missing(name, path)
        yield path, _File(object=name, size=int(parts[4]))


def _contents(output: bytes, files: Mapping[str, _File]) -> Iterator[tuple[str, bytes]]:
    """Yield the files that `git cat-file --batch` printed one after the other."""
    start = 0
    for path, file in files.items():
        header = f"{file.object} blob {file.size}\n".encode("ascii")
        end = start + len(header) + file.size
        if not output.startswith(header, start) or output[end : end + 1] != b"\n":
            raise _missing(file.object, path)
        yield path, output[start + len(header) : end]
        start = end + 1


def _missing(name: str, path: str) -> MeasurementUnavailable:
    return MeasurementUnavailable(
        f"git has no object {name}, which is {escape_text(path)} in the commit",
        remedy="run git fsck, or clone the repository again",
    )


def _snapshots(
    folder: PurePosixPath,
    contents: Mapping[str, bytes],
    parse: Callable[[bytes, Path, str, str], Snapshot],
) -> dict[tuple[str, str], Snapshot]:
    """Parse each file `NAME/CELL-ID.json`, by the name of its profile or source and by the id."""
    found: dict[tuple[str, str], Snapshot] = {}
    for name, data in contents.items():
        place, _, file = name.partition("/")
        path = PurePosixPath(file)
        is_cell = path.suffix == ".json" and not file.startswith(".") and "/" not in file
        if is_cell and is_name(place):
            found[place, path.stem] = parse(data, Path(folder, name), place, path.stem)
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
