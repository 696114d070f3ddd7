"""What the gate and its engines know alike about the files of a model."""

import os
from dataclasses import dataclass
from typing import Final

from repro_gate.strict_json import MAX_INTEGER, exact_table, integer

_MAX_UNSIGNED: Final = 2**64 - 1
_CLOCK_TICK_NS: Final = 20_000_000
"""More than the kernel waits before it moves the clock of its file systems."""
_SECOND_NS: Final = 1_000_000_000
"""Some file systems, such as HFS+, count whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What any write to a file changes, and so does a file in its place."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def parse(cls, data: object, place: str) -> "FileState":
        """Return the state, or refuse what is none."""
        found = exact_table(data, place, keys=tuple(cls.__dataclass_fields__))
        return cls(
            **{
                name: integer(value, f"{place}.{name}", low=0, high=_MAX_UNSIGNED)
                for name, value in found.items()
            }
        )

    @classmethod
    def of(cls, status: os.stat_result) -> "FileState":
        """Return the state that a status shows."""
        return cls(
            # Unsigned numbers of 64 bits, of which the protocol has 63.
            device=status.st_dev & MAX_INTEGER,
            inode=status.st_ino & MAX_INTEGER,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )

    def is_settled(self, now_ns: int) -> bool:
        """Return whether a write from now on changes the state; the clock of files is coarse."""
        tick_ns = _CLOCK_TICK_NS if self.changed_ns % _SECOND_NS else 2 * _SECOND_NS
        return self.changed_ns + tick_ns < now_ns
