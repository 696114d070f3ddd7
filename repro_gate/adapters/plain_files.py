"""Files of an untrusted download: looked at before they are opened, and never followed."""

import os
import stat
from pathlib import Path

from repro_gate.errors import InputInvalid


def require_plain_file(file: Path, *, max_bytes: int | None = None) -> None:
    """Raise `InputInvalid` for a link, a device, a folder, or more bytes than allowed."""
    status = require_no_link(file)
    if not stat.S_ISREG(status.st_mode):
        raise InputInvalid.at(file, "", expected="a plain file", found="something else")
    if max_bytes is not None and status.st_size > max_bytes:
        raise InputInvalid.at(
            file, "", expected=f"at most {max_bytes} bytes", found=str(status.st_size)
        )


def require_no_link(path: Path) -> os.stat_result:
    """Return what is at a path; raises `InputInvalid` for a link, and where there is nothing."""
    try:
        status = path.lstat()
    except OSError as error:
        found = error.strerror or str(error)
        raise InputInvalid.at(path, "", expected="a readable file", found=found) from error
    if stat.S_ISLNK(status.st_mode):
        raise InputInvalid.at(path, "", expected="no symbolic link", found="one")
    return status
