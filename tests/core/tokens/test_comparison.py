"""How log-probabilities of recorded tokens differ from those of now."""

import math
from dataclasses import replace

import pytest

from repro_gate.core.tokens.comparison import (
    Position,
    Shifts,
    forced_tokens,
    largest_shift,
    positions_of,
    shifts_of,
)
from repro_gate.core.tokens.generation import Choice
from repro_gate.core.tokens.verification import VerifiedToken
from tests.fakes.values import generation_of, verification_of

GOLDEN = generation_of(7, 8, 9, is_traced=True)


def at(number: int, before: dict[int, float], now: dict[int, float]) -> Position:
    """Return a position at which these probabilities are known."""
    sides = [{token: math.log(p) for token, p in side.items()} for side in (before, now)]
    ranked = len(before), len(now)
    return Position(number=number, before=sides[0], now=sides[1], ranked=ranked)


def test_the_shift_is_the_largest_of_the_tokens_that_both_sides_know() -> None:
    """A token that one side does not know counts for nothing."""
    position = at(0, {1: 0.5, 2: 0.25, 3: 0.1}, {1: 0.25, 2: 0.2, 4: 0.3})
    assert position.shift == pytest.approx(math.log(2))
    assert at(0, {1: 0.5}, {2: 0.5}).shift == math.inf


def test_the_divergence_is_a_lower_bound() -> None:
    """The tokens that are not known are one token, so that it is never too large."""
    p, q = {1: 0.5, 2: 0.3, 3: 0.15, 4: 0.05}, {1: 0.4, 2: 0.3, 3: 0.05, 4: 0.25}
    whole = sum(p[each] * math.log(p[each] / q[each]) for each in p)
    found = at(0, {each: p[each] for each in (1, 2)}, {each: q[each] for each in (1, 2)})
    assert found.kl_divergence == pytest.approx(0.5 * math.log(1.25) + 0.2 * math.log(2 / 3))
    assert 0 < found.kl_divergence < whole


def test_a_divergence_is_never_negative_and_always_a_number() -> None:
    """Whatever rounding does, and for tokens whose probability is 0 as a float."""
    assert at(0, {1: 0.9}, {1: 0.9001}).kl_divergence == pytest.approx(0, abs=1e-6)
    impossible = {1: -2000.0}
    assert Position(number=0, before={1: -0.1}, now=impossible, ranked=(1, 1)).kl_divergence == 0
    assert at(0, {1: 1.0}, {1: 1.0}).kl_divergence == 0


def test_the_best_token_is_the_same_if_it_was_one_of_the_best() -> None:
    """Of a tie in the golden either may be the best one now."""
    assert at(0, {1: 0.4, 2: 0.4}, {1: 0.4, 2: 0.41}).has_same_best
    assert not at(0, {1: 0.4, 2: 0.3}, {1: 0.4, 2: 0.41}).has_same_best
    assert not at(0, {1: 0.4}, {3: 0.41}).has_same_best


def test_every_verified_token_is_a_position() -> None:
    """Also those after the divergence, and at it the token that was drawn is known too."""
    now = generation_of(7, 5, is_traced=True)
    found = positions_of(GOLDEN, now, verification_of(GOLDEN))
    assert [position.number for position in found] == [0, 1, 2]
    assert found[0].before == {7: -0.5, 8: -1.5}
    assert found[0].now == {8: -0.5, 7: -1.5}
    assert found[1].now == {9: -0.5, 8: -1.5, 5: -0.5, 6: -1.5}
    assert found[1].ranked == (2, 2)


def test_a_trace_is_compared_up_to_the_divergence() -> None:
    """After it the tokens follow others."""
    now = generation_of(7, 5, 9, is_traced=True)
    assert [each.number for each in positions_of(GOLDEN, now, ())] == [0, 1]
    assert positions_of(GOLDEN, generation_of(7, 5), ()) == ()
    assert positions_of(GOLDEN, None, ()) == ()


def test_a_run_that_differs_is_compared_up_to_its_token() -> None:
    """Of it no more is verified."""
    claimed = verification_of(generation_of(7, 6))
    assert [each.number for each in positions_of(GOLDEN, None, claimed)] == [0, 1]


def test_an_early_end_has_no_token() -> None:
    """The position at which one side has ended is not compared."""
    short = generation_of(7, 8, is_traced=True)
    assert [each.number for each in positions_of(short, GOLDEN, ())] == [0, 1]
    assert len(positions_of(GOLDEN, short, verification_of(GOLDEN))) == 3


def test_shifts_have_a_first_position_that_is_noticeable() -> None:
    """A shift below a thousandth of a nat is none."""
    positions = [at(0, {1: 0.5}, {1: 0.50001}), at(1, {1: 0.5}, {1: 0.25})]
    found = shifts_of(positions)
    assert found is not None
    assert (found.count, found.first, found.are_none) == (2, 1, False)
    assert found.mean == pytest.approx(math.log(2) / 2, abs=1e-4)
    assert shifts_of(()) is None
    assert Shifts(count=1, largest=0.00005, mean=0.00005, first=None).are_none


def test_forced_tokens_are_counted() -> None:
    """With the mean of their distances, and of the divergences where those are known."""
    verification = verification_of(GOLDEN)
    drawn = replace(verification[0], drawn=7)
    positions = [at(0, {1: 0.5}, {1: 0.5}), at(1, {1: 0.5}, {2: 0.5})]
    found = forced_tokens((drawn, *verification[1:]), positions, is_greedy=False)
    assert (found.count, found.explained, found.same_best) == (3, 1, 1)
    assert found.mean_distance == pytest.approx(2 / 150)
    assert found.mean_kl_divergence == 0
    assert forced_tokens(verification, (), is_greedy=False).mean_kl_divergence is None
    assert forced_tokens(verification, (), is_greedy=False).same_best is None


@pytest.mark.parametrize(
    ("logprob", "margin"),
    [(-0.75, 0.25), (-3.0, 0.5), (-0.4, 0.0)],
)
def test_a_greedy_token_has_its_margin(logprob: float, margin: float) -> None:
    """In nats, at most one half; of a sampled token without a random number nothing is known."""
    token = VerifiedToken(
        id=1,
        logprob=logprob,
        best=((2, -0.5),),
        drawn=2,
        uniform=None,
        share=None,
        drawn_share=None,
    )
    greedy, sampled = (forced_tokens((token,), (), is_greedy=each) for each in (True, False))
    assert (greedy.mean_distance, sampled.mean_distance) == (margin, None)


def test_a_choice_without_best_tokens_is_known_by_itself() -> None:
    """An engine may report no others."""
    golden = replace(GOLDEN, trace=(Choice(logprob=-1.0, best=()),) * 3)
    (first, *_) = positions_of(golden, None, verification_of(GOLDEN))
    assert first.before == {7: -1.0}


def test_the_largest_shift_is_up_to_a_divergence() -> None:
    """It is unknown without traces, after another prompt, and where no token is known of both."""
    choice = Choice(logprob=-0.5, best=((7, -0.5), (8, -2.0)))
    moved = Choice(logprob=-1.25, best=((7, -0.75), (8, -1.25)))
    before = replace(GOLDEN, trace=(choice, choice, choice))
    now = replace(GOLDEN, trace=(choice, moved, choice))
    one, two = (
        replace(generation_of(id), trace=(Choice(logprob=-1.0, best=((id, -1.0),)),))
        for id in (1, 2)
    )

    assert largest_shift(before, now) == pytest.approx(0.75)
    assert largest_shift(before, before) == 0
    assert largest_shift(before, replace(now, trace=())) is None
    assert largest_shift(before, replace(now, prompt=now.tokens)) is None
    assert largest_shift(one, two) is None
