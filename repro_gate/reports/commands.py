"""Commands that a reader can copy: what is foreign in them is one quoted word, and nothing more."""

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from os.path import commonprefix

from repro_gate.reports import foreign

_OPTION = re.compile(r"--[a-z-]+")


def command(name: str, options: Sequence[str]) -> str:
    """Return a command of ours with the options that a report says are to be repeated."""
    # An option's name is ours, its value is not, and may look like one.
    words = [word if _OPTION.fullmatch(word) else quoted(word) for word in options]
    return " ".join([name, *words])


def only(ids: Sequence[str], others: Collection[str], *flags: str) -> str:
    """Return the options that select these cells, and none of the others.

    Args:
        ids: at least one.
        others: what must stay as it is.
        flags: what else the command needs.
    """
    start = commonprefix(ids)  # noqa: RUF071 -- of ids, not of paths
    pattern = ids[0] if len(ids) == 1 else f"{start}*"
    if any(fnmatchcase(other, pattern) for other in others if other not in ids):
        return " ".join(["--only 'ID'", *flags, " # for each of these ids"])
    return " ".join(["--only", quoted(pattern), *flags])


def quoted(text: str) -> str:
    """Return one word of a shell command, whatever the text holds."""
    return "'" + foreign.one_line(text).replace("'", "'\\''") + "'"
