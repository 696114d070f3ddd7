"""Files that cannot generate text are refused when they are loaded, with a reason and a remedy."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro_gate.protocol import Method
from repro_gate.tiny_models.architectures import Tensor
from tests.fakes.model_kinds import make_kind
from tests.fakes.odd_models import bert, renamed, tiny_with

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import LoadParams, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

Damage: TypeAlias = Callable[[bytes], bytes]
ENCODER = "this is an encoder (bert), which makes embeddings, not text; use a causal language model"
_RAW = re.compile(r"gguf_init|llama_model_load|error loading|Traceback|refuses the model")
"""What llama.cpp and Python write for their own developers."""


@pytest.mark.parametrize("pooling", [None, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("is_causal", [None, False, True])
def test_an_encoder_is_refused_despite_incomplete_metadata(
    *,
    idle_engine: "DrivenEngine",
    engine_load_params: "LoadParams",
    tmp_path: Path,
    pooling: int | None,
    is_causal: bool | None,
) -> None:
    """No pooling type and no missing or wrong causality key makes a BERT generate."""
    path = bert(tmp_path / "bert.gguf", pooling=pooling, is_causal=is_causal)

    assert idle_engine.refusal(Method.LOAD, **engine_load_params(path)) == (
        "model_invalid",
        f"{path}: {ENCODER}",
    )


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("clip", "this is the image or audio part of a model (mmproj); use the file of the lang"),
        ("eagle3", "this is a draft model of speculative decoding; use the file of the model that"),
        ("dflash", "this is a draft model of speculative decoding"),
        ("wavtokenizer-dec", "this is a part of a model that makes sound, not text; use a causal"),
        (
            "dream",
            "a diffusion model (dream), which does not generate one token after another; use",
        ),
        ("llada", "a diffusion model (llada)"),
        ("gemma-embedding", "this is an encoder (gemma-embedding), which makes embeddings"),
        ("t5encoder", "this is an encoder (t5encoder), which makes embeddings"),
    ],
)
def test_an_architecture_that_generates_no_text_is_refused(
    *,
    idle_engine: "DrivenEngine",
    engine_load_params: "LoadParams",
    tmp_path: Path,
    architecture: str,
    message: str,
) -> None:
    """The message names what the file is, and what to use."""
    path = renamed(tmp_path / "model.gguf", architecture)
    kind, found = idle_engine.refusal(Method.LOAD, **engine_load_params(path))

    assert kind == "model_invalid"
    assert message in found


def test_an_embedded_model_is_no_embedding_model(
    idle_engine: "DrivenEngine", tmp_path: Path
) -> None:
    """PanGu-Embedded is a causal language model for embedded devices."""
    bias = Tensor(name="attn_output.bias", shape=(64,), exponent=-2)
    idle_engine.load(renamed(tmp_path / "model.gguf", "pangu-embedded", bias))

    assert idle_engine.generate()["tokens"]


def test_a_model_whose_attention_is_not_causal_is_refused(
    idle_engine: "DrivenEngine", engine_load_params: "LoadParams", tmp_path: Path
) -> None:
    """Also a model of an architecture that is usually causal."""
    path = tiny_with(tmp_path / "model.gguf", {"qwen2.attention.causal": False})
    kind, message = idle_engine.refusal(Method.LOAD, **engine_load_params(path))

    assert kind == "model_invalid"
    assert message.startswith("the attention of the model is not causal (qwen2)")


@pytest.mark.parametrize("pooling", [1, 2, 3, 4])
def test_a_causal_model_for_embeddings_is_refused(
    idle_engine: "DrivenEngine", engine_load_params: "LoadParams", tmp_path: Path, pooling: int
) -> None:
    """It generates, but its text is not what it is for."""
    path = tiny_with(tmp_path / "model.gguf", {"qwen2.pooling_type": pooling})

    kind, message = idle_engine.refusal(Method.LOAD, **engine_load_params(path))

    assert kind == "model_invalid"
    assert f"is for embeddings or ranking (qwen2.pooling_type = {pooling})" in message


def test_a_model_that_names_no_pooling_generates_as_without_it(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker", tmp_path: Path
) -> None:
    """The type 0 is none."""
    idle_engine.load(tiny_model("tiny-qwen2").path)
    expected = idle_engine.generate()
    idle_engine.load(tiny_with(tmp_path / "model.gguf", {"qwen2.pooling_type": 0}))

    assert idle_engine.generate() == expected


def test_heads_that_llama_cpp_reads_beyond_are_refused(
    idle_engine: "DrivenEngine", engine_load_params: "LoadParams", tmp_path: Path
) -> None:
    """Smaller ones gave other tokens in each process, infinities, or a segmentation fault."""
    changes: dict[str, Any] = {"wkv.head_size": 16}
    path = make_kind("rwkv7", tmp_path / "model.gguf", **changes).path
    kind, message = idle_engine.refusal(Method.LOAD, **engine_load_params(path))

    assert kind == "model_invalid"
    assert message.startswith("rwkv7.wkv.head_size: expected a multiple of 64")


def test_a_model_with_equal_logits_is_refused(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker", tmp_path: Path
) -> None:
    """With an output of zeros, greedy decoding would repeat token 0 forever."""
    data = tiny_model("tiny-qwen2").path.read_bytes()
    path = tmp_path / "model.gguf"
    path.write_bytes(data[: -640 * 64 * 4] + bytes(640 * 64 * 4))
    idle_engine.load(path)
    cell = {"prompt": "The", "seed": 1, "max_tokens": 2, "temperature": 0, "trace": False}
    sampler = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}

    for answer in (
        idle_engine.refusal(Method.GENERATE, **cell, **sampler),
        idle_engine.refusal(Method.SCORE, prompt="The", response=" quick"),
    ):
        assert answer[0] == "model_invalid"
        assert answer[1].startswith("all logits after position ")


def _version(number: int, order: Literal["little", "big"] = "little") -> Damage:
    return lambda data: data[:4] + number.to_bytes(4, order) + data[8:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "the file is empty; fetch the file again"),
        (lambda _: b"tjgg" + bytes(400), "a GGML file from before GGUF; convert"),
        (lambda data: b"JUNK" + data[4:], "not a GGUF file: it starts with b'JUNK'"),
        (lambda data: data[:20], "the file ends within its header; fetch the file again"),
        (lambda data: data[:40], "the file ends or is damaged within its header; fetch"),
        (lambda data: data[:-1], "the file ends before its tensor 'output.weight', so it is trunc"),
        (_version(1), "GGUF version 1, which llama.cpp dropped; convert"),
        (_version(4), "GGUF version 4, but this llama.cpp reads up to 3; update"),
        (_version(3, "big"), "a big-endian GGUF file; convert"),
        (lambda data: data.replace(b"qwen2", b"qwenX"), "llama.cpp does not know its architecture"),
    ],
    ids=["empty", "ggml", "magic", "short", "header", "tensor", "v1", "v4", "big-endian", "qwenX"],
)
def test_a_damaged_file_is_refused_with_its_fault(
    *,
    idle_engine: "DrivenEngine",
    engine_load_params: "LoadParams",
    tiny_model: "ModelMaker",
    tmp_path: Path,
    damage: Any,
    message: str,
) -> None:
    """The message has the file, the fault and the remedy, and no raw library output."""
    path = tmp_path / "model.gguf"
    path.write_bytes(damage(tiny_model("tiny-qwen2").path.read_bytes()))
    kind, found = idle_engine.refusal(Method.LOAD, **engine_load_params(path))

    assert kind == "model_invalid"
    assert found.startswith(f"{path}: ")
    assert message in found
    assert not _RAW.search(found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general.type": "adapter"}, "this is an adapter (LoRA)"),
        ({"general.type": "mmproj"}, "this is the image or audio part of a model (mmproj)"),
        ({"general.type": "imatrix"}, "this is an importance matrix"),
        ({"tokenizer.ggml.pre": "mine"}, "does not know its pre-tokenizer 'mine'; update"),
        ({"tokenizer.ggml.model": "none"}, "the file has no tokenizer, so no prompt; convert"),
        ({"qwen2.block_count": 3}, "the file lacks the tensor 'blk.2.attn_norm.weight'"),
        ({"qwen2.block_count": None}, "llama.cpp cannot load it: "),
    ],
    ids=["lora", "mmproj", "imatrix", "pre-tokenizer", "tokens", "tensor", "other"],
)
def test_a_file_of_another_kind_is_refused_by_its_kind(
    idle_engine: "DrivenEngine",
    engine_load_params: "LoadParams",
    tmp_path: Path,
    changes: Any,
    message: str,
) -> None:
    """The kind is read from its metadata."""
    path = tiny_with(tmp_path / "model.gguf", changes)
    kind, found = idle_engine.refusal(Method.LOAD, **engine_load_params(path))

    assert kind == "model_invalid"
    assert message in found
    assert not _RAW.search(found)


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_damage_to_a_header_ends_the_engine(
    idle_engine: "DrivenEngine",
    engine_load_params: "LoadParams",
    tiny_model: "ModelMaker",
    tmp_path: Path,
    data: st.DataObject,
) -> None:
    """A file with a few wrong bytes in its header loads or is refused, and nothing crashes."""
    content = bytearray(tiny_model("tiny-qwen2").path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    idle_engine.send(Method.LOAD, engine_load_params(path))

    answer = idle_engine.receive("load_answer")
    assert "result" in answer or answer["error"]["kind"] in {"model_invalid", "device_unavailable"}
