"""Where the response starts in the tokens of a text: at a byte, and between two tokens.

A token with a part of a character has no text of its own: servers return U+FFFD or nothing for it.
The known texts are still aligned with the text that was sent; where they leave the boundary open,
the ids of the prefix decide.
"""

import unicodedata
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import replace
from itertools import accumulate, repeat
from typing import Final

from repro_gate.adapters.hosted.echoes import OtherContent, Unreadable
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.logprobs.draw import Encoding, Piece

REPLACEMENT: Final = "\ufffd".encode()
"""In the text of a token, a part of a character."""
_MAX_PART_BYTES: Final = 4
"""The maximum length of a part of a character."""
MAX_ADDED: Final = 2
"""How many tokens a server may add before a text with tokens that have no text."""
_MAX_ADDED_BYTES: Final = 1 << 16
"""Of the tokens before our text, more bytes are not kept."""
_SPACE_MARKS: Final = str.maketrans("", "", "\N{LOWER ONE EIGHTH BLOCK}\u0120\u010a\ufffd")
"""How vocabularies write a space and a line break, and servers a part of a character."""
_ELSEWHERE: Final = "change the end of the template or the start of the response"


class Undecided(Unreadable):
    """Texts do not show where the response starts; the ids of the prefix would."""


def split(
    pieces: Sequence[Piece],
    *,
    prefix: bytes,
    response: bytes,
    prefix_ids: Sequence[int | None] | None = None,
) -> Encoding:
    """Return the tokens of a text, split before its response.

    Args:
        pieces: tokens that must spell the text, as far as their texts are known; any before it,
            such as a BOS token, belong to the prompt.
        prefix: the text before the response.
        response: the rest.
        prefix_ids: the ids of the prefix alone, if they have been requested.

    Raises:
        Undecided: `prefix_ids` are needed.
        OtherContent: the tokens spell another text.
        Unreadable: a token crosses the boundary, or the boundary is not clear.
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
        raise Undecided("texts do not show where the response starts")
    raise Unreadable(
        "the response starts at a character that is split into several tokens, and without ids "
        f"the boundary is not clear: {_ELSEWHERE}"
    )


def _first_after(
    pieces: Sequence[Piece], prefix_ids: Sequence[int | None], found: Sequence[int]
) -> int:
    """Return where the response starts after the tokens of the prefix."""
    first = len(prefix_ids)
    if [piece.id for piece in pieces[:first]] != list(prefix_ids) or first not in found:
        raise Unreadable(f"by its ids, a token crosses the start of the response: {_ELSEWHERE}")
    return first


def _divided(pieces: Sequence[Piece], first: int) -> Encoding:
    if first == 0:
        raise Unreadable(
            "the first token of the response has no log-probability, as nothing comes before it: "
            "let the template start with some text"
        )
    return Encoding(prompt=tuple(pieces[:first]), response=tuple(pieces[first:]))


def _split_by_texts(pieces: Sequence[Piece], *, prefix: bytes, response: bytes) -> Encoding:
    ends = list(accumulate((len(piece.data) for piece in pieces), initial=0))
    before = _spelled_from(pieces, ends, prefix + response)
    boundary = before + len(prefix)
    if boundary not in ends:
        across = next(piece for piece, end in zip(pieces, ends[1:], strict=True) if end > boundary)
        raise Unreadable(f"the response starts within the token {across}: {_ELSEWHERE}")
    first = ends.index(boundary)
    if first == 0 and not pieces[0].data:
        first = 1
    if first and not pieces[first].data:
        raise Unreadable(
            f"the response starts at the token {pieces[first]}, which has no text: {_ELSEWHERE}"
        )
    return _divided(pieces, first)


def doubled_first_token(prompt: Sequence[Piece], *, prefix: str) -> Piece | None:
    """Return the token that a server adds before a prompt that starts with it already."""
    first, second = prompt[:1], prompt[1:2]
    if not second or first != second:
        return None
    # The first two tokens of our own text may be equal.
    added = sum(len(piece.data) for piece in prompt) - len(prefix.encode(errors="surrogatepass"))
    is_added = added >= len(first[0].data) > 0 or (not first[0].data and first[0].id is not None)
    return first[0] if is_added else None


def without_key_before(prompt: tuple[Piece, ...], key: Secret, *, prefix: str) -> tuple[Piece, ...]:
    """Return the tokens of a prompt without the key, unless it is in our own text."""
    own = prefix.encode(errors="surrogatepass")
    added = sum(len(piece.data) for piece in prompt) - len(own)
    ends = accumulate(len(piece.data) for piece in prompt)
    # Lengths do not show which tokens were added where tokens have no text of their own.
    odd = (
        number
        for number, piece in enumerate(prompt[:MAX_ADDED], start=1)
        if piece.data.replace(REPLACEMENT, b"") not in own
    )
    count = max(sum(end <= added for end in ends), *odd, 0)
    # As a whole, because many short tokens may spell the key.
    added_text = b"".join(piece.data for piece in prompt[:count])
    safe = key.scrub_bytes(added_text[:_MAX_ADDED_BYTES])
    if safe == added_text:
        return prompt
    shown = [safe, *repeat(b"", count - 1)]
    hidden = (replace(piece, data=data) for piece, data in zip(prompt, shown, strict=False))
    return (*hidden, *prompt[count:])


def without_ids(encoding: Encoding) -> Encoding:
    """Return an encoding in texts only."""
    return Encoding(
        prompt=tuple(Piece(None, piece.data) for piece in encoding.prompt),
        response=tuple(Piece(None, piece.data) for piece in encoding.response),
    )


def _spelled_from(pieces: Sequence[Piece], ends: Sequence[int], text: bytes) -> int:
    """Return the byte at which the text starts, which is between two tokens."""
    spelled = b"".join(piece.data for piece in pieces)
    before = len(spelled) - len(text)
    if before in ends and spelled[before:] == text:
        return before
    # A BOS token is not in the text, and must not be reported as the difference.
    start = ends[1] if pieces and not text.startswith(pieces[0].data) else 0
    shared = _shared(spelled[start:], text)
    odd = next(
        (piece for piece, end in zip(pieces, ends[1:], strict=True) if end > start + shared), None
    )
    found = "nothing" if odd is None else f"the token {odd}"
    error = Unreadable if _is_form(pieces, text=text) else OtherContent
    raise error(f"the tokens do not spell the text that was sent: at its byte {shared} is {found}")


def _is_form(pieces: Sequence[Piece], *, text: bytes) -> bool:
    """Return whether tokens were only omitted, added, or spelled differently."""
    sent = _folded(text)
    echoed = [_folded(piece.data) for piece in pieces]
    candidates = (echoed, echoed[1:])
    return any(_is_subsequence_of(some, sent) or _contains(some, sent) for some in candidates)


def _folded(text: bytes) -> str:
    shown = text.decode("utf-8", errors="replace").translate(_SPACE_MARKS)
    return "".join(unicodedata.normalize("NFKC", shown).casefold().split())


def _is_subsequence_of(echoed: Iterable[str], sent: str) -> bool:
    """Return whether the tokens are in a text, in their order."""
    reached = 0
    for one in echoed:
        place = sent.find(one, reached)
        if place < 0:
            return False
        reached = place + len(one)
    return True


def _contains(echoed: Iterable[str], sent: str) -> bool:
    """Return whether some of the tokens spell a text, in their order."""
    reached = 0
    for one in echoed:
        reached += len(one) if sent.startswith(one, reached) else 0
    return reached == len(sent)


def _shared(one: bytes, other: bytes) -> int:
    """Return the length of the common start of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _is_cut(piece: Piece) -> bool:
    """Return whether the text of a token is missing or incomplete."""
    return not piece.data or REPLACEMENT in piece.data


def _boundaries(pieces: Sequence[Piece], *, prefix: bytes, response: bytes) -> Sequence[int]:
    """Return the tokens at which the response may start, by their known texts."""
    text = prefix + response
    # Each token has at least one byte of the text, except those that were added.
    if sum(1 for piece in pieces if piece.data or piece.id is not None) > len(text) + MAX_ADDED:
        return []
    bit = 1 << len(prefix)
    ahead = [
        place
        for place, reached in enumerate(_reached(pieces, text, added=MAX_ADDED))
        if reached & bit
    ]
    # The same backwards, from the end.
    backwards = [Piece(piece.id, piece.data[::-1]) for piece in reversed(pieces)]
    mirrored = 1 << len(response)
    behind = {
        len(pieces) - place
        for place, reached in enumerate(_reached(backwards, text[::-1], added=0))
        if reached & mirrored
    }
    return [place for place in ahead if place in behind and place < len(pieces)]


def _reached(pieces: Sequence[Piece], text: bytes, *, added: int) -> Iterable[int]:
    """Yield for each number of tokens the bytes at which they may end, as bits."""
    high = _bits(place for place, byte in enumerate(text) if byte >= 0x80)  # noqa: PLR2004 -- not ASCII
    places: dict[bytes, int] = {}
    whole = (2 << len(text)) - 1
    reached = 1
    yield reached
    for number, piece in enumerate(pieces, start=1):
        reached = _after(reached, piece, text, high, places) & whole
        # All tokens so far may have been added before the text.
        reached |= 1 if number <= added else 0
        yield reached


def _after(
    reached: int, piece: Piece, text: bytes, high: int, places: MutableMapping[bytes, int]
) -> int:
    """Return where a token may end that starts at one of several bytes.

    Args:
        reached: the bytes at which it may start, as bits.
        piece: the token.
        text: the text that the tokens spell.
        high: the bytes of the text that are not ASCII.
        places: where literals are in the text, so that each is searched once.
    """
    if not piece.data:
        # Without a text, anywhere from the first of them on.
        return -(reached & -reached)
    mark = REPLACEMENT if REPLACEMENT in piece.data else REPLACEMENT[::-1]
    for number, literal in enumerate(piece.data.split(mark)):
        if number:
            reached = _over_cut(reached, high)
        reached = _over_literal(reached, literal, text, places)
    return reached


def _over_cut(reached: int, high: int) -> int:
    found = 0
    for _ in range(_MAX_PART_BYTES):
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
    """Return a number with these bits set, in ascending order; linear in the highest."""
    marks = bytearray()
    for place in places:
        marks += bytes(place // 8 + 1 - len(marks))
        marks[-1] |= 1 << place % 8
    return int.from_bytes(marks, "little")
