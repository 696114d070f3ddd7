"""A trace is computed in double precision, and ties have one order."""

import math

import numpy as np
import pytest

from repro_gate.engines.llama_cpp.decode import are_finite, log_softmax, trace_entry


def test_log_probabilities_of_large_logits_do_not_overflow() -> None:
    """Only differences between logits count."""
    logits = np.array([10_000.0, 10_000.0, 9_999.0], dtype=np.float32)
    total = math.log(2 + math.exp(-1))
    assert log_softmax(logits) == pytest.approx([-total, -total, -1 - total], abs=1e-12)


def test_a_temperature_divides_the_logits() -> None:
    """Half the temperature doubles every difference, and the result is a distribution."""
    logits = np.array([2.0, 1.0, 0.0], dtype=np.float32)
    doubled = np.array([4.0, 2.0, 0.0], dtype=np.float32)
    assert log_softmax(logits, temperature=0.5) == pytest.approx(log_softmax(doubled), abs=1e-12)


def test_the_coldest_temperature_does_not_overflow() -> None:
    """Finite logits of any size give finite log-probabilities, none above 0."""
    logits = np.array([3e38, -3e38], dtype=np.float32)
    values = log_softmax(logits, temperature=0.001)
    assert np.isfinite(values).all()
    assert values.max() == 0


def test_among_equals_the_lower_id_comes_first() -> None:
    """The order of the best does not depend on how they were found."""
    logits = np.array([0, 3, 1, 3, 1, 1, 3, 1, 0], dtype=np.float32)
    assert [token for token, _ in trace_entry(logits, 0)["best"]] == [1, 3, 6, 2, 4]


def test_a_small_vocabulary_has_fewer_best() -> None:
    """Three tokens give three alternatives, and the chosen one's own value."""
    entry = trace_entry(np.array([0, 2, 1], dtype=np.float32), 0)
    assert [token for token, _ in entry["best"]] == [1, 2, 0]
    assert entry["logprob"] == entry["best"][2][1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_logit_is_found(bad: float) -> None:
    """A NaN or an infinity anywhere is not finite."""
    logits = np.zeros(151_936, dtype=np.float32)
    logits[77_777] = bad
    assert not are_finite(logits)


def test_large_logits_are_finite_although_their_sum_is_not() -> None:
    """A sum that overflows is checked again, element by element."""
    assert are_finite(np.full(100, 3e38, dtype=np.float32))
