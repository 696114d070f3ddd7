"""Finds NVIDIA GPUs, and whether the built-in engine can use them."""

import subprocess
from pathlib import Path
from typing import Final

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.core.engines import EngineKind, EngineSpec
from repro_gate.errors import MeasurementUnavailable

_QUERY: Final = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
_TIMEOUT_S: Final = 5.0
_DESCRIBING_S: Final = 60.0
_MAX_GPUS: Final = 16


def nvidia_gpus() -> tuple[str, ...]:
    """Return the names of the GPUs that nvidia-smi lists."""
    try:
        listed = subprocess.run(  # noqa: S603 -- a fixed command
            _QUERY, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = listed.stdout.decode(errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())[:_MAX_GPUS]


def built_in_engine(device: str) -> EngineSpec:
    """Return the built-in engine on a device, before any of its settings is known."""
    return EngineSpec(
        name="local",
        kind=EngineKind.LLAMA_CPP,
        command=(),
        device=device,
        settings={},
        timeout_s=_DESCRIBING_S,
        pass_env=(),
    )


def cuda_problem(folder: Path) -> str | None:
    """Return why the built-in engine has no CUDA device, or None; a process of its own is asked."""
    processes = EngineProcesses(folder, None)
    try:
        engine = processes.start(built_in_engine("cuda"))
        try:
            engine.describe()
        finally:
            engine.close()
    except MeasurementUnavailable as error:
        return error.reason
    finally:
        processes.close()
    return None
