"""Facts about a CUDA device and its software, from the CUDA libraries in this process."""

import ctypes

from repro_gate.engines.cuda_driver import (
    MULTIPROCESSORS,
    Chip,
    chip_of,
    driver_attribute,
    filled,
    nvidia_driver,
)
from repro_gate.engines.llama_cpp import native

_INT = ctypes.c_int
_INT_P = ctypes.POINTER(ctypes.c_int)


def chip(index: int) -> Chip | None:
    """Return the chip of a CUDA device of llama.cpp, or None if it cannot be queried."""
    # Builds that link the CUDA runtime statically do not export it.
    attribute = _runtime_attribute if _runtime_attribute(MULTIPROCESSORS, 0) else driver_attribute
    return chip_of(attribute, _physical(index))


def versions() -> dict[str, str | None]:
    """Return the versions of the CUDA software; None for those that cannot be queried."""
    return {
        "cuda_runtime": _cuda_version("cudaRuntimeGetVersion"),
        "cuda_driver": _cuda_version("cudaDriverGetVersion"),
        "cublas": _cublas_version(),
        "nvidia_driver": nvidia_driver(),
    }


def _physical(index: int) -> int:
    # With GGML_CUDA_DEVICES set, llama.cpp presents each GPU as several devices, in turn.
    count = _query("cudaGetDeviceCount")
    return index % count if count else index


def _query(name: str, *arguments: int) -> int | None:
    """Call a function that stores an int and returns 0 on success."""
    function = native.find_function(name, _INT, _INT_P, *(_INT for _ in arguments))
    return None if function is None else filled(function, *arguments)


def _runtime_attribute(attribute: int, index: int) -> int | None:
    return _query("cudaDeviceGetAttribute", attribute, index)


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
