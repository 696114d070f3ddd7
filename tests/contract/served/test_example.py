"""The servers of docs/examples/servers still answer as their goldens have it."""

import shutil
from pathlib import Path

import pytest

from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.wiring import workspace_for
from tests.contract.served.workspaces import ROOT, ServedWorkspace
from tests.fakes.hf_folder import write_folder


@pytest.fixture(name="example")
def _example(vllm: Path, tmp_path: Path) -> ServedWorkspace:
    """Return a copy of the example with the model of vLLM, and the usual cache."""
    source = ROOT / "docs" / "examples" / "servers"
    shutil.copytree(source, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("models"))
    write_folder(tmp_path / "models" / "small-qwen2")
    cache = workspace_for(open_session(Selection(config=source / "repro-gate.toml"))).models.cache
    return ServedWorkspace(folder=tmp_path, cache=cache.parent, programs=vllm)


@pytest.mark.parametrize(("suite", "model"), [("llama-server", "smollm2"), ("vllm", "small-qwen2")])
def test_the_example_passes(example: ServedWorkspace, suite: str, model: str) -> None:
    """In every mode, on the kind of machine that the goldens are of."""
    workspace = workspace_for(open_session(Selection(config=example.folder / "repro-gate.toml")))
    if not workspace.models.path_of(workspace.matrix.models[model]).exists():
        pytest.skip(f"the file of {model} is not in the cache")
    ran = example.run_slowly("check", "--suite", suite)
    if "there is no golden for this profile" in ran.out:
        pytest.skip("the goldens are of another kind of machine")
    assert ran.code == 0, ran
