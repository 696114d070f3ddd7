"""Fit a text into a size limit: whole sections, and a notice of those that were omitted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, document

Size = Callable[[str], int]

MIN_LIMIT = 2_000
"""A title, a notice and a footer fit into it, whatever they hold."""


def utf16_units(text: str) -> int:
    """Return the size as GitHub counts that of a comment."""
    return len(text.encode("utf-16-le")) // 2


def utf8_bytes(text: str) -> int:
    """Return the size as GitHub counts that of a job summary."""
    return len(text.encode("utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part that is shown whole or not at all."""

    block: Block
    name: str | None = None
    """In our own words; None for findings, which are counted instead."""
    findings: int = 1
    """How many it tells, when it has no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is always there."""

    head: Sequence[Block]
    cut: Callable[[str], Block]
    """From what was left out to the notice of it, which is no longer than that of more."""
    foot: Block


def fill(frame: Frame, pieces: Sequence[Piece], *, limit: int, size: Size) -> str:
    """Return the frame with every piece, in order, that there is room for.

    Raises:
        ValueError: the limit is too small for any frame.
    """
    if limit < MIN_LIMIT:
        raise ValueError(f"the limit must be at least {MIN_LIMIT}, got {limit}")
    whole = _text(frame, pieces, shown=range(len(pieces)))
    if size(whole) <= limit:
        return whole
    used = size(_text(frame, pieces, shown=()))
    shown: list[int] = []
    for number, piece in enumerate(pieces):
        # A document ends in one line break, and two of them keep its blocks apart.
        needed = size(document([piece.block])) + 1
        if used + needed <= limit:
            used += needed
            shown.append(number)
    return _text(frame, pieces, shown=shown)


def _text(frame: Frame, pieces: Sequence[Piece], *, shown: Sequence[int]) -> str:
    missing = [pieces[number] for number in sorted(set(range(len(pieces))) - set(shown))]
    notice = frame.cut(_left_out(missing, pieces)) if missing else ()
    return document([*frame.head, *(pieces[number].block for number in shown), notice, frame.foot])


def _left_out(missing: Sequence[Piece], pieces: Sequence[Piece]) -> str:
    """Return what is missing, in words."""
    findings = _findings(missing)
    counted = f"{findings} of {plural(_findings(pieces), 'finding')}"
    names = dict.fromkeys(piece.name for piece in missing if piece.name is not None)
    return ", ".join([*([counted] if findings else []), *names])


def _findings(pieces: Sequence[Piece]) -> int:
    return sum(piece.findings for piece in pieces if piece.name is None)
