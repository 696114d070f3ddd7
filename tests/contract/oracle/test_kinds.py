"""Recurrent and hybrid models, windows and experts generate the tokens of llama-server."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.oracle.cells import SERVER, cell_of
from tests.contract.oracle.twins import SETTINGS, Twins
from tests.fakes.model_kinds import KINDS, make_kind

_LONG = "The quick brown fox jumps over the lazy dog, and once more. " * 6
_CELLS = (
    SERVER,
    {**SERVER, "temperature": 0},
    cell_of(repeat_penalty=1.5, prompt=_LONG),
    cell_of(prompt=_LONG),
)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "t5"])
def test_a_kind_of_model_generates_the_tokens_of_llama_server(
    oracle: Path, tmp_path: Path, kind: str
) -> None:
    """But for T5: llama-server encodes no prompt, and decodes it after that of its warm-up."""
    path = make_kind(kind, tmp_path / f"{kind}.gguf").path
    with closing(Twins(oracle, path, SETTINGS)) as twins:
        for cell in _CELLS:
            twins.generate(**cell, max_tokens=32)
