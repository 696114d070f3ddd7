"""A model with a LoRA adapter, from its first recording to a check that fails."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.cli.workspaces import Workspace
from tests.fakes.adapters import adapter

MATRIX = """
schema = "repro-gate/matrix/v1"
default_suites = ["quick"]
sampler = { top_k = 40, top_p = 0.95, min_p = 0.05 }
engines.cpu.kind = "llama_cpp"
models.tiny = { engine = "cpu", source = "tiny.gguf", lora = [LORA] }
prompts.fox = { text = "The quick brown fox", temperature = 0.7, max_tokens = 8 }
prompts.cat = { text = "A cat on the mat", temperature = 0.7, max_tokens = 8 }
suites.quick = { runs = 2, seeds = [1, 2], prompts = { tiny = ["fox", "cat"] } }
[engines.cpu.settings]
n_ctx = 256
n_batch = 256
threads = 1
flash_attention = false
kv_type = "f32"
"""


def write(folder: Path, *, scale: float = 1.0, seed: int = 1) -> None:
    """Write the matrix file, and the adapter."""
    lora = f'{{ source = "a.gguf", scale = {scale} }}'
    (folder / "repro-gate.toml").write_text(MATRIX.replace("LORA", lora), "utf-8")
    adapter(folder / "a.gguf", folder / "tiny.gguf", seed=seed)


def pins(workspace: Workspace) -> dict[str, str]:
    """Return the pinned digests."""
    pinned: dict[str, str] = json.loads((workspace.snapshots / "models.json").read_text("utf-8"))[
        "sha256"
    ]
    return pinned


def digest(file: Path) -> str:
    """Return the digest of a file."""
    return sha256(file.read_bytes()).hexdigest()


@pytest.fixture(name="adapted_once", scope="module")
def _adapted_once(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with goldens of a model with an adapter, to be copied."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("adapted"), cache=cache)
    make(RECIPES["tiny-qwen2"], workspace.folder / "tiny.gguf")
    write(workspace.folder)
    assert workspace.record().code == 0
    return workspace


@pytest.fixture(name="adapted")
def _adapted(adapted_once: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with goldens of a model with an adapter."""
    shutil.copytree(adapted_once.folder, tmp_path, dirs_exist_ok=True)
    return Workspace(folder=tmp_path, cache=adapted_once.cache)


def test_the_first_recording_pins_the_adapter(adapted: Workspace) -> None:
    """The golden shows it, and a check agrees."""
    files = {"tiny": "tiny.gguf", "tiny/lora/1": "a.gguf"}
    (golden,) = adapted.snapshots.rglob("*fox*1.json")

    assert pins(adapted) == {key: digest(adapted.folder / file) for key, file in files.items()}
    assert pins(adapted)["tiny/lora/1"] in golden.read_text("utf-8")
    assert adapted.run("check").code == 0


def test_another_scale_is_drift_with_its_fact(adapted: Workspace) -> None:
    """Nothing else changed."""
    write(adapted.folder, scale=0.5)
    ran = adapted.run("check")

    assert ran.code == 10
    assert set(adapted.verdicts().values()) == {"drift"}
    assert "model.lora.1.scale: 1.0 -> 0.5" in ran.out


def test_another_adapter_is_refused_until_it_is_pinned(adapted: Workspace) -> None:
    """Its file by its name, and --repin of the model accepts it as drift."""
    before = pins(adapted)
    write(adapted.folder, seed=2)
    checked, verified = adapted.run("check"), adapted.run("models", "verify")
    repinned = adapted.record("--repin", "tiny")

    assert (checked.code, verified.code, repinned.code) == (4, 4, 0)
    assert "--repin tiny" in checked.out
    assert "tiny/lora/1: has the sha256" in verified.out
    assert f"pin        tiny/lora/1 sha256 {before['tiny/lora/1']} -> " in repinned.out
    assert pins(adapted) == {**before, "tiny/lora/1": digest(adapted.folder / "a.gguf")}
    assert "4 updated" in repinned.out
    assert "Baselines" not in repinned.out


def test_the_files_of_adapters_are_listed(adapted: Workspace) -> None:
    """By `models list`, `models fetch` and `doctor`."""
    listed = json.loads(adapted.run("models", "list", "--json").out)
    (adapted.folder / "a.gguf").unlink()

    assert [(row["name"], row["present"]) for row in listed] == [
        *(("tiny", True), ("tiny/lora/1", True)),
    ]
    assert "tiny/lora/1 is missing" in adapted.run("models", "fetch").err
    assert "model tiny/lora/1: absent" in adapted.run("doctor").out
    assert "tiny/lora/1 waits for its file" in adapted.run("doctor").out


def test_an_engine_that_ignores_adapters_is_not_believed(workspace: Workspace) -> None:
    """Its facts do not have them, so the cells are inconclusive."""
    matrix = workspace.folder / "repro-gate.toml"
    text = matrix.read_text("utf-8")
    model = '"source" = "tiny.gguf"\n'
    lora = f'{model}lora = [{{ source = "tiny.gguf", scale = 1 }}]\n'
    matrix.write_text(text.replace(model, lora), "utf-8")

    assert workspace.record().code == 4
    assert "reports the adapter tiny/lora/1 as none" in workspace.run("check").out
    facts = {"model.lora.1.sha256": digest(workspace.folder / "tiny.gguf")}
    with_facts = {"result": {"facts": {**facts, "model.lora.1.scale": "1.0"}}}
    workspace.write_script({"method": "load", **with_facts})
    assert workspace.record().code == 0
