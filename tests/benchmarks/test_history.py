"""The benchmark of what a history costs."""

import re

import pytest

from benchmarks.history import CELLS, main

_INDEX = re.compile(r"index +([\d.]+) bytes/draw")


def test_rows_cost_what_files_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten million draws are written as rows, so those have to be the rows that files give."""
    night = ["--nights", "20", "--draws", "2", "--kind", "repeating"]
    main(night)
    main([*night, "--rows"])

    printed = capsys.readouterr().out
    files, rows = map(float, _INDEX.findall(printed))
    assert abs(rows / files - 1) < 0.1
    assert printed.count(f"{20 * CELLS * 2:,} draws") == 2
