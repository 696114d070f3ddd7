"""Holm's correction, against statsmodels."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from repro_gate.statistics.holm import holm

p_values = st.lists(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1), min_size=3, max_size=12)


# Few, because theirs collects garbage at every call.
@settings(max_examples=12)
@given(p_values, st.integers(0, 12))
def test_it_is_what_statsmodels_computes(found: list[float], absent: int) -> None:
    """Tests that were not needed count as 1: they are as many as there are, all the same."""
    _, theirs, *_ = multipletests([*found, *[1.0] * absent], method="holm")
    ours = holm(dict(enumerate(found)), tests=len(found) + absent)

    assert ours == pytest.approx(dict(enumerate(theirs[: len(found)])))


def test_nothing_found_is_nothing_to_correct() -> None:
    """A suite without a suspicion has no p-values."""
    assert holm({}, tests=60) == {}


def test_the_smallest_is_multiplied_by_the_number_of_tests() -> None:
    """And each of the others by one less than the one before it."""
    assert holm({"b": 0.02, "a": 0.001, "c": 0.9}, tests=4) == pytest.approx(
        {"a": 0.004, "b": 0.06, "c": 1.0}
    )
