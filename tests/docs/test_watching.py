"""The page on the watch has the numbers of the rule."""

import re

import pytest

from repro_gate.core.watch.state import (
    LEARNING_NIGHTS,
    Direction,
    StreamKind,
    streams_of,
    thresholds_of,
)
from repro_gate.statistics.night_ranks import FIRST_BET, nights_to_alarm
from tests.docs.pages import ROOT, first_column, page
from tests.fakes.nights import epoch_of

_PAGE = page("docs/explanation/watching.md")
_EPOCH = epoch_of(20)


def test_the_price_is_computed() -> None:
    """Each row of the table is what the rule needs."""
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \|$", _PAGE.text, re.MULTILINE)
    suite, cell = thresholds_of(_EPOCH)

    assert len(rows) == 6
    for nights, *needed in rows:
        found = [nights_to_alarm(int(nights), threshold) for threshold in (suite, cell)]
        assert found == [int(each) for each in needed], nights


def test_the_thresholds_are_computed() -> None:
    """Of the suite and of a cell."""
    suite, cell = thresholds_of(_EPOCH)

    assert f"{suite:,.0f} for the suite, {cell:,.0f} for a cell" in _PAGE.text
    assert f"From the {FIRST_BET}th night on" in _PAGE.text
    assert f"fewer than {LEARNING_NIGHTS} nights" in _PAGE.text


@pytest.mark.parametrize("kind", StreamKind)
def test_every_kind_of_stream_is_explained(kind: StreamKind) -> None:
    """With its directions."""
    ways = {
        is_suite: {
            each.direction
            for each in streams_of(_EPOCH)
            if each.kind is kind and (each.cell is None) is is_suite
        }
        for is_suite in (True, False)
    }
    both = set(Direction)
    text = {
        (True, True): "both",
        (True, False): "up; for the suite both",
        (False, False): "up",
    }[ways[True] == both, ways[False] == both]

    assert kind.value in first_column(_PAGE.sections()["The rule"])
    (row,) = re.findall(rf"^\| `{kind.value}` .*\| ([^|]+) \|$", _PAGE.text, re.MULTILINE)
    assert row == text


def test_the_measured_figures_are_those_of_the_report() -> None:
    """Of the rate, and of each change after 30 quiet nights."""
    report = (ROOT / "docs" / "examples" / "watch" / "rates" / "report.md").read_text("utf-8")
    rates = re.findall(r"(\d+\.\d+) % \([\d.]+ to ([\d.]+)\), \d+ of 2000", report)
    changes = re.findall(
        r"^\| (\([a-f]\) [^|]+) (\|(?: [^|]+; \d+% \|| 0% \|){4})$", _PAGE.text, re.MULTILINE
    )
    prose = " ".join(_PAGE.text.split())

    found = [float(rate) for rate, _ in rates]
    assert "{}, {}, {} and {} %".format(*(f"{rate:.2f}" for rate in found)) in prose
    assert f"(at most {max(high for _, high in rates)} % with 95 % confidence)" in prose
    assert len(changes) == 6
    for change, row in changes:
        assert re.search(
            rf"^\| {re.escape(change)}; within \d+ \| 30 {re.escape(row)}", report, re.MULTILINE
        )
