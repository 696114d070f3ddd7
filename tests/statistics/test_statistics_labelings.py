"""The ways in which draws can be divided: all of them, or a sample."""

import math
from itertools import combinations

import numpy as np
import pytest

from repro_gate.statistics.labelings import labelings


def test_all_divisions_are_there_once() -> None:
    """They are the combinations of the new ones."""
    ways = labelings(3, 2, most=100)

    assert ways.is_complete
    assert [tuple(np.flatnonzero(row).tolist()) for row in ways.rows] == [
        *combinations(range(5), 2)
    ]


@pytest.mark.parametrize(("most", "is_complete"), [(252, True), (251, False)])
def test_too_many_are_sampled(most: int, *, is_complete: bool) -> None:
    """The limit itself is not too many."""
    ways = labelings(5, 5, most=most)

    assert (ways.is_complete, len(ways.rows)) == (is_complete, most)


def test_a_sample_calls_as_many_draws_new() -> None:
    """Each of its rows is a division of the same sizes, and hardly any two are alike."""
    ways = labelings(30, 10, most=1000)

    assert ways.rows.shape == (1000, 40)
    assert set(ways.rows.sum(axis=1).tolist()) == {10}
    assert len(np.unique(ways.rows, axis=0)) == 1000


def test_a_sample_calls_every_draw_new_as_often() -> None:
    """Each is new in a quarter of the rows, within five standard errors."""
    share = labelings(30, 10, most=20_000).rows.mean(axis=0)

    assert np.abs(share - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 20_000)


def test_a_sample_is_the_same_every_time() -> None:
    """The same draws give the same report."""
    first = labelings(12, 12, most=500)
    labelings.cache_clear()
    second = labelings(12, 12, most=500)

    assert first is not second
    assert (first.rows == second.rows).all()


def test_chunks_are_all_the_rows() -> None:
    """They come a few thousand at a time, as numbers, in order."""
    ways = labelings(9, 9, most=10**6)
    chunks = list(ways.chunks())

    assert len(chunks) > 1
    assert (np.concatenate(chunks) == ways.rows).all()


def test_the_p_value_of_a_sample_counts_the_observed_one() -> None:
    """Of all divisions the observed one is among them already."""
    assert labelings(3, 2, most=100).p_value(1) == 1 / 10
    assert labelings(12, 12, most=500).p_value(0) == 1 / 501
