"""Every golden of this machine's profile, with syrupy; also with `--snapshot-update`."""

from repro_gate.pytest_plugin.observing import Cells, GoldenSnapshot


def test_tokens(repro_gate: Cells, repro_gate_cell: str, golden: GoldenSnapshot) -> None:
    """The output of a cell equals its golden."""
    assert repro_gate.cell(repro_gate_cell).data == golden(repro_gate_cell)
