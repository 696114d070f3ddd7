"""Every setting reaches llama.cpp, or is refused for the model."""

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.devices.targets import Device, Target
from repro_gate.engines.llama_cpp.lora import Lora
from repro_gate.engines.llama_cpp.native_log import Level
from repro_gate.engines.llama_cpp.notes import load_notes
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.engines.model_file import read_model_file
from repro_gate.protocol import Method, Refusal, RequestRefused
from repro_gate.settings import Settings
from tests.fakes.adapters import adapter
from tests.fakes.driven_engine import load_params
from tests.fakes.model_kinds import make_kind
from tests.fakes.odd_models import tiny_with

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import LoadParams, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

_YARN = {"rope_scaling": "yarn", "rope_freq_scale": 0.25}


def _load(path: Path, *, is_cpu: bool = True, **changes: Any) -> Session:
    """Load a model on the CPU, which may stand in for a GPU."""
    settings = load_params(path, contexts=1, **changes)["settings"]
    if "kv_type_k" in settings:
        del settings["kv_type"]
    parsed = Settings.parse(settings, is_cpu=is_cpu)
    native.start()
    backend = "cpu" if is_cpu else "cuda"
    cpu = Device(handle=native.get_device(0), name="CPU", description="", backend=backend, index=0)
    target = Target(devices=(cpu,), offload=parsed.offload)
    return Session(read_model_file(path, expected=None), target, parsed)


def test_a_file_that_changes_after_its_digest_was_taken_is_refused(
    tiny_model: "ModelMaker", tmp_path: Path
) -> None:
    """The model as well as an adapter."""
    with closing(_load(made := tiny_model("tiny-qwen2").path)) as loaded:
        device, settings = loaded.device, loaded.settings
    model = Path(shutil.copy(made, tmp_path))
    file = read_model_file(model, expected=None)
    lora = read_model_file(adapter(tmp_path / "a.gguf", model), expected=None)
    adapter(lora.path, model, seed=2)
    with pytest.raises(RequestRefused, match=r"a\.gguf: changed while it was being loaded"):
        Session(file, device, settings, lora=[Lora(file=lora, scale=1.0)])

    os.utime(model, ns=(1, 1))
    with pytest.raises(RequestRefused, match=f"{model}: changed while it was being loaded"):
        Session(file, device, settings)


@pytest.fixture(name="seen")
def _seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the parameters of the last model and context, once a session has made them."""
    seen: dict[str, Any] = {}

    def load(_path: bytes, params: Any, load: Any = native.load_model) -> Any:
        seen.update({name: getattr(params, name) for name in ("load_mode", "use_extra_bufts")})
        return load(_path, params)

    def make(model: Any, params: Any) -> None:
        seen.update({name: getattr(params, name) for name, *_ in params._fields_})

    monkeypatch.setattr(native, "load_model", load)
    monkeypatch.setattr(native, "new_context", make)
    return seen


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"rope_scaling_type": -1, "rope_freq_base": 0, "rope_freq_scale": 0}),
        ({}, {"yarn_ext_factor": -1, "yarn_attn_factor": -1, "yarn_orig_ctx": 0}),
        ({}, {"yarn_beta_fast": -1, "yarn_beta_slow": -1, "swa_full": True, "load_mode": -1}),
        ({"threads": 2}, {"n_threads": 2, "n_threads_batch": 2}),
        ({"threads_batch": 3}, {"n_threads": 1, "n_threads_batch": 3}),
        ({"kv_type_k": "bf16", "kv_type_v": "f16"}, {"type_k": 30, "type_v": 1}),
        ({"swa_full": False}, {"swa_full": False}),
        ({"rope_freq_base": 5000}, {"rope_freq_base": 5000}),
        ({"rope_scaling": "none"}, {"rope_scaling_type": 0}),
        (_YARN | {"rope_scaling": "linear"}, {"rope_scaling_type": 1, "rope_freq_scale": 0.25}),
        (_YARN | {"yarn_beta_fast": 16}, {"rope_scaling_type": 2, "yarn_beta_fast": 16}),
        (_YARN | {"yarn_beta_slow": 2}, {"rope_scaling_type": 2, "yarn_beta_slow": 2}),
        (_YARN | {"yarn_orig_ctx": 64}, {"yarn_ext_factor": -1, "yarn_orig_ctx": 64}),
        (
            {"yarn_ext_factor": 0, "yarn_attn_factor": 2},
            {"yarn_ext_factor": 0, "yarn_attn_factor": 2},
        ),
        ({"flash_attention": True}, {"flash_attn_type": 1, "use_extra_bufts": True}),
        ({"repack": False}, {"flash_attn_type": 0, "use_extra_bufts": False}),
        ({"load_mode": "none"}, {"load_mode": 0}),
        ({"load_mode": "mmap"}, {"load_mode": 1}),
        ({"load_mode": "mlock"}, {"load_mode": 2}),
        ({"load_mode": "mmap+mlock"}, {"load_mode": 3}),
        ({}, {"offload_kqv": False, "op_offload": False}),
        ({"is_cpu": False}, {"offload_kqv": True, "op_offload": True}),
        ({"is_cpu": False, "offload_kqv": False}, {"offload_kqv": False, "op_offload": True}),
        ({"is_cpu": False, "op_offload": False}, {"offload_kqv": True, "op_offload": False}),
    ],
)
def test_llama_cpp_gets_every_value(
    seen: dict[str, Any],
    tiny_model: "ModelMaker",
    settings: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    """What is not given is left to the model file, or has the default of the gate."""
    with pytest.raises(RequestRefused):
        _load(tiny_model("tiny-qwen2").path, **settings)

    assert {name: seen[name] for name in expected} == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"rope_freq_base": 500},
        _YARN,
        _YARN | {"rope_scaling": "linear"},
        _YARN | {"yarn_ext_factor": 0.5},
        {"yarn_ext_factor": 0, "yarn_attn_factor": 1.5},
    ],
)
def test_positions_as_the_settings_say_change_the_tokens(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker", settings: dict[str, Any]
) -> None:
    """And the facts show them in place of those of the model."""
    path = tiny_model("tiny-qwen2").path
    facts = idle_engine.load(path)["facts"]
    usual = idle_engine.generate(trace=True)
    changed = idle_engine.load(path, **settings)["facts"]

    assert idle_engine.generate(trace=True) != usual
    assert (facts["setting.rope"], "setting.rope" in changed) == ("model", False)
    assert {f"setting.{name}" for name in settings} == changed.keys() - facts.keys()


def test_yarn_extends_the_context_of_a_model(idle_engine: "DrivenEngine", tmp_path: Path) -> None:
    """So a longer one is not noted."""
    path = tiny_with(tmp_path / "model.gguf", {"qwen2.context_length": 128})

    assert idle_engine.load(path, **_YARN)["notes"] == []
    (note,) = idle_engine.load(path)["notes"]
    assert note.startswith("n_ctx = 256 is more than the 128 tokens")


@pytest.mark.parametrize("settings", [{"rope_freq_base": 500}, _YARN])
def test_positions_of_a_model_without_any_are_refused(
    idle_engine: "DrivenEngine",
    tmp_path: Path,
    engine_load_params: "LoadParams",
    settings: dict[str, Any],
) -> None:
    """A recurrent model needs none."""
    path = make_kind("mamba", tmp_path / "model.gguf").path
    name = next(iter(settings))

    assert idle_engine.refusal(Method.LOAD, **engine_load_params(path, **settings)) == (
        "bad_request",
        (
            f"settings.{name}: expected no such setting for a model without rotary positions, "
            "where it would have no effect"
        ),
    )


def test_how_a_file_is_read_changes_no_token(
    idle_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The mode in force is a fact."""
    path = tiny_model("tiny-phi3").path
    found = {}
    for mode in ("none", "mmap"):
        facts = idle_engine.load(path, load_mode=mode)["facts"]
        found[facts["setting.load_mode"]] = idle_engine.generate(trace=True)

    assert list(found) == ["none", "mmap"]
    assert found["none"] == found["mmap"]


@pytest.mark.parametrize("offload_kqv", [True, False])
def test_a_cache_beside_a_gpu_is_noted(tiny_model: "ModelMaker", *, offload_kqv: bool) -> None:
    """Attention may be computed there too."""
    path = tiny_model("tiny-qwen2").path
    with closing(_load(path, is_cpu=False, offload_kqv=offload_kqv)) as session:
        notes = [note for note in load_notes(session) if "KV cache" in note]

    note = (
        "the KV cache is on the CPU, not on CPU; where llama.cpp computes attention there too, "
        "results depend on both"
    )
    assert notes == [note][offload_kqv:]


def test_a_model_that_cannot_be_locked_is_refused(
    monkeypatch: pytest.MonkeyPatch, tiny_model: "ModelMaker"
) -> None:
    """llama.cpp only warns, and its pages may be swapped."""

    def load(path: bytes, params: Any, load: Any = native.load_model) -> Any:
        native.LOG.receive(Level.WARN, b"warning: failed to mlock 4096-byte buffer (after x): y\n")
        return load(path, params)

    monkeypatch.setattr(native, "load_model", load)
    with pytest.raises(RequestRefused, match=r"load_mode = mlock needs.* failed to ml") as refused:
        _load(tiny_model("tiny-qwen2").path, load_mode="mlock")

    assert refused.value.kind is Refusal.DEVICE_UNAVAILABLE
