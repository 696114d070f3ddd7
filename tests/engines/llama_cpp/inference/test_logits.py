"""A trace is computed in double precision, and ties have one order."""

import hashlib
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro_gate.engines.llama_cpp.inference.logits import (
    COLUMNS,
    Logits,
    Softmax,
    are_finite,
    digest,
    highest,
)

_LARGE = 2 * COLUMNS + 5


def logprobs(logits: Logits, *, temperature: float = 1.0) -> list[float]:
    """Return the log-probability of every token."""
    softmax = Softmax(logits.size)
    return [softmax.logprob(logits, token, temperature=temperature) for token in range(logits.size)]


def test_a_digest_is_of_the_bytes_of_float32() -> None:
    """The first 8 of BLAKE2b-512, little endian; one bit changes it."""
    logits = np.array([1.5, -0.25, 3.0], dtype=np.float32)
    expected = hashlib.blake2b(struct.pack("<3f", 1.5, -0.25, 3.0)).hexdigest()[:16]
    moved = np.nextafter(logits, np.float32(9))

    assert digest(logits) == expected
    assert digest(np.array([1.5, moved[1], 3.0], dtype=np.float32)) != expected


def trace_entry(logits: Logits, chosen: int) -> dict[str, Any]:
    """Return the trace entry of one position."""
    return Softmax(logits.size).trace_entry(logits, chosen)


def test_log_probabilities_of_large_logits_do_not_overflow() -> None:
    """Only differences between logits count."""
    logits = np.array([10_000.0, 10_000.0, 9_999.0], dtype=np.float32)
    total = math.log(2 + math.exp(-1))
    assert logprobs(logits) == pytest.approx([-total, -total, -1 - total], abs=1e-12)


def test_a_temperature_divides_the_logits() -> None:
    """Half the temperature doubles every difference, and the result is a distribution."""
    logits = np.array([2.0, 1.0, 0.0], dtype=np.float32)
    doubled = np.array([4.0, 2.0, 0.0], dtype=np.float32)
    assert logprobs(logits, temperature=0.5) == pytest.approx(logprobs(doubled), abs=1e-12)


def test_the_coldest_temperature_does_not_overflow() -> None:
    """Finite logits of any size give finite log-probabilities, none above 0."""
    logits = np.array([3e38, -3e38], dtype=np.float32)
    values = logprobs(logits, temperature=0.001)
    assert all(map(math.isfinite, values))
    assert max(values) == 0


def test_among_equals_the_lower_id_comes_first() -> None:
    """The order of the best does not depend on how they were found."""
    logits = np.array([0, 3, 1, 3, 1, 1, 3, 1, 0], dtype=np.float32)
    assert [token for token, _ in trace_entry(logits, 0)["best"]] == [1, 3, 6, 2, 4]


def test_a_small_vocabulary_has_fewer_best() -> None:
    """Three tokens give three alternatives, and the chosen one's own value."""
    entry = trace_entry(np.array([0, 2, 1], dtype=np.float32), 0)
    assert [token for token, _ in entry["best"]] == [1, 2, 0]
    assert entry["logprob"] == entry["best"][2][1]


@settings(max_examples=200, deadline=None)
@given(
    size=st.sampled_from([1, 4, 5, 300, _LARGE]),
    values=st.lists(
        st.floats(-(2.0**127), 2.0**127, width=32) | st.floats(-9, 9, width=32), min_size=1
    ),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_an_entry_is_that_of_a_sort_and_a_sum_of_all_tokens(
    size: int, values: list[float], noise: float, seed: int
) -> None:
    """To the bit, with any number of equal logits: `values` are fewer than tokens."""
    numbers = np.random.default_rng(seed)
    logits = (numbers.choice(values, size) + noise * numbers.normal(size=size)).astype(np.float32)
    chosen = int(numbers.integers(size))
    shifted = logits.astype(np.float64) - float(logits.max())
    expected = shifted - np.log(np.exp(shifted).sum())
    likeliest = sorted(range(size), key=lambda token: (-float(logits[token]), token))[:5]
    assert trace_entry(logits, chosen) == {
        "logprob": float(expected[chosen]),
        "best": [[token, float(expected[token])] for token in likeliest],
    }


@pytest.mark.parametrize("count", [1, 7, COLUMNS, COLUMNS + 1, _LARGE, _LARGE + 1])
def test_no_token_is_left_out_that_equals_one_of_the_highest(count: int) -> None:
    """Any number can be asked for; the lowest value comes with all tokens that have it."""
    logits = np.random.default_rng(3).integers(0, 100, _LARGE).astype(np.float32)
    ids = highest(logits, count)
    assert ids.size >= min(count, _LARGE)
    assert ids.tolist() == np.flatnonzero(logits >= logits[ids].min()).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_logit_is_found(bad: float) -> None:
    """A NaN or an infinity anywhere is not finite."""
    logits = np.zeros(151_936, dtype=np.float32)
    logits[77_777] = bad
    assert not are_finite(logits)


def test_large_logits_are_finite_although_their_sum_is_not() -> None:
    """A sum that overflows is checked again, element by element."""
    assert are_finite(np.full(100, 3e38, dtype=np.float32))
