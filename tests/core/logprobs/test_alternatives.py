"""Draws of the kinds that generate: first tokens as in LT, and greedy answers up to a fork."""

from dataclasses import replace

import pytest

from repro_gate.core.logprobs.alternatives import (
    common_fork,
    judge_generated,
    on_all_tokens,
    reference_of,
)
from repro_gate.core.logprobs.draw import (
    Answered,
    Draw,
    DrawFacts,
    DrawOutcome,
    Encoding,
    InvalidDraw,
    MissedDraw,
    Piece,
)
from repro_gate.core.logprobs.policy import Policy, PolicyKind
from repro_gate.core.logprobs.verdicts import Fork
from tests.fakes.scoring import policy_of

FACTS = DrawFacts(model="m")
A, B, C, D = (Piece(number, text.encode()) for number, text in enumerate("abcd"))
FIRST, GENERATED = PolicyKind.FIRST_TOKEN, PolicyKind.GENERATED


def policy_like(kind: PolicyKind, *, top: int = 20, temperature: float = 0.0) -> Policy:
    """Return a policy of a kind."""
    return policy_of(kind=kind, max_tokens=1, top_logprobs=top, temperature=temperature)


def listing(*listed: tuple[Piece, float | None], drawn: Piece | None = None) -> Answered:
    """Return an answer of one token with its alternatives."""
    return Answered(
        pieces=(drawn or listed[0][0],), logprobs=(-0.5,), facts=FACTS, alternatives=(listed,)
    )


def generating(
    *tokens: tuple[Piece, float], listed: tuple[tuple[Piece, float | None], ...] = ()
) -> Answered:
    """Return a greedy answer; the alternatives of each token are itself and those listed."""
    return Answered(
        pieces=tuple(piece for piece, _ in tokens),
        logprobs=tuple(value for _, value in tokens),
        facts=FACTS,
        alternatives=tuple((token, *listed) for token in tokens),
    )


def first_of(answered: Answered, encoding: Encoding, model: str | None = None) -> DrawOutcome:
    """Return the draw of a first token."""
    return judge_generated(answered, encoding, kind=FIRST, model=model)


def answer_of(answered: Answered, encoding: Encoding) -> DrawOutcome:
    """Return the draw of a greedy answer."""
    return judge_generated(answered, encoding, kind=GENERATED, model="m")


REFERENCE = Encoding(prompt=(), response=(A, B), logprobs=(-0.5, -1.5))
ANSWER = Encoding(prompt=(), response=(A, B, C), logprobs=(-0.25, -0.5, -1.0))


def test_the_likely_first_tokens_are_the_reference() -> None:
    """Best first, and no more than were asked for."""
    answered = listing((B, -1.5), (A, -0.5), (C, -2.5))

    assert reference_of(answered, policy_like(FIRST, top=2), prompt=(D,)) == replace(
        REFERENCE, prompt=(D,)
    )


def test_a_token_that_was_only_drawn_is_no_reference() -> None:
    """Some servers add it to the list, in some answers."""
    answered = listing((A, -0.5), (B, -1.5), (D, -9.0), drawn=D)

    assert reference_of(answered, policy_like(FIRST, temperature=1.0)) == REFERENCE


def test_a_missing_token_has_the_least_value() -> None:
    """It is left-censored, and the token in its place is kept beside."""
    assert first_of(listing((A, -0.75), (C, -1.25)), REFERENCE) == Draw(
        logprobs=(-0.75, -1.25), facts=FACTS, others=((C, -1.25),)
    )


def test_a_longer_list_is_cut() -> None:
    """Its last tokens would lower the least value."""
    drawn = first_of(listing((C, -8.0), (B, -1.0), (A, -0.75)), REFERENCE, model="m")

    assert drawn == Draw(logprobs=(-0.75, -1.0), facts=FACTS)


def test_a_shorter_list_is_invalid() -> None:
    """Its least value stands for fewer tokens."""
    assert first_of(listing((A, -0.75)), REFERENCE) == InvalidDraw(
        reason="1 alternatives of the first token, where 2 were recorded", facts=FACTS
    )


def test_tokens_without_ids_are_known_by_their_texts() -> None:
    """Of several with one text, the likeliest are compared with the likeliest."""
    half = Piece(None, b"\xef\xbf\xbd")
    encoding = Encoding(prompt=(), response=(half, half, B), logprobs=(-1.0, -2.0, -3.0))
    answered = listing((Piece(7, half.data), -1.5), (A, -0.5), (Piece(8, half.data), -2.5))

    assert first_of(answered, encoding) == Draw(
        logprobs=(-1.5, -2.5, -2.5), facts=FACTS, others=((A, -0.5),)
    )


@pytest.mark.parametrize("kind", [FIRST, GENERATED])
def test_a_server_without_alternatives_is_missed(kind: PolicyKind) -> None:
    """Nothing is known of tokens that were not drawn."""
    answered = replace(generating((A, -0.5)), alternatives=())
    missed = MissedDraw(
        reason="this server gives no alternatives of the tokens that it generates",
        remedy="ask a server that returns top_logprobs",
    )

    assert reference_of(answered, policy_like(kind)) == missed
    assert judge_generated(answered, ANSWER, kind=kind) == missed


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (((A, 0.0), (B, 0.0)), "all 2 tokens have 0"),
        (((A, 0.0), (B, -9999.0)), "-9999 stands for a number that it did not compute"),
    ],
)
def test_placeholders_are_missed(listed: tuple[tuple[Piece, float], ...], reason: str) -> None:
    """A server that only ranks tokens would agree with itself for ever."""
    assert first_of(listing(*listed), REFERENCE) == MissedDraw(
        reason=f"this server gives no log-probabilities: {reason}",
        remedy="ask a server and a model that return the log-probabilities of what they generate",
    )


@pytest.mark.parametrize("value", [None, float("nan"), 0.5])
def test_an_impossible_value_is_invalid(value: float | None) -> None:
    """In the list of a first token, and in an answer."""
    found = first_of(listing((A, -0.5), (B, value)), REFERENCE)
    own = answer_of(replace(generating((A, -0.5)), logprobs=(value,)), ANSWER)

    assert isinstance(found, InvalidDraw)
    assert found.position == 1
    assert isinstance(own, InvalidDraw)
    assert isinstance(reference_of(listing((A, value)), policy_like(FIRST)), InvalidDraw)


@pytest.mark.parametrize("kind", [FIRST, GENERATED])
def test_another_model_is_invalid(kind: PolicyKind) -> None:
    """As with a given response."""
    drawn = judge_generated(generating((A, -0.5)), ANSWER, kind=kind, model="other")

    assert drawn == InvalidDraw(reason="the model 'm' answered in place of 'other'", facts=FACTS)


def test_a_greedy_answer_is_the_reference() -> None:
    """With its own values."""
    answered = generating((A, -0.25), (B, -0.5), (C, -1.0))

    assert reference_of(answered, policy_like(GENERATED)) == ANSWER


def test_an_equal_answer_has_its_own_values() -> None:
    """It does not fork."""
    assert answer_of(generating((A, -0.5), (B, -0.25), (C, -2.0)), ANSWER) == Draw(
        logprobs=(-0.5, -0.25, -2.0), facts=FACTS
    )


def test_after_a_fork_there_is_no_information() -> None:
    """The value of the reference's token counts at the fork, and its own values after it."""
    answered = generating((A, -0.5), (D, -0.75), (D, -3.0), listed=((B, -0.875), (C, -5.0)))

    assert answer_of(answered, ANSWER) == Draw(
        logprobs=(-0.5, -0.875, -1.0), facts=FACTS, others=((D, -0.75),), fork=1
    )


def test_a_token_that_is_not_listed_at_the_fork_has_the_least_value() -> None:
    """Values that are placeholders or above that of the generated token do not count."""
    listed = ((C, -5.0), (Piece(9, b"x"), -9999.0), (Piece(8, b"y"), None), (B, -0.125))

    assert answer_of(generating((A, -0.5), (D, -0.75), listed=listed), ANSWER) == Draw(
        logprobs=(-0.5, -5.0, -1.0), facts=FACTS, others=((D, -0.75),), fork=1
    )


def test_an_answer_that_ends_early_forks_at_its_end() -> None:
    """There the least value of its last token's alternatives stands for the next token."""
    assert answer_of(generating((A, -0.5), listed=((C, -5.0),)), ANSWER) == Draw(
        logprobs=(-0.5, -5.0, -1.0), facts=FACTS, fork=1
    )


def test_an_early_end_is_seen_where_the_reference_repeats_a_token() -> None:
    """The value of the last token is that of its own place, not of the repetition after it."""
    repeated = Encoding(prompt=(), response=(A, A), logprobs=(-0.5, -0.5))

    drawn = answer_of(generating((A, -0.5), listed=((C, -5.0),)), repeated)

    assert drawn == Draw(logprobs=(-0.5, -5.0), facts=FACTS, fork=1)


def test_an_answer_that_continues_forks_at_the_end_of_the_reference() -> None:
    """All values of the reference's tokens are its own."""
    answered = generating((A, -0.5), (B, -0.25), (C, -2.0), (D, -0.125))

    assert answer_of(answered, ANSWER) == Draw(
        logprobs=(-0.5, -0.25, -2.0), facts=FACTS, others=((D, -0.125),), fork=3
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pieces": ()}, "the answer has no tokens"),
        ({"logprobs": (-1.0, -1.0)}, "2 log-probabilities for 1 tokens"),
        ({"alternatives": (((A, -1.0),),) * 2}, "2 lists of alternatives for 1 tokens"),
    ],
)
def test_an_uneven_answer_is_invalid(changes: dict[str, object], reason: str) -> None:
    """Each token has one value and one list."""
    answered = replace(generating((A, -0.5)), **changes)  # type: ignore[arg-type]

    assert answer_of(answered, ANSWER) == InvalidDraw(reason=reason, facts=FACTS)
    assert reference_of(answered, policy_like(GENERATED)) == InvalidDraw(reason=reason, facts=FACTS)


def test_a_given_response_is_judged_elsewhere() -> None:
    """Its tokens come from an echo."""
    with pytest.raises(ValueError, match="has its own tokens"):
        reference_of(generating((A, -0.5)), policy_of())
    with pytest.raises(ValueError, match="judged by judge_answer"):
        judge_generated(generating((A, -0.5)), ANSWER, kind=PolicyKind.RESPONSE)


def test_draws_are_compared_on_all_tokens_that_any_lists() -> None:
    """A token that a draw does not list has the least value of this draw, as in LT."""
    one = Draw(logprobs=(-0.5, -1.5))
    other = Draw(logprobs=(-0.5, -2.0), others=((C, -1.25),))

    assert on_all_tokens((A, B), [one], [other]) == (
        (A, B, C),
        ([(-0.5, -1.5, -1.5)], [(-0.5, -2.0, -1.25)]),
    )


def test_the_usual_fork_has_a_margin() -> None:
    """By the median over the answers that have it."""
    same, near, far = (
        Draw(logprobs=(-0.5, value, -1.0), others=((D, -0.25),), fork=1)
        for value in (-0.5, -0.75, -2.25)
    )
    ends = Draw(logprobs=(-0.5, -2.0, -1.0), fork=1)

    assert common_fork([same, near, ends, far, Draw(logprobs=(-0.5, -0.5, -1.0))]) == Fork(
        position=1, piece=D, margin=0.5, draws=3, of=5
    )
    assert common_fork([ends]) == Fork(position=1, piece=None, margin=0.0, draws=1, of=1)
    assert common_fork([Draw(logprobs=(-0.5,))]) is None


def test_a_text_may_be_listed_twice() -> None:
    """Without ids the second token of a text is another one."""
    half = Piece(None, b"?")
    one = Draw(logprobs=(-0.5,), others=((half, -1.0), (half, -2.0)))
    other = Draw(logprobs=(-0.5,), others=((half, -1.5),))

    tokens, rows = on_all_tokens((half,), [one], [other])

    assert tokens == (half, half, half)
    assert rows == ([(-0.5, -1.0, -2.0)], [(-0.5, -1.5, -1.5)])
