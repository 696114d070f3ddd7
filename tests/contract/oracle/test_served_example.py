"""The goldens of docs/examples/served are what a llama-server answers."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.tokens.cell import Cell
from repro_gate.samplers import PLAIN
from tests.contract.oracle.twins import Twins

_FILE = Path(__file__).parents[3] / "docs" / "examples" / "served" / "repro-gate.toml"
_MATRIX = read_matrix(_FILE)
_SETTINGS = _MATRIX.models["smollm2"].engine.settings


@pytest.fixture(scope="module", name="served")
def _served(oracle: Path, smollm2: Path) -> Iterator[Twins]:
    """Yield engine and server with the settings of the example."""
    # The types of K and V are the same.
    settings = {name: _SETTINGS[name] for name in _SETTINGS if not name.startswith("kv_type_")}
    with closing(
        Twins(oracle, smollm2, {**settings, "kv_type": _SETTINGS["kv_type_k"]})
    ) as started:
        yield started


@pytest.mark.parametrize("cell", _MATRIX.suites["smollm2"].cells, ids=lambda cell: cell.id)
def test_a_golden_is_the_answer_of_a_llama_server(served: Twins, cell: Cell) -> None:
    """The text that the template makes, and every token that is drawn after it."""
    assert cell.chat is not None
    assert cell.sampler.sampling is not None
    prompt = served.server.post("/apply-template", cell.chat.to_data())["prompt"]

    answer = served.generate(
        prompt=prompt,
        seed=cell.seed,
        max_tokens=cell.max_tokens,
        **{name: getattr(cell.sampler, name) for name in PLAIN},
        sampling=cell.sampler.sampling.to_data(),
        **({"stop": list(cell.stop)} if cell.stop else {}),
    )

    (file,) = _FILE.parent.glob(f"snapshots/goldens/cpu-x86_64-avx2/{cell.id}.json")
    golden = json.loads(file.read_text("utf-8"))
    assert "".join(golden["rendered"]).replace("\\n", "\n") == prompt
    assert [int(token.split(" ", 1)[0]) for token in golden["tokens"]] == answer["tokens"]
