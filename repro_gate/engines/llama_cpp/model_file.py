"""The model file before llama.cpp reads it."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from repro_gate.protocol import Refusal, RequestRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file whose every byte was read."""

    path: Path
    sha256: str
    size: int
    modified_ns: int

    def require_unchanged(self) -> None:
        """Refuse the file when it is no longer the one that was read."""
        try:
            now = self.path.stat()
        except OSError as error:
            raise model_invalid(f"{self.path}: {error.strerror}") from error
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified_ns):
            raise model_invalid(f"{self.path}: changed while it was being loaded")


def model_invalid(message: str) -> RequestRefused:
    """Return the error for a model that cannot be used."""
    return RequestRefused(Refusal.MODEL_INVALID, message)


def read_model_file(path: Path, *, expected: str | None) -> ModelFile:
    """Return what the file is; a digest other than the expected one is refused."""
    try:
        # Without O_NONBLOCK, a pipe that nobody writes to would be waited for without end.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise model_invalid(f"{path}: not a regular file")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise model_invalid(f"{path}: {error.strerror}") from error
    if expected not in {None, digest}:
        raise RequestRefused(
            Refusal.DIGEST_MISMATCH, f"{path}: expected sha256 {expected}, found {digest}"
        )
    return ModelFile(path=path, sha256=digest, size=status.st_size, modified_ns=status.st_mtime_ns)
