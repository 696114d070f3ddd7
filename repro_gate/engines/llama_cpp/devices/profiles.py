"""The profile of a device: the class of machine for which goldens are valid.

Each backend has its own parts, from what it reports itself: whatever chooses or compiles the
kernels. A part that cannot be read makes the device unavailable.
"""

import hashlib
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.devices import cuda, vulkan
from repro_gate.engines.llama_cpp.native_log import LogLine
from repro_gate.protocol import Refusal, RequestRefused

MAX_LENGTH = 64
"""Of a profile, according to the protocol."""
_DIGEST_LENGTH = 8
_WORD = re.compile(r"[a-z0-9]+(?:\.[a-z0-9]+)*")
_TRADEMARK = re.compile(r"\((?:r|tm)\)", re.IGNORECASE)
_CPU_PART = re.compile(r"CPU : (.*)")
_ROCM_DEVICE = re.compile(r"\s*Device (?P<index>\d+): .*, (?P<chip>gfx\w+)\b.*Wave Size: (\d+)")
_SYCL_DEVICE = re.compile(
    r"\|\s*(?P<index>\d+)\|\s*\[.*?\]\|(?:[^|]*\|){6}\s*(?P<driver>[^|]*?)\s*\|"
)
_SOFTWARE = re.compile(r"llvmpipe|lavapipe|swiftshader|microsoft basic render", re.IGNORECASE)
"""Drivers that compute on the CPU, and call themselves GPUs."""

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
class Profile:
    """A profile, and the facts about the device that it is made of."""

    name: str
    facts: dict[str, str]
    is_software: bool = False
    """Whether the device computes on the CPU, whatever llama.cpp calls it."""


def cpu_profile() -> str:
    """Return the profile of the CPU: machine and instruction set."""
    return f"cpu-{platform.machine().lower()}-{instruction_set()}"


def gpu_profile(backend: str, index: int, *, description: str, lines: Sequence[LogLine]) -> Profile:
    """Return the profile of another device.

    Args:
        backend: of the device.
        index: of the device, among those of its backend.
        description: the name that its maker gave it.
        lines: the log of llama.cpp since its start, in which some backends list their devices.
    """
    match backend:
        case "cuda":
            return _cuda(index)
        case "vulkan":
            return _vulkan(description)
        case "rocm":
            chip = _logged(_ROCM_DEVICE, lines, index, "chip", backend)
            # A chip is sold with different numbers of compute units, which only the name shows.
            return _made(backend, chip, description, facts={"chip": chip})
        case "sycl":
            driver = _logged(_SYCL_DEVICE, lines, index, "driver", backend)
            return _made(backend, description, driver, facts={"driver": driver})
        case "metal":
            system = platform.mac_ver()[0]
            return _made(backend, description, "macos", system, facts={"macos": system})
        case _:
            return _made(backend, description, facts={})


def instruction_set() -> str:
    """Return the best instruction set that the library was built for, whatever the machine has."""
    part = _CPU_PART.search(native.system_info().decode())
    features = dict(_features(part.group(1))) if part else {}
    return next((name for flag, name in _INSTRUCTION_SETS.items() if flag in features), "generic")


def slug(*texts: str) -> str:
    """Return the words of texts, each once, as a profile."""
    words = [word for text in texts for word in _WORD.findall(_TRADEMARK.sub("", text).lower())]
    return limited("-".join(dict.fromkeys(words)))


def of_several(names: Sequence[str]) -> str:
    """Return the profile of several devices in their order: how many of what."""
    runs = [(name, len(list(same))) for name, same in groupby(names)]
    return limited("-".join(f"{name}-x{count}" for name, count in runs))


def limited(name: str, suffix: str = "") -> str:
    """Return a profile that is short enough: of a long name, the end becomes a digest."""
    length = MAX_LENGTH - len(suffix)
    if len(name) <= length:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: length - _DIGEST_LENGTH - 1].rstrip('._-')}-{digest}{suffix}"


def _cuda(index: int) -> Profile:
    chip = cuda.chip(index)
    if chip is None:
        raise _unknown("the compute capability and the number of multiprocessors", f"cuda:{index}")
    facts = chip.facts() | {name: value for name, value in cuda.versions().items() if value}
    return Profile(name=chip.profile, facts=facts)


def _vulkan(description: str) -> Profile:
    driver = vulkan.driver_of(description)
    if driver is None:
        raise _unknown("the version of the driver", f"the Vulkan device {description!r}")
    facts = {"driver": driver.name, "driver_version": driver.version}
    is_software = driver.is_software or _SOFTWARE.search(description) is not None
    return _made(
        "vulkan", description, driver.name, driver.version, facts=facts, is_software=is_software
    )


def _made(backend: str, *texts: str, facts: dict[str, str], is_software: bool = False) -> Profile:
    return Profile(name=slug(backend, *texts), facts=facts, is_software=is_software)


def _logged(
    pattern: re.Pattern[str], lines: Sequence[LogLine], index: int, name: str, backend: str
) -> str:
    for line in lines:
        match = pattern.match(line.text)
        if match is not None and int(match["index"]) == index:
            return str(match[name])
    raise _unknown(f"the {name}", f"{backend}:{index}")


def _unknown(what: str, device: str) -> RequestRefused:
    return RequestRefused(
        Refusal.DEVICE_UNAVAILABLE, f"{what} of {device} cannot be read, so its profile is unknown"
    )


def _features(text: str) -> Iterator[tuple[str, str]]:
    for feature in text.split("|"):
        name, equals, value = feature.partition("=")
        if equals:
            yield name.strip(), value.strip()
