"""The program that measures what the token gate costs."""

import json
import subprocess
import sys
from pathlib import Path

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "token_gate.py"


def test_gates_are_measured_with_the_tokens_that_they_generated(tmp_path: Path) -> None:
    """Every gate has a ratio of its own, over bare decoding of equal tokens of different cells."""
    model = make(RECIPES["tiny-qwen2"], tmp_path / "model.gguf").path
    figures = tmp_path / "figures.json"
    named = [option for name in ("one", "two") for option in ("--gate", f"{name}={sys.executable}")]
    options = ["--model", str(model), "--runs", "2", "--rounds", "1", "--json", str(figures)]

    subprocess.run(
        [sys.executable, _PROGRAM, *named, "--figures", "raw", *options],
        check=True,
        capture_output=True,
        timeout=300,
    )

    found = json.loads(figures.read_text())["figures"]
    assert [(figure["figure"], figure["gate"]) for figure in found] == [
        ("gate/raw", "one"),
        ("gate/raw", "two"),
    ]
    assert [figure["different"] for figure in found] == [5, 5]
    assert found[0]["digest"] == found[1]["digest"]
    assert min(figure["value"] for figure in found) > 0
