"""The random numbers are SplitMix64's, and the floats made of them are exact."""

from fractions import Fraction

import numpy as np
import pytest

from repro_gate.tiny_models.weights import bell, stream_seed, words


def _reference_words(seed: int, count: int) -> list[int]:
    mask = (1 << 64) - 1
    outputs = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        outputs.append(mixed ^ (mixed >> 31))
    return outputs


def test_words_are_the_published_outputs() -> None:
    """The first outputs of the seed 1234567 are the ones that Rosetta Code lists for it."""
    assert words(1234567, start=0, count=5).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_words_wrap_around_64_bits() -> None:
    """A seed near 2**64 wraps as the C code does."""
    seed = (1 << 64) - 1
    assert words(seed, start=0, count=1000).tolist() == _reference_words(seed, 1000)


def test_any_part_of_a_stream_can_be_made_alone() -> None:
    """The words from the middle of a stream do not need the ones before them."""
    whole = words(7, start=0, count=100)
    assert words(7, start=60, count=40).tolist() == whole[60:].tolist()


@pytest.mark.parametrize(("exponent", "centre"), [(0, 0), (-5, 0), (2, 0), (-3, 1), (-6, -1)])
def test_a_bell_number_is_its_lanes_sum_exactly(exponent: int, centre: int) -> None:
    """Each float32 equals the rational number that its word's four lanes define."""
    expected = [
        Fraction(sum((word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) - 131070, 1 << 16)
        * Fraction(2) ** exponent
        + centre
        for word in _reference_words(42, 1000)
    ]
    numbers = bell(42, start=0, count=1000, exponent=exponent, centre=centre)
    assert numbers.dtype == np.float32
    assert [Fraction(float(number)) for number in numbers] == expected


def test_bell_numbers_have_the_promised_spread() -> None:
    """A hundred thousand of them have a mean near 0 and a variance near a third."""
    numbers = bell(3, start=0, count=100_000, exponent=0).astype(np.float64)
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.var() - 1 / 3) < 0.01
    assert np.abs(numbers).max() < 2


def test_a_centre_that_would_round_is_refused() -> None:
    """A centre beside numbers too small for float32 to add to it is an error."""
    with pytest.raises(ValueError, match="centre 1 with exponent -8 would round"):
        bell(1, start=0, count=1, exponent=-8, centre=1)


def test_streams_depend_on_seed_and_name() -> None:
    """Another seed or another name starts another stream; the same ones start the same."""
    seeds = {stream_seed(seed, name) for seed in (1, 2) for name in ("a", "b")}
    assert len(seeds) == 4
    assert stream_seed(1, "a") == 0x7B9D900177981DBF
