"""Where a response begins among the tokens of a text: at a byte, and between two tokens.

A token that holds only a part of a character has no text of its own: servers write U+FFFD or
nothing in its place. What is known is held against the text that was sent all the same, and where
that leaves the boundary open, the ids of the tokens before it decide.
"""

import unicodedata
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from itertools import accumulate
from typing import Final

from repro_gate.adapters.hosted.echoes import OtherContent, Unreadable
from repro_gate.core.draws import Encoding, Piece

REPLACEMENT: Final = "\ufffd".encode()
"""What stands in the text of a token for a part of a character."""
_MAX_CUT_BYTES: Final = 4
"""No part of a character is longer."""
MAX_ADDED: Final = 2
"""Tokens that a server may put before a text that has tokens without a text of their own."""
_SPACE_MARKS: Final = str.maketrans("", "", "\N{LOWER ONE EIGHTH BLOCK}\u0120\u010a\ufffd")
"""How vocabularies spell a space and a line break, and servers a part of a character."""
_ELSEWHERE: Final = "end the template, or begin the response, differently"


class Undecided(Unreadable):
    """Texts do not show where the response begins; the ids of the text before it would."""


def split(
    pieces: Sequence[Piece],
    *,
    prefix: bytes,
    response: bytes,
    prefix_ids: Sequence[int | None] | None = None,
) -> Encoding:
    """Return the tokens of a text, divided where its response begins.

    Args:
        pieces: tokens that have to spell the text, as far as their texts are known; what stands
            before it, such as a token that begins every text, goes with the prompt.
        prefix: the text before the response.
        response: the rest.
        prefix_ids: the ids of the tokens of the prefix alone; None when nobody has asked.

    Raises:
        Undecided: the ids of the prefix would show what the texts do not.
        OtherContent: the tokens spell something else.
        Unreadable: one of them reaches over the boundary, or they do not show it.
    """
    try:
        return _split_by_texts(pieces, prefix=prefix, response=response)
    except Unreadable:
        if not any(map(_is_cut, pieces)):
            raise
        found = _boundaries(pieces, prefix=prefix, response=response)
        if not found:
            raise
    if prefix_ids is not None:
        return _divided(pieces, _first_after(pieces, prefix_ids, found))
    if len(found) == 1:
        return _divided(pieces, found[0])
    if all(piece.id is not None for piece in pieces):
        raise Undecided("texts do not show where the response begins")
    raise Unreadable(
        "the response begins at a character that is cut into several tokens, and no ids show "
        f"which of them are its own: {_ELSEWHERE}"
    )


def _first_after(
    pieces: Sequence[Piece], prefix_ids: Sequence[int | None], found: Sequence[int]
) -> int:
    """Return where the response begins after the tokens of the prefix alone."""
    first = len(prefix_ids)
    if [piece.id for piece in pieces[:first]] != list(prefix_ids) or first not in found:
        raise Unreadable(
            f"a token reaches over the beginning of the response, by its id: {_ELSEWHERE}"
        )
    return first


def _divided(pieces: Sequence[Piece], first: int) -> Encoding:
    if first == 0:
        raise Unreadable(
            "nothing stands before the response, so that its first token has no condition: "
            "let the template begin with something"
        )
    return Encoding(prompt=tuple(pieces[:first]), response=tuple(pieces[first:]))


def _split_by_texts(pieces: Sequence[Piece], *, prefix: bytes, response: bytes) -> Encoding:
    ends = list(accumulate((len(piece.data) for piece in pieces), initial=0))
    before = _spelled_from(pieces, ends, prefix + response)
    boundary = before + len(prefix)
    if boundary not in ends:
        across = next(piece for piece, end in zip(pieces, ends[1:], strict=True) if end > boundary)
        raise Unreadable(f"the response begins within the token {across}: {_ELSEWHERE}")
    first = ends.index(boundary)
    if first == 0 and not pieces[0].data:
        first = 1
    if first and not pieces[first].data:
        raise Unreadable(
            f"the response begins at the token {pieces[first]}, which spells nothing: {_ELSEWHERE}"
        )
    return _divided(pieces, first)


def doubled_beginning(prompt: Sequence[Piece], *, prefix: str) -> Piece | None:
    """Return the token that a server adds before a prompt that begins with the same one."""
    first, second = prompt[:1], prompt[1:2]
    if not second or first != second:
        return None
    # Two tokens of our own text may be the same, too.
    added = sum(len(piece.data) for piece in prompt) - len(prefix.encode(errors="surrogatepass"))
    is_added = added >= len(first[0].data) > 0 or (not first[0].data and first[0].id is not None)
    return first[0] if is_added else None


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
    error = Unreadable if _is_form(pieces, text=text) else OtherContent
    raise error(
        f"the tokens do not spell the text that was sent: at its byte {shared} stands {found}"
    )


def _is_form(pieces: Sequence[Piece], *, text: bytes) -> bool:
    """Tell whether tokens were only left out, added, or spelled in another way."""
    sent = _folded(text)
    echoed = [_folded(piece.data) for piece in pieces]
    return any(_is_left_out(some, sent) or _is_added(some, sent) for some in (echoed, echoed[1:]))


def _folded(text: bytes) -> str:
    shown = text.decode("utf-8", errors="replace").translate(_SPACE_MARKS)
    return "".join(unicodedata.normalize("NFKC", shown).casefold().split())


def _is_left_out(echoed: Iterable[str], sent: str) -> bool:
    """Tell whether every token is of a text, in its order."""
    reached = 0
    for one in echoed:
        place = sent.find(one, reached)
        if place < 0:
            return False
        reached = place + len(one)
    return True


def _is_added(echoed: Iterable[str], sent: str) -> bool:
    """Tell whether a text is spelled by some of the tokens, in their order."""
    reached = 0
    for one in echoed:
        reached += len(one) if sent.startswith(one, reached) else 0
    return reached == len(sent)


def _shared(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts have in common from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _is_cut(piece: Piece) -> bool:
    """Tell whether a token has no text of its own, or not all of it."""
    return not piece.data or REPLACEMENT in piece.data


def _boundaries(pieces: Sequence[Piece], *, prefix: bytes, response: bytes) -> Sequence[int]:
    """Return before which tokens the response may begin, by what is known of their texts."""
    text = prefix + response
    # Each token is at least one byte of the text, but for those that were added.
    if sum(1 for piece in pieces if piece.data or piece.id is not None) > len(text) + MAX_ADDED:
        return []
    bit = 1 << len(prefix)
    ahead = [
        place
        for place, reached in enumerate(_reached(pieces, text, added=MAX_ADDED))
        if reached & bit
    ]
    # The same from the end: the text and each token are read backwards.
    backwards = [Piece(piece.id, piece.data[::-1]) for piece in reversed(pieces)]
    mirrored = 1 << len(response)
    behind = {
        len(pieces) - place
        for place, reached in enumerate(_reached(backwards, text[::-1], added=0))
        if reached & mirrored
    }
    return [place for place in ahead if place in behind and place < len(pieces)]


def _reached(pieces: Sequence[Piece], text: bytes, *, added: int) -> Iterable[int]:
    """Yield after each number of tokens at which bytes of the text they may end, as bits."""
    high = _bits(place for place, byte in enumerate(text) if byte >= 0x80)  # noqa: PLR2004 -- not ASCII
    places: dict[bytes, int] = {}
    whole = (2 << len(text)) - 1
    reached = 1
    yield reached
    for number, piece in enumerate(pieces, start=1):
        reached = _after(reached, piece, text, high, places) & whole
        # Up to here everything may stand before the text.
        reached |= 1 if number <= added else 0
        yield reached


def _after(
    reached: int, piece: Piece, text: bytes, high: int, places: MutableMapping[bytes, int]
) -> int:
    """Return where a token may end that begins at one of several bytes.

    Args:
        reached: the bytes at which it may begin, as bits.
        piece: the token.
        text: what the tokens spell.
        high: the bytes of the text that are not ASCII.
        places: where literals stand in the text, so that each is searched once.
    """
    if not piece.data:
        # Nothing is known: from the first of them on, anywhere.
        return -(reached & -reached)
    mark = REPLACEMENT if REPLACEMENT in piece.data else REPLACEMENT[::-1]
    for number, literal in enumerate(piece.data.split(mark)):
        if number:
            reached = _over_cut(reached, high)
        reached = _over_literal(reached, literal, text, places)
    return reached


def _over_cut(reached: int, high: int) -> int:
    found = 0
    for _ in range(_MAX_CUT_BYTES):
        reached = (reached & high) << 1
        found |= reached
    return found


def _over_literal(
    reached: int, literal: bytes, text: bytes, places: MutableMapping[bytes, int]
) -> int:
    if not literal or not reached:
        return reached
    if reached.bit_count() == 1:
        return reached << len(literal) if text.startswith(literal, reached.bit_length() - 1) else 0
    if literal not in places:
        places[literal] = _bits(_places_of(literal, text))
    return (reached & places[literal]) << len(literal)


def _places_of(literal: bytes, text: bytes) -> Iterator[int]:
    place = text.find(literal)
    while place >= 0:
        yield place
        place = text.find(literal, place + 1)


def _bits(places: Iterable[int]) -> int:
    """Return a number with these bits set, given from the lowest on; linear in the highest."""
    marks = bytearray()
    for place in places:
        marks += bytes(place // 8 + 1 - len(marks))
        marks[-1] |= 1 << place % 8
    return int.from_bytes(marks, "little")
