"""Where two generations diverge, and what a reader needs to judge it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import assert_never

from repro_gate.core.report import CellReport
from repro_gate.core.text import escape_bytes
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Divergence, Generation, Place, Token, text_of
from repro_gate.core.tokens.modes import ModeResult
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
)
from repro_gate.core.tokens.verification import VerifiedToken

_NEAR = 16
"""Tokens shown as text on each side of a divergence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A divergence, with the tokens around it on both sides."""

    divergence: Divergence
    expected_by: str
    """`golden` or `run 1`."""
    observed_by: str
    before: tuple[Token, ...]
    """The tokens that both sides share."""
    expected: tuple[Token, ...]
    """From the divergence on."""
    observed: tuple[Token, ...] | None
    """From the divergence on; None when only the differing token was kept."""
    verified: VerifiedToken | None = None
    """The token of the golden, or of the run that differs from run 1; None if it is unknown."""
    margin: float | None = None
    """Of a greedy run 1 of this check, in nats; None when it was not traced."""
    golden_margin: float | None = None
    """Of the golden, in nats; None when there is none or it was recorded without a trace."""

    @property
    def context(self) -> str:
        """The shared text just before the divergence."""
        return text_of(self.before[-_NEAR:])

    @property
    def expected_continuation(self) -> str:
        """The expected text from the divergence on."""
        return text_of(self.expected[:_NEAR])

    @property
    def observed_continuation(self) -> str | None:
        """The observed text from the divergence on."""
        return None if self.observed is None else text_of(self.observed[:_NEAR])


def explain(cell: CellReport) -> Explanation | None:
    """Return the divergence of a verdict, or None if nothing differed."""
    first = cell.generation
    if first is None:
        return None
    match cell.verdict:
        case Drift(golden=golden, divergence=divergence):
            explanation = explain_change(cell.cell, golden.generation, first, divergence)
        case Nondeterministic(divergence=divergence) as verdict:
            explanation = _from_run_1(cell.cell, first, divergence, f"run {verdict.run}")
        case Depends():
            short = (explain_mode(cell, each) for each in cell.modes if each.falls_short)
            explanation = min(filter(None, short), key=_order)
        case Match() | Unrecorded() | Vacuous() | Inconclusive():
            return None
        case _:
            assert_never(cell.verdict)
    if explanation.divergence.place is not Place.OUTPUT:
        return explanation
    position = explanation.divergence.position
    verified = next(iter(cell.verification[position : position + 1]), None)
    return replace(explanation, verified=verified)


def explain_mode(cell: CellReport, result: ModeResult) -> Explanation | None:
    """Return where the answers of a cell in a mode first diverge from run 1, if they do."""
    if cell.generation is None or result.divergence is None:
        return None
    is_decisive = cell.cell.sampler.is_greedy and result.divergence.place is Place.OUTPUT
    margin = result.margin if is_decisive else None
    found = _from_run_1(cell.cell, cell.generation, result.divergence, str(result.mode))
    return replace(found, margin=margin)


def explain_change(
    cell: Cell, golden: Generation, observed: Generation, divergence: Divergence
) -> Explanation:
    """Return the divergence of a generation of a cell from its golden."""
    before, expected = _parts(golden, divergence)
    return Explanation(
        divergence=divergence,
        expected_by="golden",
        observed_by="observed",
        before=before,
        expected=expected,
        observed=_parts(observed, divergence)[1],
        margin=_margin(cell, observed, divergence),
        golden_margin=_margin(cell, golden, divergence),
    )


def _parts(
    generation: Generation, divergence: Divergence
) -> tuple[tuple[Token, ...], tuple[Token, ...]]:
    """Return the tokens before a divergence and those from it on; none follow on a digest."""
    position = divergence.position
    if divergence.place is Place.LOGITS:
        return generation.tokens[:position], ()
    found = generation.at(divergence.place)
    return found[:position], found[position:]


def format_place(divergence: Divergence) -> str:
    """Return the place of a divergence; positions are counted from 0, as in a golden."""
    return f"{divergence.place.value}[{divergence.position}]"


def format_token(token: Token | None, place: Place = Place.OUTPUT) -> str:
    """Return a token as its id and its known text, a line as its text; None is the end.

    The digest of logits is returned as it is.
    """
    if token is None:
        return "(end of sequence)"
    if place is Place.LOGITS:
        return f"digest {escape_bytes(token.spelled)}"
    if token.data is None:
        return str(token.id)
    number = "" if place is Place.TEMPLATE else f"{token.id} "
    return f'{number}"{escape_bytes(token.data)}"'


def evidence(explanation: Explanation) -> tuple[tuple[str, str], ...]:
    """Return a divergence as labelled lines."""
    expected, observed = explanation.expected_by, explanation.observed_by
    divergence = explanation.divergence
    unit = "line" if divergence.place is Place.TEMPLATE else "token"
    lines = [
        ("context", f'"{explanation.context}"' if divergence.position else f"none (first {unit})"),
        (expected, format_token(divergence.expected, divergence.place)),
        (observed, format_token(divergence.observed, divergence.place)),
    ]
    if explanation.expected:
        lines.append((f"{expected} continues", f'"{explanation.expected_continuation}"'))
    if explanation.observed:
        lines.append((f"{observed} continues", f'"{explanation.observed_continuation}"'))
    if divergence.place is Place.OUTPUT and divergence.logits_from is not None:
        steps = f"differ from step {divergence.logits_from}, the tokens from step"
        lines.append(("logits", f"{steps} {divergence.position}"))
    closeness = format_closeness(explanation)
    return tuple(lines) if closeness is None else (*lines, closeness)


def format_closeness(explanation: Explanation) -> tuple[str, str] | None:
    """Return how nearly the sides agree at the divergence, with its label, where that is known."""
    verified = explanation.verified
    if verified is not None and verified.uniform is not None and verified.distance is not None:
        return "distance", _format_distance(verified, verified.distance, explanation)
    margins = (("here", explanation.margin), ("in the golden", explanation.golden_margin))
    known = [f"{margin:.4f} nats {source}" for source, margin in margins if margin is not None]
    return ("margin", f"{', '.join(known)} (0 is a tie)") if known else None


def _format_distance(token: VerifiedToken, distance: float, explanation: Explanation) -> str:
    """Return how far the random number was from drawing the claimed token."""
    claimed, drawn = (
        f"{0 if share is None else share.size:.1%}" for share in (token.share, token.drawn_share)
    )
    sides = explanation.expected_by, explanation.observed_by
    # Of two runs, the engine still draws what run 1 drew.
    verified_by, drawn_by = sides if explanation.observed is not None else sides[::-1]
    chances = f"{claimed} {verified_by}, {drawn} {drawn_by}"
    return f"{distance:.4f} (0 is a tie); probability {chances}"


def _from_run_1(
    cell: Cell, first: Generation, divergence: Divergence, observed_by: str
) -> Explanation:
    """Return the divergence of an answer of which only the differing token was kept."""
    before, expected = _parts(first, divergence)
    return Explanation(
        divergence=divergence,
        expected_by="run 1",
        observed_by=observed_by,
        before=before,
        expected=expected,
        observed=None,
        margin=_margin(cell, first, divergence),
    )


def _order(explanation: Explanation) -> tuple[int, int]:
    divergence = explanation.divergence
    return tuple(Place).index(divergence.place), divergence.position


def _margin(cell: Cell, generation: Generation, divergence: Divergence) -> float | None:
    """Return the lead of the likeliest token; of a sampled one it does not decide anything."""
    if divergence.place is not Place.OUTPUT or cell.sampler.temperature > 0:
        return None
    choices = generation.trace[divergence.position : divergence.position + 1]
    return choices[0].margin if choices else None


_LINES = 40
"""Lines of a rendered prompt that are compared from the divergence on."""
_BEFORE = 3
_AFTER = 4
"""Tokens shown on each side from the divergence on, where they are no longer aligned."""


def token_diff(explanation: Explanation) -> Iterator[str]:
    """Yield the tokens around the divergence as the lines of a diff."""
    position, place = explanation.divergence.position, explanation.divergence.place
    before = explanation.before[-_BEFORE:]
    shown_as = Place.OUTPUT if place is Place.LOGITS else place
    yield from _token_lines(" ", position - len(before), before, shown_as)
    if place is Place.TEMPLATE and explanation.observed is not None:
        yield from _line_diff(explanation.expected, explanation.observed)
        return
    # One token is kept of other runs; more tokens on the other side would look like an early end.
    after = 1 if explanation.observed is None else _AFTER
    expected = explanation.expected[:after] or [explanation.divergence.expected]
    observed = (explanation.observed or ())[:after] or [explanation.divergence.observed]
    yield from _token_lines("-", position, expected, place)
    yield from _token_lines("+", position, observed, place)


def _line_diff(expected: Sequence[Token], observed: Sequence[Token]) -> Iterator[str]:
    """Yield the lines of a rendered prompt from the divergence on, aligned again where possible."""
    ours, theirs = expected[:_LINES], observed[:_LINES]
    aligned = SequenceMatcher(
        None, [each.spelled for each in ours], [each.spelled for each in theirs], autojunk=False
    )
    for kind, start, end, other_start, other_end in aligned.get_opcodes():
        if kind == "equal":
            yield from _token_lines(" ", 0, ours[start:end][:_BEFORE], Place.TEMPLATE)
        else:
            yield from _token_lines("-", 0, ours[start:end], Place.TEMPLATE)
            yield from _token_lines("+", 0, theirs[other_start:other_end], Place.TEMPLATE)


def _token_lines(
    sign: str, start: int, tokens: Sequence[Token | None], place: Place
) -> Iterator[str]:
    for position, token in enumerate(tokens, start):
        number = position if token is None or place is not Place.TEMPLATE else token.id
        yield f"{sign} [{number}] {format_token(token, place)}"
