"""What llama.cpp is asked for when a part of a model, or several GPUs, are requested."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.devices.targets import Device, Target
from repro_gate.engines.llama_cpp.native_log import Level
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.engines.model_file import read_model_file
from repro_gate.protocol import Refusal, RequestRefused
from repro_gate.settings import Settings
from tests.fakes.driven_engine import load_params

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import ModelMaker

_HANDLES = (0x1000, 0x2000)


@pytest.fixture
def refusing_loader(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the parameters with which the next model is loaded, which fails."""
    seen: dict[str, Any] = {}

    def load(_path: bytes, params: Any) -> None:
        size = ctypes.sizeof(ctypes.c_void_p)
        handles = [ctypes.c_void_p.from_address(params.devices + i * size).value for i in range(3)]
        seen["devices"] = handles[: handles.index(None)]
        seen["shares"] = [params.tensor_split[i] for i in range(3)] if params.tensor_split else []
        seen["split_mode"], seen["layers"] = params.split_mode, params.n_gpu_layers
        seen["main_gpu"] = params.main_gpu
        if params.split_mode == native.SPLIT_ROWS:
            native.LOG.receive(Level.ERROR, b"device X0 does not support split buffers\n")

    monkeypatch.setattr(native, "load_model", load)
    return seen


def _load(
    path: Path,
    settings: dict[str, Any],
    backend: str = "cuda",
    *,
    handles: Sequence[int] = _HANDLES,
) -> RequestRefused:
    parsed = Settings.parse(settings, is_cpu=backend == "cpu")
    devices = tuple(
        Device(
            handle=native.DeviceHandle(handle),
            name=f"X{index}",
            description="",
            backend=backend,
            index=index,
        )
        for index, handle in enumerate(handles[: parsed.offload.gpus])
    )
    target = Target(devices=devices, offload=parsed.offload)
    with pytest.raises(RequestRefused) as refused:
        Session(read_model_file(path, expected=None), target, parsed)
    return refused.value


@pytest.mark.parametrize(
    ("settings", "backend", "expected"),
    [
        ({}, "cpu", ([], [], native.ONE_DEVICE, 0, -1)),
        ({}, "cuda", ([0x1000], [], native.ONE_DEVICE, -1, 0)),
        ({"gpu_layers": 2}, "vulkan", ([0x1000], [], native.ONE_DEVICE, 2, 0)),
        ({"gpus": 2}, "rocm", ([0x1000, 0x2000], [1, 1, 0], native.SPLIT_LAYERS, -1, 0)),
        (
            {"gpus": 2, "gpu_layers": 1, "tensor_split": [3, 0.5]},
            "cuda",
            ([0x1000, 0x2000], [3, 0.5, 0], native.SPLIT_LAYERS, 1, 0),
        ),
        (
            {"gpus": 2, "split_mode": "tensor", "flash_attention": True},
            "cuda",
            ([0x1000, 0x2000], [1, 1, 0], native.SPLIT_TENSORS, -1, 0),
        ),
    ],
)
def test_llama_cpp_gets_every_value_of_the_placement(
    refusing_loader: dict[str, Any],
    tiny_model: "ModelMaker",
    settings: dict[str, Any],
    backend: str,
    expected: tuple[Any, ...],
) -> None:
    """Equal shares too, where it would take the memory that happens to be free."""
    path = tiny_model("tiny-qwen2").path
    _load(path, load_params(path, **settings)["settings"], backend)

    names = ("devices", "shares", "split_mode", "layers", "main_gpu")
    assert refusing_loader == dict(zip(names, expected, strict=True))


def test_more_layers_than_a_model_has_are_refused(tiny_model: "ModelMaker") -> None:
    """All of them are no part of it, and their profile would name the CPU too."""
    path = tiny_model("tiny-qwen2").path
    native.start()
    # The CPU in the place of a GPU.
    error = _load(
        path, load_params(path, gpu_layers=3)["settings"], handles=(native.get_device(0),)
    )

    assert (error.kind, error.message) == (
        Refusal.BAD_REQUEST,
        (
            "settings.gpu_layers: expected fewer than the 3 layers of the model (without the "
            "setting all are on the GPU), found 3"
        ),
    )


@pytest.mark.usefixtures("refusing_loader")
def test_a_split_that_a_backend_lacks_is_named(
    tiny_model: "ModelMaker",
) -> None:
    """The model is fine, so it is no fault of its file."""
    path = tiny_model("tiny-qwen2").path
    settings = load_params(path, gpus=2, split_mode="row")["settings"]
    error = _load(path, settings)

    assert (error.kind, error.message) == (
        Refusal.DEVICE_UNAVAILABLE,
        "this llama.cpp cannot split this model with split_mode = row on cuda; use layer",
    )
