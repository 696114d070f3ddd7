"""Building blocks of Markdown that untrusted text cannot break out of.

Only a code span and a fence take untrusted text: in them no mention, link, HTML or emphasis
works, whatever renders the report.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias, assert_never

from repro_gate.core.outcome import Outcome
from repro_gate.reports.text.escape import one_line

Block: TypeAlias = Sequence[str]
"""Lines of Markdown; an empty line separates two blocks."""

_BACKTICKS = re.compile(r"`+")
_LONG_RUN = re.compile(r"`{9,}")
_BAR = re.compile(r"(\\?)\|")
_MIN_FENCE = 3


def code(text: str) -> str:
    """Return text as a code span that it cannot close."""
    line = _inert(text)
    if not line:
        return "(empty)"
    ticks = "`" * (_max_run(line) + 1)
    # A backtick at an end would join the delimiter; a renderer strips one space at both ends.
    pad = " " if line.strip() and (line[0] in "` " or line[-1] in "` ") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def fence(lines: Iterable[str], info: str) -> list[str]:
    """Return lines of text as a fenced block that they cannot close."""
    inner = [_inert(line) for line in lines]
    ticks = "`" * max(_MIN_FENCE, 1 + max(map(_max_run, inner), default=0))
    return [f"{ticks}{info}", *inner, ticks]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table of Markdown cells."""
    return [_row(header), _row(["---"] * len(header)), *map(_row, rows)]


def details(summary: str, body: Iterable[str]) -> list[str]:
    """Return a collapsed block; the summary is HTML and must not hold untrusted text."""
    # Without the empty lines the body would be HTML, in which a code span escapes nothing.
    return ["<details>", f"<summary>{summary}</summary>", "", *body, "", "</details>"]


def document(blocks: Iterable[Sequence[str]]) -> str:
    """Return the blocks as one text, with an empty line between each two."""
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def mark(outcome: Outcome) -> str:
    """Return the symbol of an outcome."""
    match outcome:
        case Outcome.PASSED:
            return "✅"
        case Outcome.FAILED:
            return "❌"
        case Outcome.INCONCLUSIVE:
            return "❔"
        case _:
            assert_never(outcome)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_BAR.sub(_escaped_bar, cell) for cell in cells)} |"


def _escaped_bar(bar: re.Match[str]) -> str:
    # A bar ends a cell, even in a code span. After a backslash in the text, a second one would
    # escape the bar for some renderers and the backslash for others.
    return rf"{bar[1]}\x7c" if bar[1] else r"\|"


def _inert(text: str) -> str:
    # GitHub's parser opens no code span with more than 80 backticks, and closes any longer fence
    # at 255 of them, so the length of a delimiter has to be bounded.
    line = _LONG_RUN.sub(lambda run: r"\x60" * len(run[0]), one_line(text))
    # Markers are HTML comments and are searched in the source.
    return line.replace("<!--", r"\x3c!--")


def _max_run(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)


def joined(blocks: Sequence[Block]) -> Block:
    """Return several blocks as one."""
    return document(blocks).removesuffix("\n").split("\n")


def folded(summary: str, blocks: Sequence[Block]) -> Block:
    """Return blocks collapsed behind a summary, see `details`."""
    return details(summary, joined(blocks))
