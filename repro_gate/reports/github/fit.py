"""Fit a text into a size limit: whole sections, and a notice of those that were omitted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from repro_gate.reports.text.format import plural
from repro_gate.reports.text.markdown import Block, document

Size = Callable[[str], int]

MIN_LIMIT = 2_500
"""Enough for any title, notice and footer."""


def utf16_units(text: str) -> int:
    """Return the size of a comment as GitHub counts it."""
    return len(text.encode("utf-16-le")) // 2


def utf8_bytes(text: str) -> int:
    """Return the size of a job summary as GitHub counts it."""
    return len(text.encode("utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a text, shown whole or not at all."""

    block: Block
    name: str | None = None
    """For the notice of what was omitted; None for findings, which are counted instead."""
    findings: int = 1
    """How many it holds, when it has no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is never omitted."""

    head: Sequence[Block]
    notice: Callable[[str], Block]
    """Makes the notice of what was omitted; naming more, it must not be shorter."""
    foot: Block


def fit(frame: Frame, sections: Sequence[Section], *, limit: int, size: Size) -> str:
    """Return the frame with every section, in order, that still fits.

    Raises:
        ValueError: the limit is too small for any frame.
    """
    if limit < MIN_LIMIT:
        raise ValueError(f"the limit must be at least {MIN_LIMIT}, got {limit}")
    whole = _text(frame, sections, shown=range(len(sections)))
    if size(whole) <= limit:
        return whole
    used = size(_text(frame, sections, shown=()))
    shown: list[int] = []
    for number, section in enumerate(sections):
        # A document ends in one line break, and its blocks are separated by two.
        needed = size(document([section.block])) + 1
        if used + needed <= limit:
            used += needed
            shown.append(number)
    return _text(frame, sections, shown=shown)


def _text(frame: Frame, sections: Sequence[Section], *, shown: Sequence[int]) -> str:
    missing = [sections[number] for number in sorted(set(range(len(sections))) - set(shown))]
    omitted = frame.notice(_describe(missing, sections)) if missing else ()
    return document(
        [*frame.head, *(sections[number].block for number in shown), omitted, frame.foot]
    )


def _describe(missing: Sequence[Section], sections: Sequence[Section]) -> str:
    """Return what was omitted in words."""
    findings = _findings(missing)
    counted = f"{findings} of {plural(_findings(sections), 'finding')}"
    names = dict.fromkeys(section.name for section in missing if section.name is not None)
    return ", ".join([*([counted] if findings else []), *names])


def _findings(sections: Sequence[Section]) -> int:
    return sum(section.findings for section in sections if section.name is None)
