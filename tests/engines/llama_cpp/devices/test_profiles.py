"""A profile is made of what a backend reports, and a driver on the CPU is no GPU."""

import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.guards import require_name
from repro_gate.engines.cuda_driver import Chip
from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.devices import cuda, vulkan
from repro_gate.engines.llama_cpp.devices.profiles import (
    MAX_LENGTH,
    Profile,
    cpu_profile,
    gpu_profile,
    slug,
)
from repro_gate.engines.llama_cpp.devices.targets import Device, Target, find
from repro_gate.engines.llama_cpp.native_log import Level, LogLine
from repro_gate.protocol import Refusal, RequestRefused, requested_device
from repro_gate.settings import Offload

# As llama.cpp 0c1e57098 writes them (ggml-cuda.cu built for HIP, ggml-sycl.cpp).
_LOG = """\
ggml_cuda_init: found 2 ROCm devices (Total VRAM: 49120 MiB):
  Device 0: AMD Radeon RX 7900 XTX, gfx1100 (0x1100), VMM: no, Wave Size: 32, VRAM: 24560 MiB
  Device 1: AMD Instinct MI300X, gfx942:sramecc+:xnack- (0x942), VMM: no, Wave Size: 64, VRAM: 1 MiB
Found 1 SYCL devices:
|ID|        Device Type|                                   Name|Version|units  |group   |group|size   |       Driver version|
| 0| [level_zero:gpu:0]|                Intel Arc A770 Graphics|   12.55|    512|    1024|   32| 16225M|      1.3.29735+27|
"""  # noqa: E501 -- lines of a log
_LINES = [LogLine(Level.INFO, line) for line in _LOG.splitlines()]


def _profile(backend: str, description: str, index: int = 0) -> Profile:
    return gpu_profile(backend, index, description=description, lines=_LINES)


def test_rocm_is_named_by_chip_and_card() -> None:
    """Cards with the same chip differ in compute units, which only their name shows."""
    assert [
        _profile("rocm", "AMD Radeon RX 7900 XTX"),
        _profile("rocm", "AMD Instinct MI300X", 1),
    ] == [
        Profile(name="rocm-gfx1100-amd-radeon-rx-7900-xtx", facts={"chip": "gfx1100"}),
        Profile(name="rocm-gfx942-amd-instinct-mi300x", facts={"chip": "gfx942"}),
    ]


def test_sycl_is_named_by_card_and_driver() -> None:
    """The driver compiles the kernels."""
    assert _profile("sycl", "Intel(R) Arc(TM) A770 Graphics") == Profile(
        name="sycl-intel-arc-a770-graphics-1.3.29735-27", facts={"driver": "1.3.29735+27"}
    )


def test_metal_is_named_by_chip_and_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system compiles the kernels."""
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1.1", ("", "", ""), "arm64"))
    assert _profile("metal", "Apple M3 Max") == Profile(
        name="metal-apple-m3-max-macos-15.1.1", facts={"macos": "15.1.1"}
    )


def test_another_backend_is_named_by_its_description() -> None:
    """It reports nothing else."""
    assert _profile("opencl", "QUALCOMM Adreno(TM) 750") == Profile(
        name="opencl-qualcomm-adreno-750", facts={}
    )


@pytest.mark.parametrize(("backend", "index"), [("rocm", 2), ("sycl", 1)])
def test_a_device_that_is_not_in_the_log_has_no_profile(backend: str, index: int) -> None:
    """Goldens of an unknown class would hold for nothing."""
    with pytest.raises(RequestRefused, match=f"{backend}:{index} cannot be read") as refused:
        _profile(backend, "any", index)
    assert refused.value.kind is Refusal.DEVICE_UNAVAILABLE


_DRIVERS = {
    "AMD Radeon RX 7900 XTX (RADV NAVI31)": vulkan.Driver(
        name="radv", version="Mesa 24.0.1", is_software=False
    ),
    "llvmpipe (LLVM 15.0.6, 256 bits)": vulkan.Driver(
        name="llvmpipe", version="Mesa 22.3.6 (LLVM 15.0.6)", is_software=True
    ),
    "Some Device": vulkan.Driver(name="new", version="1", is_software=True),
    "SwiftShader Device": vulkan.Driver(name="SwiftShader", version="5.0", is_software=False),
}


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put drivers of ours in the place of those of this machine."""
    monkeypatch.setattr(vulkan, "driver_of", _DRIVERS.get)


@pytest.mark.usefixtures("drivers")
def test_vulkan_is_named_by_device_and_driver() -> None:
    """Each word once; the driver compiles the shaders."""
    assert [_profile("vulkan", name) for name in _DRIVERS] == [
        Profile(
            name="vulkan-amd-radeon-rx-7900-xtx-radv-navi31-mesa-24.0.1",
            facts={"driver": "radv", "driver_version": "Mesa 24.0.1"},
        ),
        Profile(
            name="vulkan-llvmpipe-llvm-15.0.6-256-bits-mesa-22.3.6",
            facts={"driver": "llvmpipe", "driver_version": "Mesa 22.3.6 (LLVM 15.0.6)"},
            is_software=True,
        ),
        Profile(
            name="vulkan-some-device-new-1",
            facts={"driver": "new", "driver_version": "1"},
            is_software=True,
        ),
        Profile(
            name="vulkan-swiftshader-device-5.0",
            facts={"driver": "SwiftShader", "driver_version": "5.0"},
            is_software=True,
        ),
    ]


@pytest.mark.usefixtures("drivers")
def test_vulkan_without_a_driver_has_no_profile() -> None:
    """Another driver would be another class."""
    with pytest.raises(RequestRefused, match="driver of the Vulkan device 'other' cannot be read"):
        _profile("vulkan", "other")


def test_cuda_without_its_attributes_has_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of multiprocessors would be another class."""
    monkeypatch.setattr(cuda, "chip", lambda _: None)
    with pytest.raises(RequestRefused, match="multiprocessors of cuda:3 cannot be read"):
        _profile("cuda", "any", 3)


@given(st.lists(st.text(), min_size=1))
def test_whatever_a_device_is_called_its_profile_is_a_name(texts: list[str]) -> None:
    """It becomes the name of a folder."""
    name = slug("vulkan", *texts)
    require_name(name)
    assert len(name) <= MAX_LENGTH


def test_long_names_differ_by_their_digests() -> None:
    """They are cut, and stay apart."""
    words = " ".join(map(str, range(40)))
    assert len({slug(words, "a"), slug(words, "b"), slug(words)}) == 3


def _device(backend: str, description: str) -> Device:
    handle = native.get_device(0)
    return Device(handle=handle, name="X0", description=description, backend=backend, index=0)


@pytest.mark.usefixtures("drivers")
def test_a_driver_on_the_cpu_is_software() -> None:
    """Whatever llama.cpp calls it."""
    kinds = [
        _device(*named).kind
        for named in [
            ("vulkan", "llvmpipe (LLVM 15.0.6, 256 bits)"),
            ("vulkan", "AMD Radeon RX 7900 XTX (RADV NAVI31)"),
            ("cpu", "any"),
        ]
    ]
    assert kinds == ["software", "gpu", "cpu"]


def _registry(monkeypatch: pytest.MonkeyPatch, *names: tuple[str, str]) -> None:
    """Put backends and devices of ours in the place of the registry of ggml."""
    monkeypatch.setattr(native, "device_count", lambda: len(names))
    monkeypatch.setattr(native, "get_device", lambda number: number)
    monkeypatch.setattr(native, "backend_name", lambda number: names[number][0].encode())
    monkeypatch.setattr(native, "device_name", lambda number: names[number][1].encode())
    monkeypatch.setattr(native, "device_description", lambda _: b"chip")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("cpu", "CPU"), ("metal", "MTL0"), ("vulkan:1", "Vulkan1"), ("rocm", "ROCm0")],
)
def test_devices_are_found_by_the_registry(
    monkeypatch: pytest.MonkeyPatch, wanted: str, name: str
) -> None:
    """Those of another machine, and accelerators of the CPU, are none."""
    registry = [("RPC", "Vulkan0"), ("MTL", "MTL0"), ("Vulkan", "Vulkan0"), ("Vulkan", "Vulkan1")]
    _registry(monkeypatch, *registry, ("BLAS", "BLAS"), ("ROCm", "ROCm0"), ("CPU", "CPU"))
    request = requested_device(wanted)
    assert request is not None
    assert find(request).name == name


@pytest.fixture
def two_and_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put two GPUs of a class, and one of another, in the place of the registry."""
    chips = [Chip(9, 0, 132), Chip(9, 0, 132), Chip(8, 0, 108)]
    _registry(monkeypatch, *(("CUDA", f"CUDA{n}") for n in range(3)), ("CPU", "CPU"))
    monkeypatch.setattr(native, "device_type", lambda _: 1)
    monkeypatch.setattr(native, "free_memory", lambda number: 100 - number)
    monkeypatch.setattr(cuda, "chip", chips.__getitem__)
    monkeypatch.setattr(cuda, "versions", dict)


def _target(device: str, **offload: int) -> Target:
    request = requested_device(device)
    assert request is not None
    return find(request, Offload.parse(offload, is_cpu=False))


@pytest.mark.usefixtures("two_and_one")
@pytest.mark.parametrize(
    ("offload", "profile"),
    [
        ({}, "cuda-sm90-132sm"),
        ({"gpus": 1}, "cuda-sm90-132sm"),
        ({"gpus": 2}, "cuda-sm90-132sm-x2"),
        ({"gpus": 3}, "cuda-sm90-132sm-x2-cuda-sm80-108sm-x1"),
        ({"gpu_layers": 10}, f"cuda-sm90-132sm-10-layers-{cpu_profile()}"),
        ({"gpus": 2, "gpu_layers": 3}, f"cuda-sm90-132sm-x2-3-layers-{cpu_profile()}"),
        ({"offload_kqv": True}, "cuda-sm90-132sm"),
        ({"offload_kqv": False}, f"cuda-sm90-132sm-without-kv-{cpu_profile()}"),
        (
            {"offload_kqv": False, "gpu_layers": 3},
            f"cuda-sm90-132sm-3-layers-without-kv-{cpu_profile()}",
        ),
    ],
)
def test_a_profile_is_how_many_of_what(offload: dict[str, int], profile: str) -> None:
    """With the CPU's where a part of the layers or the cache is there."""
    assert _target("cuda", **offload).profile() == profile


@pytest.mark.usefixtures("two_and_one")
def test_all_of_several_devices_must_exist() -> None:
    """Some of them are another class of machine."""
    with pytest.raises(RequestRefused, match="2 GPUs from cuda:2 on are not among the devices"):
        _target("cuda:2", gpus=2)


@pytest.mark.usefixtures("two_and_one")
def test_several_devices_are_described_together() -> None:
    """From the requested one on, each different value once."""
    target = _target("cuda:1", gpus=2)
    assert (target.name, target.free_memory()) == ("CUDA1, CUDA2", 196)
    assert target.log_names == {"CUDA1", "CUDA2", "Meta()", "Meta(CUDA1,CUDA2)"}
    assert target.facts() == {
        "device.name": "CUDA1, CUDA2",
        "device.description": "chip",
        "device.kind": "gpu",
        "device.compute_capability": "9.0, 8.0",
        "device.multiprocessors": "132, 108",
    }


def test_a_device_of_another_machine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists only what can be used."""
    _registry(monkeypatch, ("RPC", "CUDA0"), ("CPU", "CPU"))
    request = requested_device("cuda")
    assert request is not None
    with pytest.raises(RequestRefused, match=r"devices of this llama\.cpp \(CPU\)"):
        find(request)
