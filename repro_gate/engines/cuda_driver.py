"""The driver of NVIDIA GPUs: what it knows of each, without any library that computes."""

import ctypes
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

MULTIPROCESSORS: Final = 16
CAPABILITY_MAJOR: Final = 75
CAPABILITY_MINOR: Final = 76
"""The same numbers in `enum cudaDeviceAttr` and in `enum CUdevice_attribute`."""
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_DRIVER_VERSION = re.compile(r"Kernel Module\b.*?\s(\d+(?:\.\d+)+)")
_SMI_TIMEOUT_S = 10.0
_INT = ctypes.c_int
_NAME_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Chip:
    """What decides the profile of a CUDA device."""

    major: int
    """Of the compute capability, as is the next."""
    minor: int
    multiprocessors: int
    """Fewer on a slice of a GPU (MIG) than on the whole."""

    @property
    def profile(self) -> str:
        """The class of machine."""
        return f"cuda-sm{self.major}{self.minor}-{self.multiprocessors}sm"

    def facts(self) -> dict[str, str]:
        """Return the parts of the profile."""
        return {
            "compute_capability": f"{self.major}.{self.minor}",
            "multiprocessors": str(self.multiprocessors),
        }


def chip_of(attribute: Callable[[int, int], int | None], index: int) -> Chip | None:
    """Return a chip by its attributes, or None if one cannot be queried."""
    major = attribute(CAPABILITY_MAJOR, index)
    minor = attribute(CAPABILITY_MINOR, index)
    multiprocessors = attribute(MULTIPROCESSORS, index)
    if major is None or minor is None or multiprocessors is None:
        return None
    return Chip(major, minor, multiprocessors)


def driver_attribute(attribute: int, index: int) -> int | None:
    """Return an attribute of a device, or None where the driver does not show it."""
    driver = _driver()
    if driver is None:
        return None
    device = filled(driver.cuDeviceGet, index)
    return None if device is None else filled(driver.cuDeviceGetAttribute, attribute, device)


def filled(function: Callable[..., Any], *arguments: int) -> int | None:
    """Call a function that stores an int and returns 0 on success."""
    value = _INT()
    return value.value if function(ctypes.byref(value), *arguments) == 0 else None


def device_name(index: int) -> str | None:
    """Return the name that its maker gave a device."""
    driver = _driver()
    device = None if driver is None else filled(driver.cuDeviceGet, index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    if driver is None or device is None or driver.cuDeviceGetName(name, _NAME_BYTES, device):
        return None
    return name.value.decode("utf-8", errors="replace")


def nvidia_driver() -> str | None:
    """Return the version of the driver."""
    try:
        found = _DRIVER_VERSION.search(_DRIVER_FILE.read_text())
    except (OSError, UnicodeDecodeError):
        found = None
    return found.group(1) if found else _nvidia_driver_by_smi()


@cache
def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def _nvidia_driver_by_smi() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed command
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
            timeout=_SMI_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return next(iter(done.stdout.split()), None)
