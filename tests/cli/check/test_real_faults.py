"""The real engine with model files that are broken in many ways, and a valid one."""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from repro_gate.tiny_models.architectures import Shape, Tensor
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.cli.workspaces import Ran, Workspace
from tests.fakes.odd_models import bert

_OURS = tomllib.loads((Path(__file__).parents[3] / "repro-gate.toml").read_text("utf-8"))
_NAN = b"\x00\x00\xc0\x7f"
_HUGE = b"\x99\x76\x61\x7f"
_FAULTS: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: good[:0],
    "pointer": lambda _: b"version https://git-lfs.github.com/spec/v1\n",
    "page": lambda _: b"<!doctype html><html><body>Sign in</body></html>",
    "truncated": lambda good: good[: len(good) // 2],
    "junk": lambda good: b"not a model" * (len(good) // 11),
    "nan": lambda good: good[:-256] + _NAN * 64,
    "overflows": lambda good: good[:-256] + _HUGE * 64,
    # The first two tokens of the vocabulary become the same: llama.cpp aborts.
    "aborts": lambda good: good.replace(b"\x01" + bytes(7) + b'"', b"\x01" + bytes(7) + b"!", 1),
    "other": lambda good: good,
}
_SAID = {
    "missing": "there is no file /",
    "empty": "empty.gguf is an empty file",
    "pointer": "pointer.gguf is a Git LFS pointer",
    "page": "page.gguf is a web page",
    "encoder": "this is an encoder (bert), which makes embeddings, not text",
    "truncated": "the file ends before its tensor",
    "junk": "not a GGUF file",
    "nan": "has invalid data",
    "overflows": "not_finite: the logits after position",
    "aborts": "the engine was ended by SIGABRT at 'load'",
    "crashes": "the engine was ended by SIGSEGV at 'load'",
    "other": "expected sha256 0000000000",
}


def _make_crashing(path: Path) -> None:
    """Make a Phi-3 without the matrices of its attention: llama.cpp reads through a null."""
    recipe = RECIPES["tiny-phi3"]
    layer: Callable[[Shape], tuple[Tensor, ...]] = recipe.architecture.layer

    def crippled(shape: Shape) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in layer(shape) if tensor.name != "attn_qkv.weight")

    architecture = dataclasses.replace(recipe.architecture, layer=crippled)
    make(dataclasses.replace(recipe, architecture=architecture), path)


def _matrix() -> dict[str, Any]:
    """Return a matrix of all broken models, and the good one last."""
    good = _OURS["models"]["tiny-qwen2"]
    broken: dict[str, Any] = {name: {"engine": "exact", "source": f"{name}.gguf"} for name in _SAID}
    broken["other"]["sha256"] = "0" * 64
    return {
        "engines": {"exact": _OURS["engines"]["exact"]},
        "models": {**broken, "good": good},
        "suites": {
            "quick": {
                "runs": 2,
                "seeds": [42],
                "prompts": {name: ["fox"] for name in (*broken, "good")},
            }
        },
    }


@pytest.fixture(scope="module")
def broken_models(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Ran]:
    """Return the check of a matrix of broken models."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("broken"), cache=cache)
    workspace.write_matrix(**_matrix())
    good = make(RECIPES["tiny-qwen2"], workspace.folder / "good.gguf").path.read_bytes()
    for name, broken in _FAULTS.items():
        (workspace.folder / f"{name}.gguf").write_bytes(broken(good))
    _make_crashing(workspace.folder / "crashes.gguf")
    bert(workspace.folder / "encoder.gguf", pooling=1)
    assert workspace.record("--only", "good--*").code == 0
    return workspace, workspace.run("check")


@pytest.mark.parametrize("name", list(_SAID))
def test_a_broken_model_is_reported_with_its_fault(
    broken_models: tuple[Workspace, Ran], name: str
) -> None:
    """An unusable model file is inconclusive, with the reason."""
    verdict = broken_models[0].cell(f"{name}--fox--seed42")["verdict"]

    assert verdict["kind"] == "inconclusive"
    assert _SAID[name] in verdict["reason"]


def test_a_good_model_is_checked_after_all_broken_ones(
    broken_models: tuple[Workspace, Ran],
) -> None:
    """No broken model keeps the one behind it from its verdict."""
    workspace, ran = broken_models

    assert (ran.code, workspace.cell("good--fox--seed42")["verdict"]["kind"]) == (4, "match")
