"""What an earlier check left in a report folder; it must not stand for one that ends early.

Nothing slow is imported here: it is taken away before anything else is done.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

REPORT: Final = "report.json"
_SHARD: Final = "shard.json"
WITNESSES: Final = (REPORT, "report.md", "junit.xml", "evidence.json", _SHARD)
"""Files that speak for a finished check, to a program or a person."""


def clear(output: Path, *, keeps_shard: bool = False) -> None:
    """Take away what speaks for the check before.

    Args:
        output: the report folder.
        keeps_shard: whether a shard in it was there to be read, and is not ours to take away.

    Raises:
        OSError: it cannot be taken away.
    """
    if output.is_symlink():
        # What stands elsewhere is not ours; whoever writes here refuses it.
        return
    for name in WITNESSES:
        if not (keeps_shard and name == _SHARD):
            (output / name).unlink(missing_ok=True)


def clear_early(output: Path, *, keeps_shard: bool = False) -> None:
    """Do the same as far as it can be done; whoever writes there will find out and say it."""
    with suppress(OSError):
        clear(output, keeps_shard=keeps_shard)
