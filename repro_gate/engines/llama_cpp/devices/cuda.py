"""Facts about a CUDA device and its software, from the CUDA libraries in this process."""

import ctypes
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from repro_gate.engines.llama_cpp import native

_MULTIPROCESSORS = 16
_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76
"""The same numbers in `enum cudaDeviceAttr` and in `enum CUdevice_attribute`."""
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_DRIVER_VERSION = re.compile(r"Kernel Module\b.*?\s(\d+(?:\.\d+)+)")
_SMI_TIMEOUT_S = 10.0
_INT = ctypes.c_int
_INT_P = ctypes.POINTER(ctypes.c_int)


@dataclass(frozen=True, slots=True)
class Chip:
    """What decides the profile of a CUDA device."""

    major: int
    """Of the compute capability, as is the next."""
    minor: int
    multiprocessors: int
    """Fewer on a slice of a GPU (MIG) than on the whole."""


def chip(index: int) -> Chip | None:
    """Return the chip of a CUDA device of llama.cpp, or None if it cannot be queried."""
    attribute = _runtime_attribute if _runtime_attribute(_MULTIPROCESSORS, 0) else _driver_attribute
    physical = _physical(index)
    major = attribute(_CAPABILITY_MAJOR, physical)
    minor = attribute(_CAPABILITY_MINOR, physical)
    multiprocessors = attribute(_MULTIPROCESSORS, physical)
    if major is None or minor is None or multiprocessors is None:
        return None
    return Chip(major, minor, multiprocessors)


def versions() -> dict[str, str | None]:
    """Return the versions of the CUDA software; None for those that cannot be queried."""
    return {
        "cuda_runtime": _cuda_version("cudaRuntimeGetVersion"),
        "cuda_driver": _cuda_version("cudaDriverGetVersion"),
        "cublas": _cublas_version(),
        "nvidia_driver": _nvidia_driver(),
    }


def _physical(index: int) -> int:
    # With GGML_CUDA_DEVICES set, llama.cpp presents each GPU as several devices, in turn.
    count = _query("cudaGetDeviceCount")
    return index % count if count else index


def _query(name: str, *arguments: int) -> int | None:
    """Call a function that stores an int and returns 0 on success."""
    function = native.find_function(name, _INT, _INT_P, *(_INT for _ in arguments))
    return None if function is None else _filled(function, *arguments)


def _filled(function: Callable[..., Any], *arguments: int) -> int | None:
    value = _INT()
    return value.value if function(ctypes.byref(value), *arguments) == 0 else None


def _runtime_attribute(attribute: int, index: int) -> int | None:
    return _query("cudaDeviceGetAttribute", attribute, index)


def _driver_attribute(attribute: int, index: int) -> int | None:
    # For builds that link the CUDA runtime statically and do not export it.
    driver = _driver()
    if driver is None:
        return None
    device = _filled(driver.cuDeviceGet, index)
    return None if device is None else _filled(driver.cuDeviceGetAttribute, attribute, device)


@cache
def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def _cuda_version(name: str) -> str | None:
    version = _query(name)
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"


def _cublas_version() -> str | None:
    function = native.find_function("cublasGetProperty", _INT, _INT, _INT_P)
    if function is None:
        return None
    value = _INT()
    parts: list[str] = []
    for part in range(3):  # MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL
        if function(part, ctypes.byref(value)) != 0:
            return None
        parts.append(str(value.value))
    return ".".join(parts)


def _nvidia_driver() -> str | None:
    try:
        found = _DRIVER_VERSION.search(_DRIVER_FILE.read_text())
    except (OSError, UnicodeDecodeError):
        found = None
    return found.group(1) if found else _nvidia_driver_by_smi()


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
