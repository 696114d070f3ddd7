"""Commands to copy, in which untrusted text is one quoted word."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from glob import escape as glob_escape
from os.path import commonprefix

from repro_gate.reports.text.escape import one_line

_OPTION = re.compile(r"--[a-z-]+")
_PLAIN = re.compile(r"[A-Za-z0-9./_][A-Za-z0-9./_:=,+-]*")
"""Nothing in it means anything to a shell, and it does not look like an option."""


def command(name: str, options: Sequence[str]) -> str:
    """Return a command of ours with the options that a report says are to be repeated."""
    # An option's name is ours, its value is not, and may look like one.
    words = [word if _OPTION.fullmatch(word) else quoted(word) for word in options]
    return " ".join([name, *words])


def only(ids: Sequence[str], others: Sequence[str], *flags: str) -> str:
    """Return the options that select these cells, and none of the others.

    Args:
        ids: at least one.
        others: what must stay as it is, sorted; it may hold the ids too.
        flags: what else the command needs.
    """
    if len(ids) == 1:
        return " ".join(["--only", quoted(glob_escape(ids[0])), *flags])
    pattern = pattern_of(ids, others)
    if pattern is None:
        return " ".join(["--only ID", *flags, " # for each of these ids"])
    return " ".join(["--only", quoted(pattern), *flags])


def pattern_of(ids: Sequence[str], others: Sequence[str]) -> str | None:
    """Return a pattern that matches these cells and none of the others, or None; see `only`."""
    start = commonprefix(ids)  # noqa: RUF071 -- of ids, not of paths
    return None if _selects_others(start, ids, others) else f"{glob_escape(start)}*"


def _selects_others(start: str, ids: Sequence[str], others: Sequence[str]) -> bool:
    # What begins alike stands together, and no more of it than the ids is looked at: a report
    # may have as many findings as cells, and one scan of all cells for each would never end.
    own = set(ids)
    for place in range(bisect_left(others, start), len(others)):
        if not others[place].startswith(start):
            return False
        if others[place] not in own:
            return True
    return False


def quoted(text: str) -> str:
    """Return one word of a shell command, whatever the text holds."""
    word = one_line(text)
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"
