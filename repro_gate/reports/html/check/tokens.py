"""Two generations side by side, around the place where they diverge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from repro_gate.core.report import CellReport
from repro_gate.core.tokens.comparison import probability_of
from repro_gate.core.tokens.generation import Generation, Place, Token, bytes_of
from repro_gate.core.tokens.verdicts import Drift
from repro_gate.reports.findings.divergence import (
    Explanation,
    format_closeness,
    format_place,
    token_diff,
)
from repro_gate.reports.html.text import text_of_bytes

_BEFORE: Final = 3
_AFTER: Final = 8
"""Positions shown on each side of a fork."""
_SHARED: Final = 160
"""Characters of the shared text that are shown before a fork."""
_END: Final = "(end of sequence)"
_NOT_KEPT: Final = "(not kept)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A token on one side."""

    id: str = ""
    text: str = ""
    """Untrusted."""
    words: str = ""
    """In place of a token: the end, or that it is not known."""
    share: float | None = None
    """Its probability, before the samplers; None if it is unknown."""

    @property
    def percent(self) -> str:
        """The probability for a reader."""
        return "" if self.share is None else f"{self.share:.1%}"

    @property
    def width(self) -> str:
        """The probability as the width of a bar of 100."""
        return f"{100 * (self.share or 0):.1f}".removesuffix(".0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A position on both sides."""

    position: int
    is_fork: bool
    differs: bool
    expected: Side
    observed: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A divergence with what is around it."""

    place: str
    expected_by: str
    observed_by: str
    rows: tuple[Row, ...]
    """Empty where the divergence is not in tokens."""
    diff: tuple[tuple[str, str], ...]
    """Lines of a rendered prompt or digests: `-`, `+` or a space, and the untrusted text."""
    has_shares: bool
    texts: tuple[tuple[str, str], ...]
    """Labels and untrusted texts: what is shared, and how each side continues."""
    facts: tuple[tuple[str, str], ...]
    """Labels and words of ours."""


def fork_of(cell: CellReport, explanation: Explanation) -> Fork:
    """Return the divergence of a cell."""
    rows = tuple(_rows(cell, explanation))
    closeness = format_closeness(explanation)
    return Fork(
        place=format_place(explanation.divergence),
        expected_by=explanation.expected_by,
        observed_by=explanation.observed_by,
        rows=rows,
        diff=() if rows else tuple((line[0], line[2:]) for line in token_diff(explanation)),
        has_shares=any(
            row.expected.share is not None or row.observed.share is not None for row in rows
        ),
        texts=tuple(_texts(explanation)),
        facts=(*_logits(explanation), *(() if closeness is None else (closeness,))),
    )


def _rows(cell: CellReport, explanation: Explanation) -> Iterator[Row]:
    place, fork = explanation.divergence.place, explanation.divergence.position
    first, verdict = cell.generation, cell.verdict
    if first is None or place in {Place.TEMPLATE, Place.LOGITS}:
        return
    if isinstance(verdict, Drift):
        ours, theirs = _sides(verdict.golden.generation, place), _sides(first, place)
    else:
        # Of another run only the token at the fork is kept; before it, it has those of run 1.
        ours = _sides(first, place)
        theirs = _only_known(ours[:fork], explanation)
    end = min(max(len(ours), len(theirs)), fork + _AFTER + 1)
    for position in range(max(0, fork - _BEFORE), end):
        one, other = _at(ours, position), _at(theirs, position)
        yield Row(
            position=position,
            is_fork=position == fork,
            differs=(one.id, one.text, one.words) != (other.id, other.text, other.words),
            expected=one,
            observed=other,
        )


def _sides(generation: Generation, place: Place) -> list[Side]:
    """Return the tokens of a generation and their end."""
    trace = generation.trace if place is Place.OUTPUT else ()
    shares = [probability_of(choice.logprob) for choice in trace]
    tokens = zip_longest(generation.at(place), shares)
    return [*(_of_token(token, share) for token, share in tokens), Side(words=_END)]


def _at(sides: Sequence[Side], position: int) -> Side:
    return sides[position] if position < len(sides) else Side()


def _only_known(before: Sequence[Side], explanation: Explanation) -> list[Side]:
    token, verified = explanation.divergence.observed, explanation.verified
    shared = [replace(side, share=None) for side in before]
    if token is None:
        return [*shared, Side(words=_END)]
    share = probability_of(verified.logprob) if verified and verified.id == token.id else None
    return [*shared, _of_token(token, share), Side(words=_NOT_KEPT)]


def _of_token(token: Token, share: float | None) -> Side:
    text = "" if token.data is None else text_of_bytes(token.data)
    return Side(id=str(token.id), text=text, share=share)


def _texts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Yield the shared text before the fork, and how each side continues after it."""
    shared = text_of_bytes(bytes_of(explanation.before))
    if shared:
        yield "shared before", shared[-_SHARED:]
    for name, tokens in (
        (explanation.expected_by, explanation.expected),
        (explanation.observed_by, explanation.observed),
    ):
        if tokens:
            yield f"{name} continues", text_of_bytes(bytes_of(tokens))


def _logits(explanation: Explanation) -> Iterator[tuple[str, str]]:
    divergence = explanation.divergence
    if divergence.place is Place.OUTPUT and divergence.logits_from is not None:
        yield "logits", f"differ from step {divergence.logits_from} on"
