"""The class of machine on which a started server computes: its profile, and facts about it."""

import os
import platform
import re
from pathlib import Path
from typing import Final

from repro_gate.engines import cuda_driver
from repro_gate.protocol import DeviceRequest, Refusal, RequestRefused
from repro_gate.server_settings import ServerSettings

_CPU_INFO: Final = Path("/proc/cpuinfo")
_FIELD: Final = re.compile(
    r"^(?P<name>flags|Features|model name)\s*:\s*(?P<value>.*)$", re.MULTILINE
)
# Best first, as in the profiles of llama.cpp.
_INSTRUCTION_SETS: Final = {
    "amx_int8": "amx",
    "avx512f": "avx512",
    "avx2": "avx2",
    "avx": "avx",
    "sme": "sme",
    "sve": "sve",
    "i8mm": "i8mm",
    "asimddp": "dotprod",
    "asimd": "neon",
}
_VISIBLE: Final = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def profile_of(settings: ServerSettings, device: DeviceRequest) -> str:
    """Return the profile for which goldens are valid; refuse a device that is unknown."""
    if settings.profile is not None:
        return settings.profile
    if device.is_cpu:
        machine = f"cpu-{platform.machine().lower()}-{_instruction_set()}"
    else:
        machine = _chip(device).profile
    return f"{settings.dialect.value}-{machine}"


def facts_of(device: DeviceRequest) -> dict[str, str]:
    """Return what is known of this machine."""
    known = {
        "host.machine": platform.machine(),
        "host.libc": " ".join(platform.libc_ver()).strip(),
        "host.cpu": _cpu_info().get("model name", ""),
    }
    if device.backend == "cuda":
        chip = cuda_driver.chip_of(cuda_driver.driver_attribute, device.index)
        shown = {
            "description": cuda_driver.device_name(device.index),
            "nvidia_driver": cuda_driver.nvidia_driver(),
            **(chip.facts() if chip is not None else {}),
        }
        known |= {f"device.{name}": value for name, value in shown.items() if value}
    return {name: value for name, value in known.items() if value}


def visible_devices(device: DeviceRequest) -> dict[str, str]:
    """Return the variables that let a server see no other device than the requested one."""
    if device.is_cpu:
        # It would take a GPU otherwise, and its goldens would be those of another machine.
        return dict.fromkeys(_VISIBLE, "")
    if device.backend == "cuda" and ":" in device.name:
        seen = os.environ.get(_VISIBLE[0], "").split(",")
        number = seen[device.index] if device.index < len(seen) and seen[0] else str(device.index)
        return {_VISIBLE[0]: number}
    return {}


def _chip(device: DeviceRequest) -> cuda_driver.Chip:
    chip = None
    if device.backend == "cuda":
        chip = cuda_driver.chip_of(cuda_driver.driver_attribute, device.index)
    if chip is None:
        raise RequestRefused(
            Refusal.DEVICE_UNAVAILABLE,
            f"the class of machine of {device.name} cannot be read here; name it with profile",
        )
    return chip


def _instruction_set() -> str:
    info = _cpu_info()
    flags = f"{info.get('flags', '')} {info.get('Features', '')}".split()
    return next((name for flag, name in _INSTRUCTION_SETS.items() if flag in flags), "generic")


def _cpu_info() -> dict[str, str]:
    try:
        text = _CPU_INFO.read_text("utf-8", errors="replace")
    except OSError:
        return {}
    # Of the last core; they are alike.
    return {match["name"]: match["value"].strip() for match in _FIELD.finditer(text)}
