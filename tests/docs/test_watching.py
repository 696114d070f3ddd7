"""The page on the watch has the numbers of the rule."""

import re

from repro_gate.core.watch.state import (
    StreamKind,
    streams_of,
    thresholds_of,
)
from repro_gate.statistics.night_ranks import FIRST_BET, nights_to_alarm
from tests.docs.pages import ROOT, page
from tests.fakes.nights import epoch_of

_PAGE = page("docs/explanation/watching.md")
_EPOCH = epoch_of(20)


def test_the_price_is_computed() -> None:
    """Each row of the table is what the rule needs."""
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \|$", _PAGE.text, re.MULTILINE)
    suite, cell = thresholds_of(_EPOCH)

    assert len(rows) == 5
    for nights, *needed in rows:
        found = [nights_to_alarm(int(nights), threshold) for threshold in (suite, cell)]
        assert found == [int(each) for each in needed], nights


def test_the_thresholds_are_computed() -> None:
    """Of the suite and of a cell."""
    suite, cell = thresholds_of(_EPOCH)

    assert f"{suite:,.0f} for the suite, {cell:,.0f} for a cell" in _PAGE.text
    assert f"From the {FIRST_BET}th night on" in _PAGE.text


def test_every_kind_of_stream_is_explained() -> None:
    """And how many streams there are."""
    suite = [stream for stream in streams_of(_EPOCH) if stream.cell is None]
    cell = [stream for stream in streams_of(_EPOCH) if stream.cell == "base--0"]

    assert (len(suite), len(cell)) == (7, 6)
    assert "seven of the suite, six of each cell" in _PAGE.text
    assert set(StreamKind) <= _PAGE.code()


def test_the_measured_figures_are_those_of_the_report() -> None:
    """Of the watch itself."""
    report = (ROOT / "docs" / "examples" / "watch" / "rates" / "report.md").read_text("utf-8")
    rates = re.findall(r"(\d+\.\d+) % \([\d.]+ to ([\d.]+)\), \d+ of 2000", report)
    prose = " ".join(_PAGE.text.split())

    found = [float(rate) for rate, _ in rates]
    assert "{}, {}, {} and {} %".format(*(f"{rate:.2f}" for rate in found)) in prose
    assert f"(at most {max(high for _, high in rates)} % with 95 % confidence)" in prose
