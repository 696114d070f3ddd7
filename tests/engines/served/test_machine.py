"""The class of machine of a started server."""

import platform
from pathlib import Path

import pytest

from repro_gate.engines import cuda_driver
from repro_gate.engines.cuda_driver import Chip
from repro_gate.engines.served import machine
from repro_gate.engines.served.machine import facts_of, profile_of, visible_devices
from repro_gate.protocol import DeviceRequest, RequestRefused, requested_device
from repro_gate.server_settings import ServerSettings

_SETTINGS = ServerSettings.parse({"dialect": "vllm", "serve": ["s", "{model}", "{port}"]})


def _device(name: str) -> DeviceRequest:
    device = requested_device(name)
    assert device is not None
    return device


@pytest.fixture(name="cpu_info")
def _cpu_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPU_INFO", file)
    monkeypatch.setattr(platform, "machine", lambda: "X")
    return file


@pytest.fixture(name="gpu")
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a GPU into the machine."""
    values = {75: 9, 76: 0, 16: 132}
    monkeypatch.setattr(cuda_driver, "driver_attribute", lambda attribute, _: values[attribute])
    monkeypatch.setattr(cuda_driver, "device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(cuda_driver, "nvidia_driver", lambda: "570.1")


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("model name\t: A\nflags\t\t: sse avx avx2\nflags\t\t: sse avx avx2\n", "avx2"),
        ("flags\t: avx avx2 avx512f amx_int8\n", "amx"),
        ("Features\t: fp asimd asimddp\n", "dotprod"),
        ("", "generic"),
    ],
)
def test_a_cpu_is_named_by_machine_and_instruction_set(
    cpu_info: Path, info: str, expected: str
) -> None:
    """After the dialect, as other servers compute otherwise."""
    cpu_info.write_text(info, "utf-8")

    assert profile_of(_SETTINGS, _device("cpu")) == f"vllm-cpu-x-{expected}"


def test_an_unknown_cpu_has_a_profile(cpu_info: Path) -> None:
    """Only Linux has the file."""
    assert not cpu_info.exists()
    assert profile_of(_SETTINGS, _device("cpu")) == "vllm-cpu-x-generic"
    assert "host.cpu" not in facts_of(_device("cpu"))


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_named_by_architecture_and_size() -> None:
    """As for llama.cpp inside; its facts are known too."""
    assert profile_of(_SETTINGS, _device("cuda")) == "vllm-cuda-sm90-132sm"

    facts = facts_of(_device("cuda"))
    assert {name: facts[name] for name in facts if name.startswith("device.")} == {
        "device.description": "NVIDIA H200",
        "device.nvidia_driver": "570.1",
        "device.compute_capability": "9.0",
        "device.multiprocessors": "132",
    }


@pytest.mark.parametrize("device", ["rocm", "cuda"])
def test_an_unknown_device_needs_a_profile(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """It is not guessed."""
    monkeypatch.setattr(cuda_driver, "driver_attribute", lambda *_: None)

    with pytest.raises(RequestRefused, match=f"{device} cannot be read here; name it with profile"):
        profile_of(_SETTINGS, _device(device))
    named = {"dialect": "vllm", "base_url": "http://a", "profile": "prod"}
    assert profile_of(ServerSettings.parse(named), _device(device)) == "prod"


@pytest.mark.parametrize(
    ("device", "seen", "variables"),
    [
        ("cpu", "0,1", {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}),
        ("cuda", "0,1", {}),
        ("cuda:1", "", {"CUDA_VISIBLE_DEVICES": "1"}),
        ("cuda:1", "4,GPU-5", {"CUDA_VISIBLE_DEVICES": "GPU-5"}),
        ("cuda:3", "4,5", {"CUDA_VISIBLE_DEVICES": "3"}),
        ("rocm:1", "", {}),
    ],
)
def test_a_server_sees_the_requested_device(
    monkeypatch: pytest.MonkeyPatch, device: str, seen: str, variables: dict[str, str]
) -> None:
    """It would take a GPU where the profile is that of the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)

    assert visible_devices(_device(device)) == variables


def test_a_chip_without_a_part_is_unknown() -> None:
    """Its profile would be another one."""
    parts = {75: 9, 76: 0, 16: None}

    assert cuda_driver.chip_of(lambda attribute, _: parts[attribute], 0) is None
    assert Chip(9, 0, 132).profile == "cuda-sm90-132sm"
