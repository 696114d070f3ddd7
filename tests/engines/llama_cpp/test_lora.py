"""LoRA adapters change the tokens of a model, and what is none is refused."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import Method
from tests.fakes.adapters import adapter
from tests.fakes.driven_engine import CELL, load_params
from tests.fakes.odd_models import tied

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

MATRIX = "blk.0.attn_q.weight"
NORM = "blk.0.attn_norm.weight"
BIAS = "blk.0.attn_q.bias"
EMBEDDING = "token_embd.weight"


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def params(model: Path, *adapters: tuple[Path, float], **settings: Any) -> dict[str, Any]:
    """Return the parameters of a load with adapters and their scales."""
    lora = [{"path": str(path), "sha256": None, "scale": scale} for path, scale in adapters]
    return {**load_params(model, **settings), "lora": lora}


def output(engine: "DrivenEngine", *loaded: Any, **settings: Any) -> Any:
    """Return the generation and the score of a model with adapters."""
    engine.ask(Method.LOAD, **params(*loaded, **settings))
    scored = engine.ask(Method.SCORE, prompt="The quick", response=" brown fox")
    return engine.generate(trace=True, logits=True), scored["logprobs"]


@pytest.fixture(name="model")
def _model(tiny_model: "ModelMaker") -> Path:
    """Return the model that the adapters are for."""
    return tiny_model("tiny-qwen2").path


def test_an_adapter_changes_tokens_and_scores(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path
) -> None:
    """Each scale otherwise, and every time alike; without adapters the model is itself again."""
    first = adapter(tmp_path / "a.gguf", model)
    plain = output(idle_engine, model)
    whole, half = (output(idle_engine, model, (first, scale)) for scale in (1.0, 0.5))

    assert len({str(each[0]["tokens"]) for each in (plain, whole, half)}) == 3
    assert len({str(each[1]) for each in (plain, whole, half)}) == 3
    assert output(idle_engine, model, (first, 0.5)) == half
    assert output(idle_engine, model) == plain


def test_adapters_add_up(idle_engine: "DrivenEngine", model: Path, tmp_path: Path) -> None:
    """Two of them give other tokens than each alone, and an opposite scale takes one away."""
    one, two = (adapter(tmp_path / f"{seed}.gguf", model, seed=seed) for seed in (1, 2))
    alone = [output(idle_engine, model, (each, 1.0)) for each in (one, two)]
    both = output(idle_engine, model, (one, 1.0), (two, 1.0))
    undone = output(idle_engine, model, (one, 1.0), (two, 1.0), (two, -1.0))

    assert both[0]["tokens"] not in [each[0]["tokens"] for each in alone]
    assert undone[0]["tokens"] == alone[0][0]["tokens"]


def test_every_context_has_the_adapters(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path
) -> None:
    """Requests side by side are answered as the first one is."""
    first = adapter(tmp_path / "a.gguf", model)
    expected = output(idle_engine, model, (first, 1.0))[0]
    idle_engine.ask(Method.LOAD, **params(model, (first, 1.0), contexts=3))
    alike = [{**CELL, "trace": True, "logits": True}] * 6

    found = idle_engine.ask_together([(Method.GENERATE, cell) for cell in alike])

    assert found == [expected] * 6


def test_the_facts_name_each_adapter(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path
) -> None:
    """Digest and scale, in the order in which they were sent."""
    one, two = (adapter(tmp_path / f"{seed}.gguf", model, seed=seed) for seed in (1, 2))
    loaded = idle_engine.ask(Method.LOAD, **params(model, (two, 1), (one, -0.25)))

    facts = {name: text for name, text in loaded["facts"].items() if ".lora." in name}
    assert facts == {
        "model.lora.1.sha256": sha256(two),
        "model.lora.1.scale": "1.0",
        "model.lora.2.sha256": sha256(one),
        "model.lora.2.scale": "-0.25",
    }
    assert loaded["notes"] == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "llama"}, "an adapter for llama, but the model is qwen2"),
        ({"kind": "model"}, "expected a LoRA adapter, found general.type = model"),
        ({"rows": 4}, f"tensor '{MATRIX}' has incorrect shape"),
        ({"names": {MATRIX: "blk.9.attn_q.weight"}}, "'blk.9.attn_q.weight' does not exist"),
        ({"alpha": 8}, "adapter.lora.alpha is not a float of 32 bits"),
        ({"names": {}, "further_tensors": {NORM: (4,)}}, "it has no effect"),
        ({"names": {}}, "it has no effect"),
        ({"names": {NORM: NORM, BIAS: BIAS}}, "it has no effect"),
        ({"further_tensors": {"odd": (4,)}}, "LoRA tensor 'odd' has unexpected suffix"),
        ({"further": {"split.count": 2}}, "one of several parts"),
        ({"further": {"adapter.alora.invocation_tokens": [1, 2]}}, "an activated LoRA (aLoRA)"),
    ],
)
def test_what_would_not_apply_as_served_is_refused(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path, changes: Any, reason: str
) -> None:
    """In one sentence with the path, and the engine continues."""
    path = adapter(tmp_path / "odd.gguf", model, **changes)
    kind, message = idle_engine.refusal(Method.LOAD, **params(model, (path, 1.0)))

    assert kind == "model_invalid"
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert output(idle_engine, model)


def test_a_file_that_is_no_adapter_is_refused(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path
) -> None:
    """A model, a text, nothing at all, and another file than the one that is wanted."""
    text = tmp_path / "text.gguf"
    text.write_text("version https://git-lfs.github.com/spec/v1\n", "utf-8")
    missing = tmp_path / "missing.gguf"
    wanted = params(model, (adapter(tmp_path / "a.gguf", model), 1.0))
    wanted["lora"][0]["sha256"] = "0" * 64

    for path, reason in ((model, "expected a LoRA"), (text, "not a GGUF"), (missing, "No such")):
        kind, message = idle_engine.refusal(Method.LOAD, **params(model, (path, 1.0)))
        assert (kind, message.startswith(f"{path}: {reason}")) == ("model_invalid", True)
    assert idle_engine.refusal(Method.LOAD, **wanted)[0] == "digest_mismatch"


def test_what_llama_cpp_leaves_out_of_an_adapter_is_noted(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path
) -> None:
    """It skips norms and biases without a word."""
    names = {MATRIX: MATRIX, BIAS: BIAS}
    path = adapter(tmp_path / "a.gguf", model, names=names, further_tensors={NORM: (64,)})
    (note,) = idle_engine.ask(Method.LOAD, **params(model, (path, 1.0)))["notes"]

    assert note.startswith(f"llama.cpp ignores 3 tensors of the adapter a.gguf, such as {BIAS}")


def test_an_adapter_of_an_embedding_that_is_the_output_layer_is_refused(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path
) -> None:
    """llama.cpp would end the process at the first decode."""
    untied, same = output(idle_engine, model), tied(tmp_path / "tied.gguf")
    shapes = {f"{EMBEDDING}.lora_a": (640, 4), f"{EMBEDDING}.lora_b": (64, 4)}
    path = adapter(tmp_path / "a.gguf", model, further_tensors=shapes)
    kind, message = idle_engine.refusal(Method.LOAD, **params(same, (path, 1.0)))

    assert (kind, EMBEDDING in message) == ("model_invalid", True)
    assert output(idle_engine, model, (path, 1.0)) != untied


def test_adapters_whose_order_is_open_are_noted(
    idle_engine: "DrivenEngine", model: Path, tmp_path: Path
) -> None:
    """llama.cpp keeps the order of two."""
    paths = [adapter(tmp_path / f"{seed}.gguf", model, seed=seed) for seed in (1, 2, 3)]
    scaled = [(path, 1.0) for path in paths]
    (note,) = idle_engine.ask(Method.LOAD, **params(model, *scaled))["notes"]

    assert "more than 2 adapters in another order" in note
    assert idle_engine.ask(Method.LOAD, **params(model, *scaled[:2]))["notes"] == []
