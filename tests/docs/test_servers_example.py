"""The matrix of servers in docs/examples/servers; `make served` checks it with both of them."""

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from tests.docs.pages import ROOT

_FOLDER = ROOT / "docs" / "examples" / "servers"


@pytest.mark.parametrize(("suite", "dialect"), [("llama-server", "llama_server"), ("vllm", "vllm")])
def test_every_cell_has_a_golden(suite: str, dialect: str) -> None:
    """And no golden is without its cell."""
    cells = read_matrix(_FOLDER / "repro-gate.toml").suites[suite].cells
    goldens = {file.stem for file in _FOLDER.glob(f"snapshots/goldens/{dialect}-*/*.json")}
    assert goldens == {cell.id for cell in cells}
