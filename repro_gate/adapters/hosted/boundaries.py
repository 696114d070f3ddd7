"""Where a response begins among the tokens of a text: at a byte, and between two tokens."""

from collections.abc import Sequence
from itertools import accumulate

from repro_gate.adapters.hosted.echoes import Unreadable
from repro_gate.core.draws import Encoding, Piece


def split(pieces: Sequence[Piece], *, prefix: bytes, response: bytes) -> Encoding:
    """Return the tokens of a text, divided where its response begins.

    Args:
        pieces: tokens that have to spell the text; what stands before it, such as a token that
            begins every text, goes with the prompt.
        prefix: the text before the response.
        response: the rest.

    Raises:
        Unreadable: the tokens spell something else, or one of them reaches over the boundary.
    """
    ends = list(accumulate((len(piece.data) for piece in pieces), initial=0))
    before = _spelled_from(pieces, ends, prefix + response)
    boundary = before + len(prefix)
    if boundary not in ends:
        across = next(piece for piece, end in zip(pieces, ends[1:], strict=True) if end > boundary)
        raise Unreadable(
            f"the response begins within the token {across}: "
            "end the template, or begin the response, differently"
        )
    first = ends.index(boundary)
    if first == 0 and not pieces[0].data:
        first = 1
    if first == 0:
        raise Unreadable(
            "nothing stands before the response, so that its first token has no condition: "
            "let the template begin with something"
        )
    if not pieces[first].data:
        raise Unreadable(
            f"the response begins at the token {pieces[first]}, which spells nothing: "
            "end the template, or begin the response, differently"
        )
    return Encoding(prompt=tuple(pieces[:first]), response=tuple(pieces[first:]))


def without_ids(encoding: Encoding) -> Encoding:
    """Return an encoding as it is when a provider does not speak of tokens by id."""
    return Encoding(
        prompt=tuple(Piece(None, piece.data) for piece in encoding.prompt),
        response=tuple(Piece(None, piece.data) for piece in encoding.response),
    )


def _spelled_from(pieces: Sequence[Piece], ends: Sequence[int], text: bytes) -> int:
    """Return at which byte of the tokens the text begins: always between two of them."""
    spelled = b"".join(piece.data for piece in pieces)
    before = len(spelled) - len(text)
    if before in ends and spelled[before:] == text:
        return before
    # What begins every text is not in it, and is no reason to point at the first token.
    start = ends[1] if pieces and not text.startswith(pieces[0].data) else 0
    shared = _shared(spelled[start:], text)
    odd = next(
        (piece for piece, end in zip(pieces, ends[1:], strict=True) if end > start + shared), None
    )
    found = "nothing" if odd is None else f"the token {odd}"
    raise Unreadable(
        f"the tokens do not spell the text that was sent: at its byte {shared} stands {found}"
    )


def _shared(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts have in common from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
