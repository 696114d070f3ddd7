"""The driver of a Vulkan device, which compiles its shaders, from the Vulkan loader."""

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

_LOADERS = ("libvulkan.so.1", "libvulkan.1.dylib", "vulkan-1.dll")
_VULKAN_1_2 = 1 << 22 | 2 << 12
"""The oldest version that names the driver, and the oldest with which llama.cpp works."""
_CREATE_INSTANCE = 1
_PROPERTIES_2 = 1000059001
_DRIVER_PROPERTIES = 1000196000
"""These are values of `enum VkStructureType`."""
_CPU = 4
"""`VK_PHYSICAL_DEVICE_TYPE_CPU`."""
_NAME_BYTES = 256
_REST_BYTES = 1024
"""More than what follows the name in `VkPhysicalDeviceProperties`."""
_pointer = ctypes.c_void_p


class _ApplicationInfo(ctypes.Structure):
    _fields_ = (
        *(("type", ctypes.c_uint32), ("next", _pointer)),
        *(("application", ctypes.c_char_p), ("application_version", ctypes.c_uint32)),
        *(("engine", ctypes.c_char_p), ("engine_version", ctypes.c_uint32)),
        ("api_version", ctypes.c_uint32),
    )


class _InstanceInfo(ctypes.Structure):
    _fields_ = (
        *(("type", ctypes.c_uint32), ("next", _pointer), ("flags", ctypes.c_uint32)),
        ("application", ctypes.POINTER(_ApplicationInfo)),
        *(("layer_count", ctypes.c_uint32), ("layers", _pointer)),
        *(("extension_count", ctypes.c_uint32), ("extensions", _pointer)),
    )


class _DriverProperties(ctypes.Structure):
    _fields_ = (
        *(("type", ctypes.c_uint32), ("next", _pointer), ("id", ctypes.c_uint32)),
        ("name", ctypes.c_char * _NAME_BYTES),
        ("info", ctypes.c_char * _NAME_BYTES),
        ("conformance", ctypes.c_uint8 * 4),
    )


class _Properties(ctypes.Structure):
    _fields_ = (
        *(("type", ctypes.c_uint32), ("next", _pointer)),
        *(("api_version", ctypes.c_uint32), ("driver_version", ctypes.c_uint32)),
        *(("vendor", ctypes.c_uint32), ("device", ctypes.c_uint32)),
        *(("device_type", ctypes.c_uint32), ("device_name", ctypes.c_char * _NAME_BYTES)),
        ("rest", ctypes.c_uint8 * _REST_BYTES),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A driver of a device."""

    name: str
    """Such as `radv`, `NVIDIA` or `llvmpipe`."""
    version: str
    """As the driver writes it, such as `Mesa 22.3.6 (LLVM 15.0.6)`."""
    is_software: bool
    """Whether its device is the CPU, whatever llama.cpp calls it."""


def driver_of(device_name: str) -> Driver | None:
    """Return the driver of the first device of a name, or None if there is none, or no Vulkan."""
    return next((driver for name, driver in _drivers() if name == device_name), None)


def _drivers() -> Iterator[tuple[str, Driver]]:
    vulkan = _loader()
    if vulkan is None:
        return
    application = _ApplicationInfo(api_version=_VULKAN_1_2)
    info = _InstanceInfo(type=_CREATE_INSTANCE, application=ctypes.pointer(application))
    instance = _pointer()
    if vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)) != 0:
        return
    try:
        count = ctypes.c_uint32()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
        devices = (_pointer * count.value)()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices)
        for device in devices:
            driver = _DriverProperties(type=_DRIVER_PROPERTIES)
            found = _Properties(type=_PROPERTIES_2, next=ctypes.addressof(driver))
            vulkan.vkGetPhysicalDeviceProperties2(_pointer(device), ctypes.byref(found))
            yield (
                _text(found.device_name),
                Driver(
                    name=_text(driver.name),
                    version=_text(driver.info) or str(found.driver_version),
                    is_software=found.device_type == _CPU,
                ),
            )
    finally:
        vulkan.vkDestroyInstance(instance, None)


def _loader() -> ctypes.CDLL | None:
    for name in _LOADERS:
        # The library that llama.cpp has loaded is found by its name, wherever it lies.
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    return None


def _text(name: bytes) -> str:
    return name.decode("utf-8", errors="replace")
