"""Puts the files of `init` in place: all of them or none, and never over another file."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from repro_gate.adapters.files.atomic import created, require_no_links, write_atomically
from repro_gate.adapters.files.untrusted_files import read_regular_file
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.errors import InputInvalid

IGNORED: Final = ".repro-gate/"
_WORKFLOW: Final = Path(".github", "workflows", "gate.yml")
_IGNORE_FILE: Final = ".gitignore"
_MAX_IGNORE_BYTES: Final = 1 << 20
_SAME: Final = frozenset({".repro-gate", ".repro-gate/", "/.repro-gate", "/.repro-gate/"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file to write."""

    path: Path
    content: bytes
    before: bytes | None = None
    """What it has now; None if it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The folder of the matrix, and the root of its repository."""

    folder: Path
    root: Path
    """The folder itself outside of a repository."""

    @classmethod
    def of(cls, folder: Path) -> "Project":
        """Return the project of a folder."""
        roots = (each for each in (folder, *folder.parents) if os.path.lexists(each / ".git"))
        return cls(folder=folder, root=next(roots, folder))

    @property
    def below(self) -> PurePosixPath:
        """The folder, below the root."""
        return PurePosixPath(self.folder.relative_to(self.root).as_posix())

    @property
    def matrix(self) -> Path:
        """The matrix file."""
        return self.folder / DEFAULT_MATRIX_FILE

    @property
    def workflow(self) -> Path:
        """The workflow file."""
        return self.root / _WORKFLOW

    def shown(self, path: Path) -> str:
        """Return a path as one types it in the folder."""
        return os.path.relpath(path, self.folder)

    def source(self, path: Path) -> str:
        """Return a file as the source of a model: relative if it is part of the project."""
        real, root = (Path(os.path.realpath(each)) for each in (path.parent, self.root))
        if not real.is_relative_to(root):
            return str(path)
        relative = os.path.relpath(real / path.name, os.path.realpath(self.folder))
        # A colon would be read as a scheme, and a tilde is never expanded.
        is_special = relative.startswith(("~", "$")) or ":" in relative
        return f"./{relative}" if is_special else relative


def require_no_matrix(project: Project) -> None:
    """Raise `InputInvalid` if there is a matrix file, or anything else of that name."""
    if os.path.lexists(project.matrix):
        raise _there_already(project)


def ignore_file(project: Project) -> NewFile | None:
    """Return the file that keeps reports out of git; None if it does already, or is a link."""
    path = project.folder / _IGNORE_FILE
    if path.is_symlink():
        return None
    if not os.path.lexists(path):
        return NewFile(path=path, content=f"{IGNORED}\n".encode())
    before = read_regular_file(path, max_bytes=_MAX_IGNORE_BYTES)
    lines = before.decode("utf-8", errors="replace").splitlines()
    if not _SAME.isdisjoint(line.strip() for line in lines):
        return None
    end = b"\r\n" if before.endswith(b"\r\n") else b"\n"
    gap = b"" if before.endswith(b"\n") or not before else end
    return NewFile(path=path, content=before + gap + IGNORED.encode() + end, before=before)


def write_files(project: Project, files: Sequence[NewFile]) -> None:
    """Write new files; what was written before one fails is taken back.

    Raises:
        InputInvalid: a folder is a link, or a file is there by now.
        OSError: one cannot be written.
    """
    with ExitStack() as undo:
        for file in files:
            for folder in _missing_folders(file.path.parent):
                folder.mkdir()
                undo.callback(folder.rmdir)
            _write(project, file, undo)
        undo.pop_all()


def _missing_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders to make, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    require_no_links(folder, folder.parent)
    yield from reversed(missing)


def _write(project: Project, file: NewFile, undo: ExitStack) -> None:
    if file.before is not None:
        mode = file.path.stat().st_mode
        undo.callback(write_atomically, file.path, file.before)
        write_atomically(file.path, file.content)
        file.path.chmod(mode)
        return
    try:
        with created(file.path) as stream:
            stream.write(file.content)
    except FileExistsError as error:
        raise _there_already(project, file.path) from error
    undo.callback(file.path.unlink)


def _there_already(project: Project, path: Path | None = None) -> InputInvalid:
    name = project.shown(path or project.matrix)
    found = "one, which is never overwritten; change it, or move it away and run init again"
    return InputInvalid.at(name, "", expected="no such file yet", found=found)
