"""Evidence from ranks has the published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.statistics.night_ranks import (
    Counts,
    earlier_at_least,
    evidence_of,
    nights_to_alarm,
    start_of,
)
from repro_gate.statistics.permutation import Floats

SUITE, CELL = 511_000.0, 8_760_000.0
"""The thresholds for 20 cells, at 1 % of years of 365 nights."""


def evidence(counts: list[int]) -> list[float]:
    """Return the evidence of one stream in each night."""
    return list(evidence_of(np.array(counts)[:, np.newaxis])[:, 0])


def separated(quiet: int, changed: int, *, extreme: int = 0) -> list[int]:
    """Return the counts of changed nights, beyond the quiet ones but for some extreme ones."""
    return [*range(quiet), *(extreme + number for number in range(changed))]


def test_nights_that_are_all_alike_are_no_evidence() -> None:
    """Ties count against a change."""
    found = evidence(list(range(365)))

    assert found[:10] == [0.0] * 10
    assert found[19] == pytest.approx(0.767921, abs=1e-6)
    assert found[364] == pytest.approx(0.832456, abs=1e-6)


def test_the_evidence_after_ten_ties() -> None:
    """Ranks of 1/11, 2/12, 1 and 1/2 follow."""
    found = evidence([*range(10), 0, 1, 12, 6])

    assert found[10:] == pytest.approx(
        [4.763596805, 22.298055672, 2.095400054, 1.430543560], abs=1e-9
    )


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [
        (30, [14.5067, 159.417, 1509.11, 11837.2, 78290.6, 447836, 2265830]),
        (100, [43.2355, 1589.72, 47906.2, 1154360]),
    ],
)
def test_the_evidence_of_complete_separation(quiet: int, expected: list[float]) -> None:
    """All changed nights are alike, and beyond all quiet ones."""
    found = evidence(separated(quiet, len(expected)))[quiet:]

    assert found == pytest.approx(expected, rel=5e-6)


@pytest.mark.parametrize(
    ("quiet", "suite", "cell"),
    [
        (5, None, None),
        (10, 15, 22),
        (15, 10, 14),
        (20, 8, 11),
        (30, 7, 8),
        (60, 5, 6),
        (100, 4, 5),
        (200, 4, 4),
        (365, 3, 4),
    ],
)
def test_the_nights_to_an_alarm(quiet: int, suite: int | None, cell: int | None) -> None:
    """The table of nights before a change and of changed nights that are needed."""
    assert nights_to_alarm(quiet, SUITE) == suite
    assert nights_to_alarm(quiet, CELL) == cell


@pytest.mark.parametrize(
    ("quiet", "nights"),
    [
        (20, [18, 28, None]),
        (30, [13, 18, 25]),
        (60, [8, 11, 14]),
        (100, [7, 8, 11]),
        (200, [6, 6, 8]),
    ],
)
def test_a_few_extreme_nights_before_cost_time(quiet: int, nights: list[int | None]) -> None:
    """With 1, 2 and 3 quiet nights beyond the changed ones, a cell alarms later."""
    found = [evidence(separated(quiet, 60, extreme=each))[quiet:] for each in (1, 2, 3)]
    first = [next((n for n, e in enumerate(each, 1) if e >= CELL), None) for each in found]

    assert first == nights


@given(
    st.lists(
        st.lists(st.integers(-3, 3), min_size=2, max_size=2),
        min_size=1,
        max_size=40,
    )
)
def test_earlier_nights_are_counted(rows: list[list[int]]) -> None:
    """As the definition counts them, ties included."""
    values = np.array(rows, dtype=np.float64)

    assert earlier_at_least(values).tolist() == slow_counts(values).tolist()


def slow_counts(values: Floats) -> Counts:
    """Return the counts by their definition."""
    return np.stack([(values[:t] >= values[t]).sum(axis=0) for t in range(len(values))])


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=30), st.integers(0, 1000))
def test_the_order_of_earlier_nights_changes_no_rank(values: list[int], seed: int) -> None:
    """Only which nights were before tonight matters."""
    order = [*np.random.default_rng(seed).permutation(len(values) - 1), len(values) - 1]
    nights = np.array(values, dtype=np.float64)[:, np.newaxis]

    assert earlier_at_least(nights)[-1] == earlier_at_least(nights[order])[-1]


def test_no_nights_have_no_counts() -> None:
    """An empty history is no error."""
    assert earlier_at_least(np.empty((0, 3))).shape == (0, 3)


def test_a_restart_drops_the_evidence() -> None:
    """Of all nights before; the rank of the first night after it is among them all."""
    counts = [*range(30), 0, 0, 0]
    found = list(evidence_of(np.array(counts)[:, np.newaxis], restarts=(32,))[:, 0])
    steps = 0.30 * (0.05 + 0.95 * 33) + 0.30 * (0.10 + 0.90 * 11)
    powers = 0.10 * 0.25 * 33**0.75 + 0.15 * 0.5 * 33**0.5 + 0.15 * 0.8 * 33**0.2

    assert found[:32] == evidence(counts)[:32]
    assert found[32] == pytest.approx(steps + powers)


def test_evidence_is_bounded() -> None:
    """However long a change is left standing, no number overflows."""
    found = evidence([*range(1000), *[0] * 250])

    assert 1e299 < max(found) <= 1e300
    assert np.isfinite(found).all()


def test_the_start_of_a_change() -> None:
    """It is the night whose wealth is the largest."""
    counts = np.array(separated(40, 6))

    assert start_of(counts) == 40
    assert start_of(np.array(separated(16, 25))) == 16
    assert start_of(counts, restarts=(42,)) == 42
