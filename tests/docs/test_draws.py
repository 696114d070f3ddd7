"""The documented statistics of a draw log count what they should."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from repro_gate.adapters.logs.append_only import json_line
from repro_gate.adapters.logs.draws import to_line
from repro_gate.core.logprobs.draw import Draw
from tests.docs.pages import page

_PAGE = page("docs/reference/draws-v1.md")


def _log(folder: Path) -> None:
    lines = [json_line({"schema": "repro-gate/draws/v1"})]
    for number, total in enumerate((-5.0, -7.0, -6.0), start=1):
        lines.append(
            to_line(("base--paper-airplane", "first_look", number), Draw(logprobs=(total,)))
        )
    control = Draw(logprobs=(-90.0,))
    lines.append(to_line(("base--paper-airplane", "control", 1), control))
    (folder / "logs").mkdir()
    (folder / "logs" / "draws.jsonl").write_bytes(b"".join(lines))


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_statistics_leave_out_controls(tmp_path: Path) -> None:
    """A draw after another prompt is no draw of the cell, in the summary and in the plot."""
    _log(tmp_path)
    summary, plot, _ = _PAGE.blocks("sh")

    counted, plotted = (
        subprocess.run(
            ["/bin/sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
        for command in (summary, plot)
    )

    assert counted == "base--paper-airplane\t3\t-7\t-6\t-5\t2\n"
    assert sorted(line.split("\t")[1] for line in plotted.splitlines()) == ["-5", "-6", "-7"]


def test_each_statistic_of_draws_names_the_controls() -> None:
    """Commands that select draws leave the controls out, even where jq is missing."""
    selecting = [block for block in _PAGE.blocks("sh") if '.outcome == "draw"' in block]

    assert len(selecting) == 2
    assert all('.purpose != "control"' in block for block in selecting)
    assert json.loads(to_line(("a--b", "control", 1), Draw(logprobs=(-1.0,))))["purpose"] == (
        "control"
    )
