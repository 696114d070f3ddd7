"""The engine on an NVIDIA GPU: every layer is on it, and cold runs agree to the bit."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import Method
from tests.fakes.driven_engine import CELL

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import EngineStarter, LoadParams, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

pytestmark = pytest.mark.gpu


@pytest.fixture
def describe(fresh_engine: "DrivenEngine") -> Any:
    """Return the engine's description of the first GPU; skip without one."""
    fresh_engine.send(Method.DESCRIBE, {"device": "cuda"})
    answer = fresh_engine.receive()
    if answer.get("error", {}).get("kind") == "device_unavailable":
        pytest.skip(answer["error"]["message"])
    return answer["result"]


def test_the_profile_is_architecture_and_size_of_the_gpu(describe: Any) -> None:
    """The number of multiprocessors changes how sums are split, so it is part of the name."""
    facts = describe["facts"]
    capability = facts["device.compute_capability"].replace(".", "")
    assert describe["profile"] == f"cuda-sm{capability}-{facts['device.multiprocessors']}sm"
    assert facts["device.name"] == "CUDA0"
    assert re.search(r"NVIDIA", facts["device.description"])
    assert {"device.cuda_driver", "device.nvidia_driver"} <= facts.keys()
    assert [name for name in facts if name.startswith("library.libggml-cuda.")]


@pytest.mark.parametrize("name", ["tiny-qwen2", "tiny-phi3"])
def test_every_layer_is_on_the_gpu(
    describe: Any,
    fresh_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
    name: str,
) -> None:
    """The two layers, the output layer and the KV cache are on the requested device."""
    params = engine_load_params(tiny_model(name).path) | {"device": "cuda"}
    answer = fresh_engine.ask(Method.LOAD, **params)
    assert (answer["layers"], answer["layers_on_device"]) == (3, 3)
    assert "CUDA0" in answer["facts"]["memory.model"]
    assert answer["facts"]["memory.kv"].startswith("CUDA0 ")


def test_a_cpu_run_of_a_gpu_build_stays_on_the_cpu(
    describe: Any, fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """Nothing of the model or its context is on the GPU."""
    facts = fresh_engine.load(tiny_model("tiny-qwen2").path)["facts"]
    places = [value for name, value in facts.items() if name.startswith("memory.")]
    assert not [place for place in places if "CUDA" in place]


def test_cold_runs_on_the_gpu_agree_to_the_bit(
    describe: Any,
    start_engine: "EngineStarter",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
) -> None:
    """Five runs in each of two processes have the same tokens and log-probabilities."""
    results = []
    for _ in range(2):
        engine = start_engine()
        params = engine_load_params(tiny_model("tiny-qwen2").path) | {"device": "cuda"}
        engine.ask(Method.LOAD, **params)
        results += [engine.generate(trace=True) for _ in range(5)]
    assert results == results[:1] * 10


def test_a_part_of_a_model_is_on_the_gpu(
    describe: Any,
    fresh_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
) -> None:
    """The last layers are; the profile and a note name both places."""
    params = engine_load_params(tiny_model("tiny-qwen2").path, gpu_layers=2) | {"device": "cuda"}
    answer = fresh_engine.ask(Method.LOAD, **params)
    assert (answer["layers"], answer["layers_on_device"]) == (3, 2)
    assert answer["facts"]["layers"] == "1 on CPU, 2 on CUDA0"
    assert answer["notes"][0].startswith("2 of 3 layers are on CUDA0 and the others on the CPU")
    both = fresh_engine.ask(Method.DESCRIBE, device="cuda", settings={"gpu_layers": 2})
    assert both["profile"].startswith(f"{describe['profile']}-2-layers-cpu-")


# Not `tensor`: a tiny model has too few heads for it, and llama.cpp ends its process.
@pytest.mark.parametrize("settings", [{}, {"tensor_split": [3, 1]}], ids=["equal", "uneven"])
def test_a_model_on_two_gpus_agrees_with_itself(
    describe: Any,
    start_engine: "EngineStarter",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
    settings: dict[str, Any],
) -> None:
    """Every layer is on one of them; on a machine with one GPU llama.cpp presents it as two."""
    results = []
    for _ in range(2):
        engine = start_engine(GGML_CUDA_DEVICES="2")
        path = tiny_model("tiny-qwen2").path
        params = engine_load_params(path, gpus=2, **settings) | {"device": "cuda"}
        answer = engine.ask(Method.LOAD, **params)
        assert (answer["layers"], answer["layers_on_device"]) == (3, 3)
        two = engine.ask(Method.DESCRIBE, device="cuda", settings={"gpus": 2})
        assert two["profile"] == f"{describe['profile']}-x2"
        results += [engine.generate(trace=True) for _ in range(3)]
    assert results == results[:1] * 6


def test_rows_are_not_split_on_cuda(
    describe: Any,
    start_engine: "EngineStarter",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
) -> None:
    """This llama.cpp has no buffers for it, and the gate never runs something else instead."""
    engine = start_engine(GGML_CUDA_DEVICES="2")
    path = tiny_model("tiny-qwen2").path
    params = engine_load_params(path, gpus=2, split_mode="row") | {"device": "cuda"}
    assert engine.refusal(Method.LOAD, **params) == (
        "device_unavailable",
        "this llama.cpp cannot split this model with split_mode = row on cuda; use layer",
    )


@pytest.mark.parametrize("name", ["tiny-qwen2", "tiny-phi3"])
def test_sixteen_contexts_on_the_gpu_agree_with_one(
    describe: Any,
    fresh_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    engine_load_params: "LoadParams",
    name: str,
) -> None:
    """Side by side by default, with room for another process, and every bit as if alone."""
    params = engine_load_params(tiny_model(name).path) | {"device": "cuda"}
    cells = [CELL | {"seed": seed, "trace": True} for seed in range(1, 65)]
    fresh_engine.ask(Method.LOAD, **params, concurrency=1)
    alone = fresh_engine.ask_together([(Method.GENERATE, cell) for cell in cells])
    loaded = fresh_engine.ask(Method.LOAD, **params)
    together = fresh_engine.ask_together([(Method.GENERATE, cell) for cell in cells])
    assert (loaded["concurrency"], loaded["room_for_another"]) == (16, True)
    assert together == alone
