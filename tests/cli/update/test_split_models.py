"""A split model, from its first recording to a check that fails."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.cli.update.test_adapters import MATRIX
from tests.cli.workspaces import Workspace
from tests.fakes.split_models import split

PARTS = tuple(f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3))


def goldens(workspace: Workspace) -> list[object]:
    """Return the tokens of the goldens."""
    files = sorted((workspace.snapshots / "goldens").rglob("*.json"))
    return [json.loads(file.read_text("utf-8"))["tokens"] for file in files]


def write(workspace: Workspace, source: str) -> None:
    """Write the matrix file."""
    text = MATRIX.replace(", lora = [LORA]", "").replace('"tiny.gguf"', json.dumps(source))
    (workspace.folder / "repro-gate.toml").write_text(text, "utf-8")


@pytest.fixture(name="recorded_once", scope="module")
def _recorded_once(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with goldens of a split model, to be copied."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("split"), cache=cache)
    make(RECIPES["tiny-qwen2"], workspace.folder / "whole.gguf")
    split(workspace.folder / "whole.gguf", workspace.folder)
    write(workspace, PARTS[0])
    assert workspace.record().code == 0
    return workspace


@pytest.fixture(name="in_parts")
def _in_parts(recorded_once: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with goldens of a split model."""
    shutil.copytree(recorded_once.folder, tmp_path, dirs_exist_ok=True)
    return Workspace(folder=tmp_path, cache=recorded_once.cache)


def test_all_parts_are_pinned_by_one_digest(in_parts: Workspace) -> None:
    """A check agrees, also in its fresh process, and `models verify` too."""
    joined = b"".join((in_parts.folder / part).read_bytes() for part in PARTS)
    pinned = json.loads((in_parts.snapshots / "models.json").read_text("utf-8"))["sha256"]

    assert pinned == {"tiny": sha256(joined).hexdigest()}
    assert in_parts.run("check").code == 0
    assert in_parts.run("models", "verify").out == "tiny: is the pinned file\n"


def test_the_whole_model_has_the_same_tokens(in_parts: Workspace) -> None:
    """Only its digest and size differ."""
    tokens = goldens(in_parts)
    write(in_parts, "whole.gguf")

    assert in_parts.record("--repin", "tiny").code == 0
    assert goldens(in_parts) == tokens


def test_a_missing_part_is_named_everywhere(in_parts: Workspace) -> None:
    """By a check, a dry run, `models` and the doctor."""
    (in_parts.folder / PARTS[1]).unlink()
    checked = in_parts.run("check")

    assert checked.code == 4
    assert f"there is no file {in_parts.folder / PARTS[1]}" in checked.out
    assert "model tiny is missing" in in_parts.run("check", "--dry-run").out
    assert not json.loads(in_parts.run("models", "list", "--json").out)[0]["present"]
    assert in_parts.run("models", "verify").code == 4
    assert "tiny waits for its file" in in_parts.run("doctor").out


def test_another_part_is_not_measured(in_parts: Workspace) -> None:
    """The remedy is to accept it."""
    part = in_parts.folder / PARTS[2]
    part.write_bytes(part.read_bytes()[:-4] + b"\0\0\0\0")
    checked = in_parts.run("check")

    assert checked.code == 4
    assert "digest_mismatch" in checked.out
    assert "--repin tiny" in checked.out
    assert in_parts.run("models", "verify").code == 4


def test_another_part_as_the_source_is_3(in_parts: Workspace) -> None:
    """The message has the first one."""
    write(in_parts, PARTS[1])
    checked = in_parts.run("check")

    assert checked.code == 3
    assert f"models.tiny.source: expected {PARTS[0]}" in checked.err
