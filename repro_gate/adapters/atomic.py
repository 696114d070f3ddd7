"""Writing a file in one step."""

import os
import tempfile
from pathlib import Path

TEMPORARY = ".tmp"


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=TEMPORARY, dir=file.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes a file for its owner alone; these are for everyone who may read the rest.
        temporary.chmod(0o644)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove what killed writers left below a folder; only while no other one is at work."""
    for file in folder.glob(f"**/.*{TEMPORARY}"):
        file.unlink()
