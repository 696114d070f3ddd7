"""The program that verifies the tokens of a server, and the table that it made."""

from pathlib import Path

import pytest

from benchmarks.served_distance import HARMLESS, ROWS, Distances, is_expected, report

_TABLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "served-distance" / "report.md"


def _cells(distance: float) -> list[Distances]:
    """Return ten cells in which every eighth token has a distance."""
    return [tuple(0.0 if place % 8 else distance for place in range(24))] * 10


def test_the_published_table_has_every_row() -> None:
    """What the command printed last is about the present rows."""
    head, *rows = _rows(_TABLE.read_text("utf-8"))
    now = _rows(report([(row, _cells(0.1)) for row in ROWS]))
    assert [row[0] for row in rows] == [row.label for row in ROWS]
    assert head == now[0]


def test_a_row_shows_how_near_its_tokens_are() -> None:
    """By cells and tokens, by the mean, and by how often they differ from harmless ones."""
    rows = _rows(report([(HARMLESS, _cells(0.1)), (ROWS[2], _cells(0.4))]))
    assert rows[1][1:] == ["0 of 10", "87.5%", "0.0125", "-"]
    assert rows[2][1:] == ["0 of 10", "87.5%", "0.0500", "100% / 100% / 100% / 100%"]


@pytest.mark.parametrize("distance", [0.0, 0.4])
def test_another_distance_than_expected_is_found(distance: float) -> None:
    """Tokens that are too near, as where nothing was planted, and tokens that are too far."""
    row = ROWS[2] if distance == 0 else HARMLESS
    assert not is_expected(row, _cells(distance))
    assert is_expected(HARMLESS, _cells(0.1))


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines]
