"""What produces the results, as flat facts: engine, libraries, host, model and settings."""

import hashlib
import os
import platform
import re
from functools import cache
from pathlib import Path

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.settings import Value, shown

_MAPS = Path("/proc/self/maps")
_RESULT_CHANGING = re.compile(
    r"GGML_(?!NO_BACKTRACE).+"
    r"|LLAMA_(?:ATTN_ROT_DISABLE|GRAPH_REUSE_DISABLE|CPP_LIB_PATH)"
    r"|CUDA_(?:VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|FORCE_PTX_JIT|DISABLE_PTX_JIT)"
    r"|NVIDIA_TF32_OVERRIDE|CUBLAS_.+|CUBLASLT_.+"
    r"|(?:HIP|ROCR|HSA|ROCBLAS|HIPBLASLT|MUSA)_.+|GPU_DEVICE_ORDINAL"
    r"|(?:VK|MVK|MESA|RADV|LP|ACO|AMD|ANV|NVK)_.+|(?:MTL|METAL)_.+"
    r"|(?:SYCL|ONEAPI|ZE|UR|IGC|ONEDNN|DNNL|ASCEND)_.+"
    r"|(?:OMP|GOMP|KMP|OPENBLAS|MKL|BLIS)_.+"
    r"|GLIBC_TUNABLES|LD_PRELOAD|LD_LIBRARY_PATH|DYLD_.+"
)
"""Variables by the prefixes of ggml, its backends and their drivers."""


def engine_facts() -> dict[str, str]:
    """Return the facts besides model, device and settings; unknown ones are left out."""
    return _engine() | _library_digests() | _host() | _environment()


def _engine() -> dict[str, str]:
    return {
        "engine.llama_cpp_python": native.BINDINGS_VERSION,
        "engine.llama": native.llama_version().decode(),
        "engine.ggml": native.ggml_version().decode(),
        "engine.ggml_commit": native.ggml_commit().decode(),
        "build.features": native.system_info().decode().strip(" |"),
    }


@cache
def _library_digests() -> dict[str, str]:
    # Every build from the source archive has a "dirty" commit, so only the bytes identify it.
    digests: dict[str, str] = {}
    for path in sorted(loaded_libraries()):
        with path.open("rb") as file:
            digests[f"library.{path.name}.sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def loaded_libraries(maps: Path = _MAPS) -> set[Path]:
    """Return the files of the loaded libraries of llama.cpp, or all that could be loaded."""
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        # Only Linux lists what is loaded. The wheel has several names for each library.
        folder = native.LIBRARY_FOLDER
        return {file for file in folder.glob("lib*") if file.is_file() and not file.is_symlink()}
    paths = {Path(fields[5]) for line in lines if len(fields := line.split(maxsplit=5)) > 5}  # noqa: PLR2004
    return {
        path
        for path in paths
        if path.parent == native.LIBRARY_FOLDER and path.name.startswith("lib")
    }


def _host() -> dict[str, str]:
    known = {
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "cpu": _cpu(),
    }
    return {f"host.{name}": value for name, value in known.items() if value}


def _cpu() -> str:
    for number in range(native.device_count()):
        handle = native.get_device(number)
        if native.device_type(handle) == native.DEVICE_TYPE_CPU:
            return native.device_description(handle).decode("utf-8", errors="replace").strip()
    return ""


def _environment() -> dict[str, str]:
    home = os.path.expanduser("~")  # noqa: PTH111 -- it is replaced within lists of paths
    return {
        f"env.{name}": value.replace(home, "~") if len(home) > 1 else value
        for name, value in sorted(os.environ.items())
        if _RESULT_CHANGING.fullmatch(name)
    }


def model_facts(session: Session) -> dict[str, str]:
    """Return the facts about the loaded model and its effective settings."""
    facts = _model(session) | session.chat_template.facts()
    return facts | _settings(session) | session.placement.facts


def _model(session: Session) -> dict[str, str]:
    model, files = session.model, session.file.files
    tokenizer = [native.metadata(model, f"tokenizer.ggml.{key}") for key in ("model", "pre")]
    known = {
        "sha256": session.file.sha256,
        "size_bytes": str(session.file.size),
        "parts": str(len(files)) if files[1:] else None,
        "description": native.description(model),
        "parameters": str(native.n_params(model)),
        "architecture": native.metadata(model, "general.architecture"),
        "name": native.metadata(model, "general.name"),
        "file_type": native.file_type(model),
        "tokenizer": " ".join(filter(None, tokenizer)),
        "vocabulary": str(session.tokenizer.size),
        "end_of_generation": " ".join(map(str, session.tokenizer.end_of_generation)),
    }
    for number, one in enumerate(session.lora, start=1):
        known[f"lora.{number}.sha256"] = one.file.sha256
        known[f"lora.{number}.scale"] = str(one.scale)
    return {f"model.{name}": value for name, value in known.items() if value is not None}


def _settings(session: Session) -> dict[str, str]:
    context = session.slots[0].context
    devices, offload = session.device.devices, session.device.offload
    effective: dict[str, Value] = {
        "device": session.device.name,
        "n_ctx": native.n_ctx(context),
        "n_batch": native.n_batch(context),
        "n_ubatch": native.n_ubatch(context),
        "n_seq_max": native.n_seq_max(context),
        "threads": native.n_threads(context),
        "threads_batch": native.n_threads_batch(context),
        "kv_unified": False,
        "no_host": False,
        "split_mode": "none" if len(devices) == 1 else offload.split_mode.value,
    }
    if len(devices) > 1:
        effective["gpus"] = len(devices)
        effective["tensor_split"] = list(offload.tensor_split)
    if offload.gpu_layers is not None:
        effective["gpu_layers"] = offload.gpu_layers
    facts = session.settings.facts() | {name: shown(value) for name, value in effective.items()}
    return {f"setting.{name}": fact for name, fact in facts.items()}
