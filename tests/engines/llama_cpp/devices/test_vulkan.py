"""The driver of a Vulkan device is read from the loader, by the layout of its structures."""

import ctypes
from typing import Any

import pytest

from repro_gate.engines.llama_cpp.devices import vulkan
from repro_gate.engines.llama_cpp.devices.vulkan import Driver, driver_of


class _Loader:
    """A Vulkan loader with two devices."""

    def __init__(self, result: int = 0) -> None:
        self.result = result
        self.instances = 0

    def vkCreateInstance(self, _info: Any, _allocator: None, _instance: Any) -> int:  # noqa: N802 -- Vulkan's name
        self.instances += self.result == 0
        return self.result

    def vkDestroyInstance(self, _instance: Any, _allocator: None) -> None:  # noqa: N802 -- Vulkan's name
        self.instances -= 1

    def vkEnumeratePhysicalDevices(self, _instance: Any, count: Any, devices: Any) -> None:  # noqa: N802 -- Vulkan's name
        count._obj.value = 2  # noqa: SLF001 -- what `byref` refers to
        if devices is not None:
            devices[0], devices[1] = 11, 22

    def vkGetPhysicalDeviceProperties2(self, device: Any, properties: Any) -> None:  # noqa: N802 -- Vulkan's name
        # 16 bytes of header, 5 numbers, the name; the driver: header, number, two names.
        own = ctypes.addressof(properties._obj)  # noqa: SLF001 -- what `byref` refers to
        driver = ctypes.c_void_p.from_address(own + 8).value
        assert driver is not None
        is_first = device.value == 11
        ctypes.c_uint32.from_address(own + 20).value = 77
        ctypes.c_uint32.from_address(own + 32).value = 4 if is_first else 2
        ctypes.memmove(own + 36, b"first\0" if is_first else b"second\0", 7)
        ctypes.memmove(driver + 20, b"driver\0", 7)
        ctypes.memmove(driver + 20 + 256, b"Mesa 1\0" if is_first else b"\0", 7 if is_first else 1)


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> _Loader:
    """Return a loader of ours in the place of that of this machine."""
    found = _Loader()
    monkeypatch.setattr(vulkan, "_loader", lambda: found)
    return found


def test_a_device_has_its_own_driver(loader: _Loader) -> None:
    """A driver without a version in words has a number; the instance is freed."""
    assert [driver_of("first"), driver_of("second"), driver_of("third")] == [
        Driver(name="driver", version="Mesa 1", is_software=True),
        Driver(name="driver", version="77", is_software=False),
        None,
    ]
    assert loader.instances == 0


def test_without_an_instance_there_is_no_driver(loader: _Loader) -> None:
    """The loader may have no driver at all."""
    loader.result = -9
    assert driver_of("first") is None


def test_without_a_loader_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most machines have none."""
    monkeypatch.setattr(vulkan, "_LOADERS", ("libnone.so.1",))
    assert driver_of("first") is None
