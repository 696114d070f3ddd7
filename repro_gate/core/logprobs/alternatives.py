"""Draws of the kinds that generate: values of the tokens of a recorded reference.

Kind `first_token` is LT of arXiv 2512.03816: a draw is a list of the likely first tokens, and a
token that a list lacks has at most its least value, which stands for it.

Kind `generated` compares a greedy answer with a recorded one. Up to their first fork both continue
the same text. At the fork the value of the reference's token counts; after it the texts differ, so
that the reference's own values stand for no difference.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TypeAlias, assert_never

from repro_gate.core.logprobs.draw import (
    PLACEHOLDER_NATS,
    Answered,
    Draw,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
    judge_values,
    wrong_model,
)
from repro_gate.core.logprobs.policy import Policy, PolicyKind
from repro_gate.core.logprobs.verdicts import Fork

Ranked: TypeAlias = tuple[tuple[Piece, float], ...]
"""Tokens with their values in nats, most likely first."""
_Key: TypeAlias = tuple[int | bytes | None, int]
_REMEDY = "ask a server and a model that return the log-probabilities of what they generate"
_NO_ALTERNATIVES = MissedDraw(
    reason="this server gives no alternatives of the tokens that it generates",
    remedy="ask a server that returns top_logprobs",
)


def reference_of(
    answered: Answered, policy: Policy, *, prompt: tuple[Piece, ...] = ()
) -> Encoding | InvalidDraw | MissedDraw:
    """Return the tokens whose values the draws of a cell have, from one answer.

    Args:
        answered: the unvalidated answer.
        policy: of a kind that generates.
        prompt: the tokens of the prompt, where the server reports them.
    """
    match policy.kind:
        case PolicyKind.FIRST_TOKEN:
            listed = _first_list(answered)
            if not isinstance(listed, tuple):
                return listed
            response, logprobs = zip(*_certain(listed, answered, policy), strict=True)
            return Encoding(prompt=prompt, response=response, logprobs=logprobs)
        case PolicyKind.GENERATED:
            own = _own_values(answered)
            if not isinstance(own, Draw):
                return own
            return Encoding(prompt=prompt, response=answered.pieces, logprobs=own.logprobs)
        case PolicyKind.RESPONSE:
            raise ValueError("a given response has its own tokens")
        case _:
            assert_never(policy.kind)


def judge_generated(
    answered: Answered, encoding: Encoding, *, kind: PolicyKind, model: str | None = None
) -> DrawOutcome:
    """Validate an answer of a kind that generates; see `judge_answer`."""
    other = wrong_model(answered.facts, model)
    if other is not None:
        return other
    match kind:
        case PolicyKind.FIRST_TOKEN:
            listed = _first_list(answered)
            if not isinstance(listed, tuple):
                return listed
            return _first_token(listed, encoding, answered.facts)
        case PolicyKind.GENERATED:
            own = _own_values(answered)
            if not isinstance(own, Draw):
                return own
            return _up_to_the_fork(own, answered, encoding)
        case PolicyKind.RESPONSE:
            raise ValueError("a given response is judged by judge_answer")
        case _:
            assert_never(kind)


def on_all_tokens(
    response: Sequence[Piece], *sides: Sequence[Draw]
) -> tuple[tuple[Piece, ...], tuple[list[tuple[float, ...]], ...]]:
    """Return every token that any draw of kind `first_token` lists, and the draws with its value.

    The reference's tokens come first. A token that a draw does not list has its least value.
    """
    others = [piece for side in sides for draw in side for piece, _ in draw.others]
    by_id = _have_ids((*response, *others))

    def keys_of(listed: Iterable[Piece]) -> list[_Key]:
        return _keys((*response, *listed), by_id=by_id)[len(response) :]

    added: dict[_Key, Piece] = {}
    for draw in (draw for side in sides for draw in side):
        listed = [piece for piece, _ in draw.others]
        added |= dict(zip(keys_of(listed), listed, strict=True))

    def extended(draw: Draw) -> tuple[float, ...]:
        keys = keys_of(piece for piece, _ in draw.others)
        own = {key: value for key, (_, value) in zip(keys, draw.others, strict=True)}
        least = min((*draw.logprobs, *own.values()))
        return (*draw.logprobs, *(own.get(key, least) for key in added))

    rows = tuple([extended(draw) for draw in side] for side in sides)
    return (*response, *added.values()), rows


def common_fork(draws: Sequence[Draw]) -> Fork | None:
    """Return where answers leave the recorded one most often, if any does."""
    forks = Counter(_fork_of(draw) for draw in draws if draw.fork is not None)
    if not forks:
        return None
    (place, piece), count = forks.most_common(1)[0]
    margins = [
        value - draw.logprobs[place]
        for draw in draws
        if draw.fork is not None and place < len(draw.logprobs) and _fork_of(draw) == (place, piece)
        for _, value in draw.others
    ]
    return Fork(
        position=place,
        piece=piece,
        margin=max(0.0, median(margins or [0.0])),
        draws=count,
        of=len(draws),
    )


def _fork_of(draw: Draw) -> tuple[int, Piece | None]:
    return draw.fork or 0, draw.others[0][0] if draw.others else None


def _first_list(answered: Answered) -> Ranked | InvalidDraw | MissedDraw:
    """Return the alternatives of the first token."""
    listed = answered.alternatives[0] if answered.alternatives else ()
    if not listed:
        return _NO_ALTERNATIVES
    pieces = tuple(piece for piece, _ in listed)
    found = judge_values([value for _, value in listed], pieces, answered.facts, remedy=_REMEDY)
    if not isinstance(found, Draw):
        return found
    return _ranked(zip(pieces, found.logprobs, strict=True))


def _certain(listed: Ranked, answered: Answered, policy: Policy) -> Ranked:
    """Return the alternatives that every answer lists.

    Some servers add the token that was drawn, so that the length of the list varies.
    """
    drawn = answered.pieces[:1]
    is_added = policy.temperature > 0 and drawn == (listed[-1][0],) and len(listed) > 1
    return listed[: len(listed) - 1 if is_added else policy.top_logprobs][: policy.top_logprobs]


def _first_token(listed: Ranked, encoding: Encoding, facts: DrawFacts) -> DrawOutcome:
    wanted = len(encoding.response)
    if len(listed) < wanted:
        few = f"{len(listed)} alternatives of the first token, where {wanted} were recorded"
        return InvalidDraw(reason=few, facts=facts)
    best = listed[:wanted]
    by_id = _have_ids((*encoding.response, *(piece for piece, _ in best)))
    found = dict(zip(_keys((piece for piece, _ in best), by_id=by_id), best, strict=True))
    reference = _keys(encoding.response, by_id=by_id)
    least = best[-1][1]
    return Draw(
        logprobs=tuple(found[key][1] if key in found else least for key in reference),
        facts=facts,
        others=tuple(entry for key, entry in found.items() if key not in set(reference)),
    )


def _own_values(answered: Answered) -> Draw | InvalidDraw | MissedDraw:
    """Return the values of the generated tokens."""
    facts, tokens = answered.facts, len(answered.pieces)
    if not tokens:
        return InvalidDraw(reason="the answer has no tokens", facts=facts)
    if len(answered.logprobs) != tokens:
        reason = f"{len(answered.logprobs)} log-probabilities for {tokens} tokens"
        return InvalidDraw(reason=reason, facts=facts)
    if not answered.alternatives:
        return _NO_ALTERNATIVES
    if len(answered.alternatives) != tokens:
        reason = f"{len(answered.alternatives)} lists of alternatives for {tokens} tokens"
        return InvalidDraw(reason=reason, facts=facts)
    return judge_values(answered.logprobs, answered.pieces, facts, remedy=_REMEDY)


def _up_to_the_fork(own: Draw, answered: Answered, encoding: Encoding) -> Draw:
    wanted, got = encoding.response, answered.pieces
    fork = _fork(wanted, got)
    if fork is None:
        return own
    # Up to here the values of the answer are those of the reference's tokens.
    values = own.logprobs[:fork]
    if fork < len(wanted):
        last = min(fork, len(got) - 1)
        # No list is of the place after an end.
        token = wanted[fork] if fork < len(got) else None
        values += (_value_of(token, answered.alternatives[last], most=own.logprobs[last]),)
    return Draw(
        logprobs=values + (encoding.logprobs or ())[len(values) :],
        facts=answered.facts,
        others=((got[fork], own.logprobs[fork]),) if fork < len(got) else (),
        fork=fork,
    )


def _fork(wanted: Sequence[Piece], got: Sequence[Piece]) -> int | None:
    """Return where two answers differ first; None when they are equal."""
    by_id = _have_ids((*wanted, *got))
    for place, (one, other) in enumerate(zip(wanted, got, strict=False)):
        if _name(one, by_id=by_id) != _name(other, by_id=by_id):
            return place
    return None if len(wanted) == len(got) else min(len(wanted), len(got))


def _value_of(
    token: Piece | None, listed: Sequence[tuple[Piece, float | None]], *, most: float
) -> float:
    """Return the value of a token in a list, or the least one, and never more than `most`.

    In its place another token was the most likely one.
    """
    known = [
        (piece, value)
        for piece, value in listed
        if value is not None and PLACEHOLDER_NATS < value <= most
    ]
    least = min((value for _, value in known), default=most)
    if token is None:
        return least
    by_id = _have_ids((token, *(piece for piece, _ in known)))
    name = _name(token, by_id=by_id)
    values = [value for piece, value in known if _name(piece, by_id=by_id) == name]
    return max(values, default=least)


def _ranked(listed: Iterable[tuple[Piece, float]]) -> Ranked:
    return tuple(sorted(listed, key=lambda pair: -pair[1]))


def _keys(pieces: Iterable[Piece], *, by_id: bool) -> list[_Key]:
    """Return what identifies each token: its id, or its text and how many of it came before.

    Without ids several tokens may have one text, such as halves of a character.
    """
    before: Counter[int | bytes | None] = Counter()
    keys: list[_Key] = []
    for piece in pieces:
        name = _name(piece, by_id=by_id)
        keys.append((name, before[name]))
        before[name] += 1
    return keys


def _name(piece: Piece, *, by_id: bool) -> int | bytes | None:
    return piece.id if by_id else piece.data


def _have_ids(pieces: Iterable[Piece]) -> bool:
    return all(piece.id is not None for piece in pieces)
