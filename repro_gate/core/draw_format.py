"""How the parts of a draw are written down: tokens as lines, and the facts of the call behind it.

Texts that a provider chose are written as `printable` spells them, so that no tool which shows
them can be made to move a cursor or reorder a line.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from repro_gate.core.baselines import DECIMALS
from repro_gate.core.draws import DrawFacts, Piece
from repro_gate.core.goldens import Facts
from repro_gate.core.guards import require_logprobs
from repro_gate.core.text import printable, spell, unprinted, unspell

_PIECE = re.compile(r"(\d+|-) (.*)")


def rounded(value: float) -> float:
    """Return a number with as many decimals as a file keeps."""
    # Adding 0.0 turns -0.0 into 0.0.
    return round(value, DECIMALS) + 0.0


def piece_line(piece: Piece) -> str:
    """Return a token as a line of its id, or of a dash, and its text."""
    return f"{'-' if piece.id is None else piece.id} {spell(piece.data)}"


def pieces_from(place: str, lines: Sequence[str]) -> tuple[Piece, ...]:
    """Return the tokens of the lines at a place; raises ValueError."""
    pieces: list[Piece] = []
    for number, line in enumerate(lines):
        parts = _PIECE.fullmatch(line)
        if parts is None:
            raise ValueError(
                f"'{place}[{number}]' is not an id or a dash, a space and a text: {line!r}"
            )
        pieces.append(Piece(None if parts[1] == "-" else int(parts[1]), unspell(parts[2])))
    return tuple(pieces)


def facts_to_data(facts: DrawFacts) -> dict[str, Any]:
    """Return the facts of a call as plain JSON data."""
    return {
        "at": printable(facts.at),
        "model": printable(facts.model),
        "request_id": printable(facts.request_id),
        "latency_s": rounded(facts.latency_s),
        "attempts": facts.attempts,
        "headers": None if facts.headers is None else texts_to_data(facts.headers),
    }


def facts_from_data(data: Mapping[str, Any]) -> DrawFacts:
    """Return the facts that data of the right schema says.

    Raises:
        ValueError: a value says something that cannot be.
    """
    return DrawFacts(
        at=unprinted(data["at"]),
        model=unprinted(data["model"]),
        request_id=unprinted(data["request_id"]),
        latency_s=float(data["latency_s"]),
        attempts=data["attempts"],
        headers=None if data["headers"] is None else texts_from_data(data["headers"]),
    )


def texts_to_data(texts: Facts) -> dict[str, str]:
    """Return foreign facts with names and values as printable lines."""
    return {printable(name): printable(value) for name, value in texts.items()}


def texts_from_data(data: Mapping[str, str]) -> Facts:
    """Return the facts that `texts_to_data` was given; raises ValueError."""
    return {unprinted(name): unprinted(value) for name, value in data.items()}


def logprobs_from(place: str, values: Sequence[float]) -> tuple[float, ...]:
    """Return log-probabilities, or raise ValueError for one that cannot be."""
    require_logprobs(values, place)
    return tuple(map(float, values))
