"""Causes that are planted with a real engine and a tiny model are found by `explain`."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.cli.workspaces import Workspace, matrix_of, toml

_SETTINGS = {
    "n_ctx": 256,
    "n_batch": 256,
    "threads": 1,
    "flash_attention": False,
    "kv_type": "f32",
}
_CHAT = """
[prompts.chat]
messages = [{ role = "user", content = "Say haiku" }]
temperature = 0.7
max_tokens = 8
"""
TEXT, CHAT = "tiny--text--seed1", "tiny--chat--seed1"


def _write_matrix(
    workspace: Workspace, *, temperature: float = 0.7, evidence: str = "tokens", **settings: Any
) -> None:
    engine = {"kind": "llama_cpp", "device": "cpu", "timeout_s": 60}
    text = {"text": "Say haiku", "temperature": temperature, "max_tokens": 24}
    model = workspace.folder / "tiny.gguf"
    matrix = matrix_of(
        {**engine, "settings": {**_SETTINGS, **settings}},
        models={
            "tiny": {
                "engine": "scripted",
                "source": "tiny.gguf",
                "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            }
        },
        prompts=("text", "chat"),
        prompts_table={"text": text},
    )
    matrix["suites"]["quick"]["evidence"] = evidence
    (workspace.folder / "repro-gate.toml").write_text(toml(matrix) + _CHAT, "utf-8")


@pytest.fixture(scope="module")
def recorded_tiny(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with goldens of a tiny model, to be copied."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("tiny"), cache=cache)
    make(RECIPES["tiny-qwen2"], workspace.folder / "tiny.gguf")
    _write_matrix(workspace)
    assert workspace.record().code == 0
    return workspace


@pytest.fixture
def tiny(recorded_tiny: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with goldens of a tiny model."""
    copy = recorded_tiny.copied_to(tmp_path)
    _write_matrix(copy)
    return copy


def _golden(workspace: Workspace, cell_id: str) -> tuple[Path, dict[str, Any]]:
    (file,) = workspace.snapshots.glob(f"goldens/*/{cell_id}.json")
    return file, json.loads(file.read_text("utf-8"))


def _explained(workspace: Workspace, cell_id: str = TEXT) -> str:
    assert workspace.run("check").code == 10
    ran = workspace.run("explain", cell_id)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_another_seed_is_the_sampler(tiny: Workspace) -> None:
    """The golden has the tokens of another seed, and the same log-probabilities before."""
    file, golden = _golden(tiny, TEXT)
    other = _golden(tiny, "tiny--text--seed2")[1]
    taken = {name: other[name] for name in ("tokens", "text", "trace", "stop")}
    file.write_text(json.dumps(golden | taken), "utf-8")
    assert "cause    sampler: " in _explained(tiny)


def test_another_value_of_the_sampler_is_the_sampler(tiny: Workspace) -> None:
    """The golden was sampled at another temperature than its definition has."""
    _write_matrix(tiny, temperature=1.5)
    assert tiny.record().code == 0
    file, golden = _golden(tiny, TEXT)
    golden["cell"]["sampler"]["temperature"] = 0.7
    file.write_text(json.dumps(golden), "utf-8")
    _write_matrix(tiny)
    assert "cause    sampler: " in _explained(tiny)


def test_another_value_in_the_matrix_is_the_definition(tiny: Workspace) -> None:
    """The golden is for another one."""
    _write_matrix(tiny, temperature=1.5)
    text = _explained(tiny)
    assert "cause    definition: " in text
    assert "temperature: 0.7 -> 1.5" in text


def test_flash_attention_is_numeric(tiny: Workspace) -> None:
    """It comes first among what changed."""
    _write_matrix(tiny, flash_attention=True, kv_type="f16")
    assert tiny.run("check").code == 10
    drifted = [cell_id for cell_id, verdict in tiny.verdicts().items() if verdict == "drift"]
    text = tiny.run("explain", drifted[0]).out
    assert "cause    numeric: " in text
    changed = text.partition("what changed since the golden was recorded\n")[2]
    assert changed.startswith("  setting.flash_attention: false -> true\n")


def test_a_cache_that_moves_no_token_moves_the_logits(tiny: Workspace) -> None:
    """By its tokens the cell matches; by its logits it drifts, and the cause is rounding."""
    _record_with(tiny, evidence="tokens", kv_type="f16")
    assert _check_with(tiny, evidence="tokens", kv_type="bf16")[TEXT] == "match"
    _record_with(tiny, evidence="logits", kv_type="f16")
    assert set(_check_with(tiny, evidence="logits", kv_type="f16").values()) == {"match"}
    assert _check_with(tiny, evidence="logits", kv_type="bf16")[TEXT] == "drift"
    text = tiny.run("explain", TEXT).out
    assert "from the golden at logits[0]; all tokens are equal\n" in text
    assert "cause    numeric: all tokens are equal, but from step 0 on the logits are not" in text
    assert "explained      24 of 24: they are drawn here too\n" in text


def _record_with(workspace: Workspace, **settings: Any) -> None:
    _write_matrix(workspace, temperature=0.0, flash_attention=True, **settings)
    assert workspace.record().code == 0


def _check_with(workspace: Workspace, **settings: Any) -> dict[str, str]:
    _write_matrix(workspace, temperature=0.0, flash_attention=True, **settings)
    workspace.run("check")
    return workspace.verdicts()


def test_another_file_is_the_model(tiny: Workspace) -> None:
    """A few bits of the weights are enough."""
    model = tiny.folder / "tiny.gguf"
    data = bytearray(model.read_bytes())
    data[-(1 << 15) :] = bytes(1 << 15)
    model.write_bytes(data)
    _write_matrix(tiny)
    assert "cause    model: another file is loaded: model.sha256 differs\n" in _explained(tiny)


def test_another_rendering_is_the_template(tiny: Workspace) -> None:
    """The text of the chat differs before any token does."""
    file, golden = _golden(tiny, CHAT)
    golden["rendered"] = [line.replace("user", "human") for line in golden["rendered"]]
    file.write_text(json.dumps(golden), "utf-8")
    assert "cause    template: the chat is rendered as another text" in _explained(tiny, CHAT)


def test_other_tokens_of_the_prompt_are_the_tokenizer(tiny: Workspace) -> None:
    """The text is the same."""
    file, golden = _golden(tiny, TEXT)
    golden["prompt_tokens"] = golden["prompt_tokens"][:-1]
    file.write_text(json.dumps(golden), "utf-8")
    assert "cause    tokenizer: the same text has other prompt tokens" in _explained(tiny)
