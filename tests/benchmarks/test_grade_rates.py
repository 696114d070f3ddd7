"""The simulation of grades runs, and prints what they promise."""

from functools import cache

from tests.fakes.processes import printed_by


@cache
def _rows() -> list[list[str]]:
    printed = printed_by("benchmarks.grade_rates", "--reports", "200")
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_harmless_changes_are_seldom_beyond_rounding() -> None:
    """In 7, 10, 15 and 40 cells; beside three recorded changes more seldom than beside one."""
    rates = [[float(each.split()[0]) for each in row[1:4]] for row in _rows()[1:5]]

    assert max(rate for row in rates for rate in row) <= 3
    assert all(three <= one for one, three, _ in rates)


def test_the_stated_shift_is_detected() -> None:
    """In about 80 of 100 reports."""
    shares = [int(each) for row in _rows()[1:5] for each in row[4:]]

    assert (min(shares) >= 65, max(shares) <= 90) == (True, True)


def test_weights_of_four_bits_are_never_consistent_with_rounding() -> None:
    """Nor is a KV cache of q4_0 in 40 cells."""
    grades = {(row[0], row[1]): row[2] for row in _rows()[6:]}

    assert {grades[cells, "0.16"] for cells in ("7", "10", "15", "40")} == {"100 beyond rounding"}
    assert grades["40", "0.05"] == "100 beyond rounding"
    assert "consistent" in grades["40", "0"]
