"""The files of the model that a load request names, read to their end and checked."""

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path

from repro_gate.engines.requests import LoadRequest
from repro_gate.model_files import (
    MAX_PARTS,
    FileState,
    ModelContent,
    UnusableFolder,
    is_folder,
    states_to_wire,
)
from repro_gate.protocol import Json, Refusal, RequestRefused, bad_request


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model whose digest is known: a file, the parts of one, or a folder."""

    path: Path
    """As in the request: the first part of several."""
    content: ModelContent
    sha256: str
    states: tuple[FileState, ...]
    """Of each of its files."""
    is_settled: bool
    """Whether every later write changes a state."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of its files, in the order of the digest."""
        return self.content.paths

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(state.size for state in self.states)

    def state_to_wire(self) -> Json:
        """Return the key `file` of the answer, if the states can stand for the digest."""
        can = self.is_settled and len(self.states) <= MAX_PARTS
        return {"file": states_to_wire(self.states)} if can else {}

    def require_unchanged(self) -> None:
        """Refuse the model when its files are no longer those that were read."""
        if self.content.folder and self.content != _content_of(self.content.folder):
            raise model_invalid(f"{self.path}: files came or went while it was being loaded")
        for path, state in zip(self.files, self.states, strict=True):
            try:
                status = path.stat()
            except OSError as error:
                raise model_invalid(f"{path}: {error.strerror}") from error
            # A change of its permissions or links is none of its content.
            now = replace(FileState.of(status), changed_ns=state.changed_ns)
            if now != state:
                raise model_invalid(f"{path}: changed while it was being loaded")


def model_invalid(message: str) -> RequestRefused:
    """Return the error for an unusable model."""
    return RequestRefused(Refusal.MODEL_INVALID, message)


def read_model(request: LoadRequest, *, may_be_folder: bool = False) -> ModelFile:
    """Read all files of a model to their end; refuse it if its digest is not the expected one.

    In the state that the request knows, they are not read again.

    Args:
        request: names the model.
        may_be_folder: whether the engine loads a folder too.
    """
    if request.path is None:
        raise bad_request("load.path: this engine loads a file, and the matrix names none")
    if is_folder(request.path) and not may_be_folder:
        raise model_invalid(f"{request.path}: a folder; name a model file in it")
    content = _content_of(request.path, request.parts)
    return _read(request.path, content, expected=request.sha256, known=request.states)


def read_model_file(path: Path, *, expected: str | None) -> ModelFile:
    """Read one file to its end; refuse one whose digest is not the expected one.

    Args:
        path: of the file.
        expected: its digest, or None if any file will do.
    """
    return _read(path, ModelContent(paths=(path,)), expected=expected)


def _content_of(path: Path, parts: Sequence[Path] = ()) -> ModelContent:
    try:
        return ModelContent.of(path, parts)
    except UnusableFolder as error:
        raise model_invalid(str(error)) from error
    except OSError as error:
        raise model_invalid(f"{error.filename or path}: {error.strerror}") from error


def _read(
    path: Path, content: ModelContent, *, expected: str | None, known: Sequence[FileState] = ()
) -> ModelFile:
    started_ns = time.time_ns()
    reading = _Reading(are_parts=content.folder is None and content.is_several)
    try:
        digest = expected if known and reading.states_of(content) == tuple(known) else None
        if digest is None:
            reading.states.clear()
            digest = content.digest(reading.open)
    except OSError as error:
        raise model_invalid(f"{error.filename or path}: {error.strerror}") from error
    if expected not in {None, digest}:
        raise RequestRefused(
            Refusal.DIGEST_MISMATCH, f"{path}: expected sha256 {expected}, found {digest}"
        )
    return ModelFile(
        path=path,
        content=content,
        sha256=digest,
        states=tuple(reading.states),
        is_settled=all(state.is_settled(started_ns) for state in reading.states),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """Opens the files of a model, and remembers their states."""

    are_parts: bool
    states: list[FileState] = field(default_factory=list[FileState])

    def states_of(self, content: ModelContent) -> tuple[FileState, ...]:
        """Return the states of all files without reading them."""
        for path in content.paths:
            self.open(path).close()
        return tuple(self.states)

    def open(self, path: Path) -> BufferedReader:
        """Open a regular file; raises `OSError`."""
        if self.are_parts and path.is_symlink():
            raise model_invalid(f"{path}: a symbolic link; the parts of a model must be files")
        # Without O_NONBLOCK, opening a pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise model_invalid(f"{path}: not a regular file")
        self.states.append(FileState.of(status))
        return os.fdopen(descriptor, "rb")
