"""Commands to copy, in which untrusted text is one quoted word."""

import re
import sys
from bisect import bisect_left
from collections.abc import Sequence
from glob import escape as glob_escape
from os.path import commonprefix

from repro_gate.reports.text.escape import one_line

_OPTION = re.compile(r"--[a-z-]+")
_PLAIN = re.compile(r"[A-Za-z0-9./_][A-Za-z0-9./_:=,+-]*")
"""Neither special to a shell nor like an option."""
_MAX_SCANNED = 20
"""Cells besides its own that a pattern is compared with."""


def command(name: str, options: Sequence[str]) -> str:
    """Return a command with the options that a report repeats."""
    # The name of an option is trusted. Its value is not, and may look like an option.
    words = [word if _OPTION.fullmatch(word) else quoted(word) for word in options]
    return " ".join([name, *words])


def only(ids: Sequence[str], others: Sequence[str], *flags: str) -> str:
    """Return the options that select these cells and none of the others.

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
    rests = [each[len(start) :][::-1] for each in ids]
    # With the end, it selects no cell that the --only of this check left out.
    end = commonprefix(rests)[::-1]  # noqa: RUF071 -- as above
    if _selects_others(start, end, ids, others):
        return None
    return f"{glob_escape(start)}*{glob_escape(end)}"


def _selects_others(start: str, end: str, ids: Sequence[str], others: Sequence[str]) -> bool:
    # Sorted ids with the same start are neighbours. A report may have as many findings as cells,
    # and scanning all cells for each of them would take quadratic time.
    own, first = set(ids), bisect_left(others, start)
    last = bisect_left(others, f"{start}{chr(sys.maxunicode)}", lo=first)
    if last - first > len(own) + _MAX_SCANNED:
        return True
    return any(each not in own and each.endswith(end) for each in others[first:last])


def quoted(text: str) -> str:
    """Return any text as one word of a shell command."""
    word = one_line(text)
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"
