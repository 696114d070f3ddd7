"""Numbers in reports."""

import math
import sys

import pytest

from repro_gate.reports.text.format import amount, chance, nats, percent, shifted, usd


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-42.03125, "-42.0312"),
        (-0.0, "0.0000"),
        (0.00003, "3e-05"),
        (-0.0001, "-0.0001"),
        (-2_000_000.0, "-2e+06"),
        (-sys.float_info.max, "-1.8e+308"),
        (math.inf, "not known"),
        (math.nan, "not known"),
    ],
)
def test_nats(value: float, words: str) -> None:
    """A small number is not rounded to 0."""
    assert nats(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(1.25, "+1.2500"), (-1.25, "-1.2500"), (0.0, "0.0000"), (math.inf, "not known")],
)
def test_shift_has_a_sign(value: float, words: str) -> None:
    """A shift has its direction, unless it is 0."""
    assert shifted(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0.000213, "0.00021"), (1.23, "1"), (math.nan, "not known")]
)
def test_chance_is_at_most_one(value: float, words: str) -> None:
    """A corrected p-value may exceed 1."""
    assert chance(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.004, "0.4 %"), (1.0, "100 %"), (0.2154, "21.5 %"), (math.nan, "not known")],
)
def test_percent(value: float, words: str) -> None:
    """A share has three significant digits."""
    assert percent(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.2824, "1.282"),
        (math.exp(116), "2.389e+50"),
        (math.inf, "too large for a number"),
        (-math.inf, "not known"),
        (math.nan, "not known"),
    ],
)
def test_amount_has_any_size(value: float, words: str) -> None:
    """A weight may exceed a float."""
    assert amount(value) == words


@pytest.mark.parametrize(("value", "words"), [(12.345, "12.35 USD"), (0.00108, "0.0011 USD")])
def test_small_price_is_not_zero(value: float, words: str) -> None:
    """A very small price is readable."""
    assert usd(value) == words
