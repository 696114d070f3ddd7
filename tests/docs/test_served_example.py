"""The matrix of served chats in docs/examples/served."""

import json
from typing import TYPE_CHECKING

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.wiring import workspace_for
from repro_gate.core.outcome import ExitCode
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine

_FILE = ROOT / "docs" / "examples" / "served" / "repro-gate.toml"
_GOLDENS = _FILE.parent / "snapshots" / "goldens" / "cpu-x86_64-avx2"


def _is_fetched(model: str) -> bool:
    workspace = workspace_for(open_session(Selection(config=_FILE)))
    return workspace.models.path_of(workspace.matrix.models[model]).is_file()


def test_every_chat_has_a_golden() -> None:
    """And no golden is without its cell."""
    cells = {cell.id: cell for cell in read_matrix(_FILE).cells()}
    assert {file.stem for file in _GOLDENS.iterdir()} == set(cells)
    assert all(cell.chat is not None for cell in cells.values())


@pytest.mark.parametrize(
    ("cell", "lines"),
    [
        (
            "smollm2--capital--seed42",
            ["<|im_start|>system\\n", "Answer in one sentence.<|im_end|>\\n"],
        ),
        ("gemma3--capital-gemma--seed42", ["<start_of_turn>user\\n", "Answer in one sentence.\\n"]),
    ],
)
def test_a_golden_has_the_text_of_its_template(cell: str, lines: list[str]) -> None:
    """One of the model file; one given, without the BOS text and with the system message moved."""
    golden = json.loads((_GOLDENS / f"{cell}.json").read_text("utf-8"))
    assert golden["rendered"][:2] == lines


@pytest.mark.parametrize(("model", "cells"), [("smollm2", 8), ("gemma3", 4)])
def test_the_goldens_match(model: str, cells: int, repro_gate: "CommandLine") -> None:
    """Wherever `repro-gate models fetch` brought the file of a model."""
    if not _is_fetched(model):
        pytest.skip(f"the file of {model} is not in the cache")
    result = repro_gate("check", "-q", "--config", str(_FILE), "--suite", model, "--runs", "1")
    assert result.exit_code == ExitCode.PASSED, result.output
    assert f"passed: {cells} match" in result.output
