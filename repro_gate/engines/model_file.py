"""The model file that a load request names, read to its end and checked."""

import hashlib
import os
import stat
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from repro_gate.model_files import FileState
from repro_gate.protocol import Json, Refusal, RequestRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file whose digest is known."""

    path: Path
    sha256: str
    state: FileState
    is_settled: bool
    """Whether every later write changes the state."""

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.state.size

    def state_to_wire(self) -> Json:
        """Return the key `file` of the answer, if the state can stand for the digest."""
        return {"file": asdict(self.state)} if self.is_settled else {}

    def require_unchanged(self) -> None:
        """Refuse the file when it is no longer the one that was read."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise model_invalid(f"{self.path}: {error.strerror}") from error
        # A change of its permissions or links is none of its content.
        now = replace(FileState.of(status), changed_ns=self.state.changed_ns)
        if now != self.state:
            raise model_invalid(f"{self.path}: changed while it was being loaded")


def model_invalid(message: str) -> RequestRefused:
    """Return the error for an unusable model."""
    return RequestRefused(Refusal.MODEL_INVALID, message)


def read_model_file(
    path: Path, *, expected: str | None, known: FileState | None = None
) -> ModelFile:
    """Read a model file to its end; refuse one whose digest is not the expected one.

    Args:
        path: of the file.
        expected: its digest, or None if any file will do.
        known: a state in which the file had this digest; it is not read again if it is in it.
    """
    started_ns = time.time_ns()
    try:
        # Without O_NONBLOCK, opening a pipe without a writer would block.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise model_invalid(f"{path}: not a regular file")
            state = FileState.of(status)
            digest = expected if state == known else None
            if digest is None:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise model_invalid(f"{path}: {error.strerror}") from error
    if expected not in {None, digest}:
        raise RequestRefused(
            Refusal.DIGEST_MISMATCH, f"{path}: expected sha256 {expected}, found {digest}"
        )
    is_settled = state.is_settled(started_ns)
    return ModelFile(path=path, sha256=digest, state=state, is_settled=is_settled)
