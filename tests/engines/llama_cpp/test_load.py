"""`load` takes one model file with explicit settings, or refuses it with a reason."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.host import usable_cores
from repro_gate.protocol import Method
from tests.fakes.driven_engine import limited_engine, load_params
from tests.fakes.model_kinds import make_kind

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import LoadParams, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

_STATE = {"device": 1, "inode": 1, "size": 1, "modified_ns": 1, "changed_ns": 1}
_LORA = {"path": "/a", "sha256": None, "scale": 1}


def test_the_answer_has_the_model_and_its_placement(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """Two layers and the output layer are on the CPU, as requested."""
    made = tiny_model("tiny-qwen2")
    answer = fresh_engine.load(made.path)
    facts = answer.pop("facts")
    status = made.path.stat()
    assert answer == {
        "sha256": made.sha256,
        "size": made.size,
        "layers": 3,
        "layers_on_device": 3,
        "notes": [],
        "concurrency": min(16, usable_cores()),
        "room_for_another": True,
        "file": {
            "device": status.st_dev,
            "inode": status.st_ino,
            "size": made.size,
            "modified_ns": status.st_mtime_ns,
            "changed_ns": status.st_ctime_ns,
        },
    }
    assert {name: value for name, value in facts.items() if name.startswith("model.")} == {
        "model.sha256": made.sha256,
        "model.size_bytes": str(made.size),
        "model.description": "qwen2 ?B all F32",
        "model.parameters": "156224",
        "model.architecture": "qwen2",
        "model.name": "tiny-qwen2",
        "model.file_type": "all F32",
        "model.tokenizer": "gpt2 qwen2",
        "model.vocabulary": "640",
        "model.end_of_generation": "637 639",
    }


def test_effective_settings_are_reported(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """llama.cpp rounds a context of 300 tokens up to 512, and the facts show it."""
    facts = fresh_engine.load(
        tiny_model("tiny-phi3").path,
        n_ctx=300, n_batch=128, threads=2, flash_attention=True, kv_type="f16", repack=False,
    )["facts"]  # fmt: skip
    assert {name: value for name, value in facts.items() if name.startswith("setting.")} == {
        "setting.device": "CPU",
        "setting.n_ctx": "512",
        "setting.n_batch": "128",
        "setting.n_ubatch": "128",
        "setting.n_seq_max": "1",
        "setting.threads": "2",
        "setting.threads_batch": "2",
        "setting.flash_attention": "true",
        "setting.kv_type": "f16",
        "setting.kv_unified": "false",
        "setting.load_mode": "mmap",
        "setting.no_host": "false",
        "setting.offload_kqv": "false",
        "setting.op_offload": "false",
        "setting.repack": "false",
        "setting.rope": "model",
        "setting.split_mode": "none",
        "setting.swa_full": "true",
    }


def test_a_second_model_replaces_the_first(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """What a model generates does not depend on the models before it."""
    fresh_engine.load(tiny_model("tiny-phi3").path)
    alone = fresh_engine.generate()
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    other = fresh_engine.generate()
    fresh_engine.load(tiny_model("tiny-phi3").path)
    assert fresh_engine.generate() == alone
    assert other != alone


def test_the_expected_digest_is_accepted(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", engine_load_params: "LoadParams"
) -> None:
    """The right sha256 loads."""
    made = tiny_model("tiny-qwen2")
    params = engine_load_params(made.path) | {"sha256": made.sha256}
    assert fresh_engine.ask(Method.LOAD, **params)["sha256"] == made.sha256


def test_another_digest_is_refused_before_llama_cpp_reads_the_file(
    idle_engine: "DrivenEngine", tmp_path: Path, engine_load_params: "LoadParams"
) -> None:
    """A file that is not a model is identified by its digest, not by its content."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    params = engine_load_params(path) | {"sha256": "0" * 64}
    assert idle_engine.refusal(Method.LOAD, **params) == (
        "digest_mismatch",
        f"{path}: expected sha256 {'0' * 64}, found {empty}",
    )


def test_a_file_in_its_known_state_is_not_read_again(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker", engine_load_params: "LoadParams"
) -> None:
    """So a wrong digest is believed; in any other state it is a mismatch."""
    made = tiny_model("tiny-qwen2")
    state = fresh_engine.load(made.path)["file"]
    params = engine_load_params(made.path) | {"sha256": "0" * 64}
    known = fresh_engine.ask(Method.LOAD, **params, file=state)
    assert (known["sha256"], known["file"]) == ("0" * 64, state)
    for name in state:
        other = state | {name: state[name] + 1}
        assert fresh_engine.refusal(Method.LOAD, **params, file=other)[0] == "digest_mismatch"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "not a GGUF file"),
        (lambda data: data[:-4] + b"\x00\x00\xc0\x7f", "'output.weight' has invalid data"),
    ],
    ids=["lfs-pointer", "nan-weight"],
)
def test_a_damaged_model_is_invalid(
    *,
    idle_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    tmp_path: Path,
    engine_load_params: "LoadParams",
    damage: Any,
    reason: str,
) -> None:
    """The message has llama.cpp's reason, and the engine keeps running."""
    sound = tiny_model("tiny-qwen2").path
    path = tmp_path / "model.gguf"
    path.write_bytes(damage(sound.read_bytes()))
    kind, message = idle_engine.refusal(Method.LOAD, **engine_load_params(path))
    assert kind == "model_invalid"
    assert reason in message
    assert idle_engine.load(sound)["layers"] == 3


@pytest.mark.parametrize("kind_of_file", ["missing", "folder", "pipe"])
def test_what_is_not_a_file_is_invalid(
    idle_engine: "DrivenEngine",
    tmp_path: Path,
    engine_load_params: "LoadParams",
    kind_of_file: str,
) -> None:
    """The message names the path and the fault; opening a pipe does not block."""
    path = tmp_path / "model.gguf"
    if kind_of_file == "folder":
        path.mkdir()
    elif kind_of_file == "pipe":
        os.mkfifo(path)
    reasons = {
        "missing": f"{path}: No such file or directory",
        "folder": f"{path}: a folder; name a model file in it",
        "pipe": f"{path}: not a regular file",
    }
    assert idle_engine.refusal(Method.LOAD, **engine_load_params(path)) == (
        "model_invalid",
        reasons[kind_of_file],
    )


def test_a_lack_of_memory_is_not_blamed_on_the_model(
    engine_without_memory: "DrivenEngine",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
) -> None:
    """A KV cache of 16 GiB does not fit in 12, and the engine keeps running."""
    path = tiny_model("tiny-phi3").path
    params = engine_load_params(path, n_ctx=2**24)
    kind, message = engine_without_memory.refusal(Method.LOAD, **params)
    assert kind == "device_unavailable"
    assert message.startswith("no memory for the context: ")
    assert engine_without_memory.load(path)["layers"] == 3


def test_a_lack_of_threads_is_not_blamed_on_the_model(
    tiny_model: "ModelMaker", engine_load_params: "LoadParams"
) -> None:
    """A stack of 4 GiB for a thread does not fit in an address space of 4 GiB."""
    params = engine_load_params(tiny_model("tiny-phi3").path, contexts=1)
    with closing(limited_engine(2**32, stack=2**32)) as engine:
        kind, message = engine.refusal(Method.LOAD, **params)
    assert (kind, message.partition(": ")[0]) == (
        "device_unavailable",
        "no memory or threads for the model",
    )


def test_a_refused_model_leaves_none_loaded(
    fresh_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    tmp_path: Path,
    engine_load_params: "LoadParams",
) -> None:
    """The tokens of the old model cannot be mistaken for those of the new one."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    params = engine_load_params(tmp_path / "missing.gguf")
    assert fresh_engine.refusal(Method.LOAD, **params)[0] == "model_invalid"
    kind, message = fresh_engine.refusal(Method.SCORE, prompt="a", response=[1])
    assert (kind, message) == ("bad_request", "no model is loaded")


def test_a_model_is_loaded_on_no_other_device_than_requested(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker", engine_load_params: "LoadParams"
) -> None:
    """llama.cpp itself would accept a missing GPU, and use the CPU."""
    params = engine_load_params(tiny_model("tiny-qwen2").path) | {"device": "cuda:99"}
    assert idle_engine.refusal(Method.LOAD, **params)[0] == "device_unavailable"


def test_a_prompt_is_computed_in_parts_of_n_ubatch(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The size in force is a fact, and a prompt longer than it is accepted."""
    loaded = fresh_engine.load(tiny_model("tiny-qwen2").path, n_ubatch=2)
    assert loaded["facts"]["setting.n_ubatch"] == "2"
    prompt = [1, 2, 3, 4, 5]
    assert len(fresh_engine.ask(Method.SCORE, prompt=prompt, response=[6])["logprobs"]) == 1


@pytest.mark.parametrize(
    ("kinds", "flash_attention", "place", "named"),
    [
        (("q8_0", "q8_0"), True, "kv_type", "K cache type q8_0"),
        (("q4_1", "f16"), False, "kv_type_k", "K cache type q4_1"),
        (("f16", "q5_0"), True, "kv_type_v", "V cache type q5_0"),
    ],
)
def test_a_quantized_cache_needs_heads_of_whole_blocks(
    *,
    idle_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
    kinds: tuple[str, str],
    flash_attention: bool,
    place: str,
    named: str,
) -> None:
    """Without flash attention llama.cpp would generate nonsense."""
    params = engine_load_params(tiny_model("tiny-qwen2").path, flash_attention=flash_attention)
    del params["settings"]["kv_type"]
    params["settings"] |= {"kv_type_k": kinds[0], "kv_type_v": kinds[1]}
    kind, message = idle_engine.refusal(Method.LOAD, **params)
    assert kind == "bad_request"
    assert message.startswith(f"settings.{place}: {named} with block size 32 does not divide n_em")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n_gpu_layers": 1}, "the unknown key 'n_gpu_layers'"),
        ({"n_ctx": 0}, "settings.n_ctx: expected "),
        ({"n_ctx": 256.0}, "settings.n_ctx: expected "),
        ({"n_ctx": "256"}, "settings.n_ctx: expected "),
        ({"n_ctx": True}, "settings.n_ctx: expected "),
        ({"n_batch": 257}, "settings.n_batch: expected "),
        ({"n_ubatch": 257}, "settings.n_ubatch: expected at most n_batch, which is 256, "),
        ({"n_ubatch": 0}, "settings.n_ubatch: expected "),
        ({"threads": 513}, "settings.threads: expected "),
        ({"flash_attention": 1}, "settings.flash_attention: expected "),
        ({"kv_type": "q8_0"}, "settings.kv_type: expected f32, f16 or bf16, or fl"),
        ({"kv_type": "i8"}, "settings.kv_type: expected "),
        ({"kv_type": ["f32"]}, "settings.kv_type: expected "),
        ({"repack": None}, "settings.repack: expected "),
        ({"contexts": 0}, "settings.contexts: expected "),
        ({"contexts": 65}, "settings.contexts: expected "),
        ({"contexts": None}, "settings.contexts: expected "),
        ({"gpu_layers": 1}, "settings.gpu_layers: expected no such setting for the device cpu"),
        ({"gpus": 2}, "settings.gpus: expected no such setting for the device cpu"),
        ({"main_gpu": 1}, "the unknown key 'main_gpu'"),
    ],
)
def test_an_invalid_setting_is_named(
    idle_engine: "DrivenEngine",
    tmp_path: Path,
    engine_load_params: "LoadParams",
    settings: dict[str, Any],
    named: str,
) -> None:
    """A wrong setting is a bad request, before any file is read."""
    params = engine_load_params(tmp_path / "missing.gguf", **settings)
    kind, message = idle_engine.refusal(Method.LOAD, **params)
    assert kind == "bad_request"
    assert named in message


@pytest.mark.parametrize("name", ["n_ctx", "n_batch", "threads", "flash_attention", "kv_type"])
def test_every_setting_is_required(
    idle_engine: "DrivenEngine", tmp_path: Path, engine_load_params: "LoadParams", name: str
) -> None:
    """No setting is left to a default that another version may change."""
    params = engine_load_params(tmp_path / "missing.gguf")
    del params["settings"][name]
    assert idle_engine.refusal(Method.LOAD, **params) == (
        "bad_request",
        f"settings: expected the key {name!r}, found none",
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"path": "model.gguf"}, "load.path: expected "),
        ({"path": "/tmp/\0"}, "load.path: expected "),  # noqa: S108 -- never opened
        ({"path": "/\ud800"}, "load.path: expected "),
        ({"sha256": "ABC"}, "load.sha256: expected "),
        ({"sha256": 1}, "load.sha256: expected "),
        ({"settings": []}, "settings"),
        ({"concurrency": 0}, "load.concurrency: expected "),
        ({"concurrency": 1025}, "load.concurrency: expected "),
        ({"sha256": "0" * 64, "file": {"inode": 1}}, "load.file: expected "),
        ({"sha256": "0" * 64, "file": _STATE | {"size": "1"}}, "load.file.size: expected "),
        ({"file": _STATE}, "load.file: expected only together with a sha256"),
        ({"adapter": "x"}, "the unknown key 'adapter'"),
        ({"lora": "x"}, "load.lora: expected a list"),
        ({"lora": [_LORA | {"path": "a"}]}, "load.lora[0].path: expected an absolute path"),
        ({"lora": [_LORA, _LORA | {"scale": 0}]}, "load.lora[1].scale: expected another number"),
        ({"lora": [_LORA | {"scale": 1e9}]}, "load.lora[0].scale: expected "),
        ({"lora": [_LORA | {"sha256": "ABC"}]}, "load.lora[0].sha256: expected "),
        ({"lora": [{"path": "/a"}]}, "load.lora[0]: expected "),
    ],
)
def test_an_invalid_parameter_is_named(
    idle_engine: "DrivenEngine",
    tmp_path: Path,
    engine_load_params: "LoadParams",
    change: dict[str, Any],
    named: str,
) -> None:
    """A wrong parameter is a bad request."""
    params = engine_load_params(tmp_path / "missing.gguf") | change
    kind, message = idle_engine.refusal(Method.LOAD, **params)
    assert kind == "bad_request"
    assert named in message


def test_flash_attention_is_refused_where_llama_cpp_switches_it_off(
    idle_engine: "DrivenEngine", tmp_path: Path
) -> None:
    """The golden would have a setting that was not in effect."""
    path = make_kind("grok", tmp_path / "grok.gguf").path
    params = load_params(path, flash_attention=True, kv_type="f16")

    kind, message = idle_engine.refusal(Method.LOAD, **params)
    assert (kind, "flash_attention: expected false for grok" in message) == ("bad_request", True)
    assert idle_engine.load(path)["notes"] == []
