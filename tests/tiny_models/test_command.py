"""`python -m repro_gate.tiny_models` makes a model and prints its digest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repro_gate.tiny_models.__main__ import main

if TYPE_CHECKING:
    from tests.tiny_models.conftest import ModelMaker


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_command_prints_one_line_of_json(
    made_model: "ModelMaker", tmp_path: Path, hash_seed: str
) -> None:
    """The bytes are the same as in any other process."""
    path = tmp_path / "model.gguf"
    child = subprocess.run(
        [sys.executable, "-m", "repro_gate.tiny_models", "tiny-phi3", str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    expected = made_model("tiny-phi3")
    assert child.stdout.count("\n") == 1
    assert json.loads(child.stdout) == {
        "name": "tiny-phi3",
        "path": str(path),
        "sha256": expected.sha256,
        "size": expected.size,
    }
    assert path.read_bytes() == expected.path.read_bytes()


def test_list_prints_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    """One per line, without making a model."""
    assert main(["--list"]) == 0
    assert capsys.readouterr().out == "tiny-qwen2\ntiny-phi3\nqwen2.5-0.5b-shape\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["tiny-gpt", "x"],
            "unknown model 'tiny-gpt': expected one of tiny-qwen2, tiny-phi3, qwen2.5-0.5b-shape",
        ),
        (["tiny-qwen2"], "expected NAME and PATH, or --list"),
        ([], "expected NAME and PATH, or --list"),
    ],
)
def test_an_invalid_command_line_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2 and a message on stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(f"error: {message}\n")


def test_a_file_that_cannot_be_written_is_inconclusive(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 4 and a message with the file name."""
    path = tmp_path / "missing" / "model.gguf"
    assert main(["tiny-qwen2", str(path)]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{path}: ")
