"""The program that measures contexts side by side."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "contexts.py"
_ENGINE = """#!{python}
import json, sys
contexts = 1
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "load":
        contexts = message["params"]["settings"]["contexts"]
        result = {{"concurrency": {concurrency}}}
    else:
        token = 7 if contexts > 1 and message["params"]["seed"] == 43 else 6
        timing = {{"decode_s": 0.25, "sample_s": 0.25}}
        result = {{"prompt": [[5, ""]], "tokens": [[token, ""]], "timing": timing}}
    print(json.dumps({{"id": message["id"], "result": result}}), flush=True)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model."""
    return make(RECIPES["tiny-qwen2"], tmp_path_factory.mktemp("models") / "model.gguf").path


def contexts(model: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Return what the program did with a model."""
    command = [sys.executable, str(_PROGRAM), "--model", str(model), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def scripted(folder: Path, *, concurrency: int) -> str:
    """Return the program of an engine whose tokens depend on how many contexts there are."""
    program = folder / "engine"
    program.write_text(_ENGINE.format(python=sys.executable, concurrency=concurrency))
    program.chmod(0o755)
    return str(program)


def test_the_engine_is_measured_with_one_context_and_with_two(model: Path) -> None:
    """Each has its speed, its ratio to bare decoding, and how many sequences are identical."""
    done = contexts(model, "--sequences", "6", "--tokens", "8", "--contexts", "2")
    assert done.returncode == 0, done.stderr
    found = re.findall(
        r"contexts (\d): \d+ tokens/s, time/bare [\d.]+, identical (.*);", done.stdout
    )
    assert found == [("1", "6 of 6"), ("2", "6 of 6")]
    costs = re.findall(r"(trace|logits): -?[\d.]+ ms more per token, time [\d.]+\n", done.stdout)
    assert costs == ["trace", "logits"]


def test_a_token_that_depends_on_the_contexts_fails(model: Path, tmp_path: Path) -> None:
    """The number of sequences that differ is in the line, and the exit code is 1."""
    engine = scripted(tmp_path, concurrency=2)
    done = contexts(model, "--sequences", "6", "--contexts", "2", "--python", engine)
    assert "identical 5 of 6" in done.stdout
    assert done.returncode == 1, done.stderr


def test_contexts_that_the_engine_does_not_have_are_an_error(model: Path, tmp_path: Path) -> None:
    """What was measured is printed, and the exit code is 2."""
    engine = scripted(tmp_path, concurrency=1)
    done = contexts(model, "--sequences", "6", "--contexts", "2", "--python", engine)
    assert "contexts 1: " in done.stdout
    assert done.stderr == "contexts.py: contexts 2: the engine takes 1 at a time\n"
    assert done.returncode == 2
