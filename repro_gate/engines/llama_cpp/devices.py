"""The devices that llama.cpp can compute on, and their profiles."""

import platform
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

from repro_gate.engines.llama_cpp import cuda, native
from repro_gate.protocol import DeviceRequest, Refusal, RequestRefused

_CPU_PART = re.compile(r"CPU : (.*)")

# Best first: the best level of a build decides which of its kernels are used.
_INSTRUCTION_SETS = {
    "AMX_INT8": "amx",
    "AVX512": "avx512",
    "AVX2": "avx2",
    "AVX": "avx",
    "SSSE3": "ssse3",
    "SSE3": "sse3",
    "SME": "sme",
    "SVE": "sve",
    "MATMUL_INT8": "i8mm",
    "DOTPROD": "dotprod",
    "NEON": "neon",
    "RISCV_V": "rvv",
    "VSX": "vsx",
    "VXE": "vxe",
    "WASM_SIMD": "wasm",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An available device."""

    handle: native.DeviceHandle
    name: str
    """What llama.cpp calls it in its log: `CPU`, `CUDA0`."""
    description: str
    """The name that its maker gave it."""
    cuda_index: int | None
    """None for a device that is not a CUDA device."""

    @property
    def is_gpu(self) -> bool:
        """Whether the layers of a model are moved to it."""
        return self.cuda_index is not None

    def free_memory(self) -> int:
        """Return the bytes that are free on a GPU."""
        return native.free_memory(self.handle)

    @contextmanager
    def starting(self) -> Generator[None]:
        """Start a GPU, which takes a third of a second, while something else is done."""
        if not self.is_gpu:
            yield
            return
        # The first call that needs CUDA starts it for the whole process.
        thread = Thread(target=self.free_memory)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def profile(self) -> str:
        """Return the profile for which goldens recorded on this device are valid."""
        if self.cuda_index is None:
            return f"cpu-{platform.machine().lower()}-{instruction_set()}"
        chip = _chip(self.cuda_index)
        return f"cuda-sm{chip.major}{chip.minor}-{chip.multiprocessors}sm"

    def facts(self) -> dict[str, str]:
        """Return the known facts about the device."""
        known: dict[str, str | None] = {"name": self.name, "description": self.description}
        if self.cuda_index is not None:
            chip = _chip(self.cuda_index)
            known["compute_capability"] = f"{chip.major}.{chip.minor}"
            known["multiprocessors"] = str(chip.multiprocessors)
            known |= cuda.versions()
        return {f"device.{name}": value for name, value in known.items() if value is not None}


def find(request: DeviceRequest) -> Device:
    """Return the requested device; refuse if it is missing, and never fall back to another."""
    devices = list(_devices())
    wanted = "CPU" if request.cuda_index is None else f"CUDA{request.cuda_index}"
    for device in devices:
        if device.name == wanted:
            return device
    found = ", ".join(device.name for device in devices) or "none"
    errors = " / ".join(line for line in native.LOG.errors_since(0) if "CUDA" in line)
    raise RequestRefused(
        Refusal.DEVICE_UNAVAILABLE,
        f"{request.name} is not among the devices of this llama.cpp ({found})"
        + (f"; its log: {errors}" if errors else ""),
    )


def instruction_set() -> str:
    """Return the best instruction set that the library was built for, whatever the machine has."""
    part = _CPU_PART.search(native.system_info().decode())
    features = dict(_features(part.group(1))) if part else {}
    return next((name for flag, name in _INSTRUCTION_SETS.items() if flag in features), "generic")


def _features(text: str) -> Iterator[tuple[str, str]]:
    for feature in text.split("|"):
        name, equals, value = feature.partition("=")
        if equals:
            yield name.strip(), value.strip()


def _devices() -> Iterator[Device]:
    for number in range(native.device_count()):
        handle = native.get_device(number)
        name = native.device_name(handle).decode()
        index = re.fullmatch(r"CUDA(\d+)", name)
        yield Device(
            handle=handle,
            name=name,
            description=native.device_description(handle).decode("utf-8", errors="replace"),
            cuda_index=int(index.group(1)) if index else None,
        )


def _chip(index: int) -> cuda.Chip:
    chip = cuda.chip(index)
    if chip is None:
        raise RequestRefused(
            Refusal.DEVICE_UNAVAILABLE,
            f"the compute capability and the number of multiprocessors of cuda:{index} "
            "cannot be read, so its profile is unknown",
        )
    return chip
