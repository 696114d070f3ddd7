"""An echo that is off by one is found, and ordinary noise is not mistaken for one."""

from dataclasses import replace

import numpy as np
import pytest

from repro_gate.core.logprobs.alignment import (
    Alignment,
    AlignmentFigures,
    ScoredTwice,
    judge_alignment,
)

# SmolLM2-135M behind llama-cpp-python, which pairs tokens with the numbers that follow them.
SMOL = ScoredTwice(
    generated=(-1.2, -2.7, -4.2, -1.4, -2.8, -0.5, -1.4, -0.4, -0.3, -1.3, -4.0, -0.8, -2.2),
    echoed=(-1.2, -17.2, -14.6, -17.6, -11.9, -9.7, -9.2, -11.2, -13.4, -13.7, -17.7, -11, -11),
)
# Gemma 3 270M behind the same server, with a BOS token.
GEMMA = ScoredTwice(
    generated=(-1.9, -0.4, -3.7, -1.8, -1.2, -1.0, -1.5, -2.0, -1.0, -2.2, -4.6, -3.6, 0, -4.9),
    echoed=(-1.9, -0.4, -3.8, -1.7, -1.4, -0.9, -1.5, -2.0, -1.0, -2.2, -4.6, -3.6, 0, -5.0),
)


def _made(seed: int, *, noise: float = 0.0, shift: int = 0, tokens: int = 24) -> ScoredTwice:
    dice = np.random.default_rng(seed)
    own = -dice.exponential(1.5, tokens)
    return ScoredTwice(
        generated=tuple(own.tolist()),
        echoed=tuple((np.roll(own, shift) + dice.normal(0, noise, tokens)).tolist()),
    )


def test_two_ways_have_as_many_numbers() -> None:
    """Each generated token is echoed once."""
    with pytest.raises(ValueError, match=r"^2 tokens, of which 1 are echoed$"):
        ScoredTwice(generated=(-1.0, -2.0), echoed=(-1.0,))


def test_values_of_real_servers_are_classified() -> None:
    """The shifted model is seen, and the sound one is not accused."""
    seen = judge_alignment([SMOL])

    assert replace(seen, distance=0) == AlignmentFigures(
        alignment=Alignment.SHIFTED, tokens=13, near=1, distance=0
    )
    assert seen.distance == pytest.approx(10.4, abs=0.5)
    assert judge_alignment([GEMMA]).alignment is Alignment.ALIGNED


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_shift_is_never_aligned(shift: int) -> None:
    """With the noise of a service or without: of 300 servers none passes."""
    for noise in (0.0, 0.1, 1.0):
        found = [judge_alignment([_made(seed, noise=noise, shift=shift)]) for seed in range(100)]
        assert Alignment.ALIGNED not in {one.alignment for one in found}
        if noise < 1:
            assert {one.alignment for one in found} == {Alignment.SHIFTED}


def test_noise_is_never_a_shift() -> None:
    """Noise of 1 nat for each token may hide the result, but never gives a false finding."""
    for noise in (0.0, 0.1, 0.5, 1.0):
        found = [judge_alignment([_made(seed, noise=noise)]) for seed in range(200)]
        assert Alignment.SHIFTED not in {one.alignment for one in found}
        if noise <= 0.1:
            assert {one.alignment for one in found} == {Alignment.ALIGNED}


@pytest.mark.parametrize(
    "compared",
    [
        [],
        [ScoredTwice(generated=(-1.0,), echoed=(-1.0,))],
        # A model that repeats itself is as sure of each token as of the next.
        [ScoredTwice(generated=(-0.01,) * 24, echoed=(-0.01,) * 24)],
        [_made(1, tokens=8)],
    ],
)
def test_too_little_shows_nothing(compared: list[ScoredTwice]) -> None:
    """Few tokens, or tokens that are all alike, show neither."""
    assert judge_alignment(compared).alignment is Alignment.NOT_SHOWN


def test_comparisons_add_up() -> None:
    """Two short ones show together what neither shows alone."""
    assert judge_alignment([_made(1, tokens=8), _made(2, tokens=9)]).alignment is Alignment.ALIGNED
