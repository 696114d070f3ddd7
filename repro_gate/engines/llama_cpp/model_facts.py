"""What a loaded model is and how it runs, as flat facts."""

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.session import Session


def model_facts(session: Session) -> dict[str, str]:
    """Return every fact about the loaded model and every setting that is in effect."""
    return _model(session) | _settings(session) | session.placement.facts


def _model(session: Session) -> dict[str, str]:
    model = session.model
    tokenizer = [native.metadata(model, f"tokenizer.ggml.{key}") for key in ("model", "pre")]
    known = {
        "sha256": session.file.sha256,
        "size_bytes": str(session.file.size),
        "description": native.description(model),
        "parameters": str(native.n_params(model)),
        "architecture": native.metadata(model, "general.architecture"),
        "name": native.metadata(model, "general.name"),
        "file_type": native.file_type(model),
        "tokenizer": " ".join(filter(None, tokenizer)),
        "vocabulary": str(session.tokenizer.size),
    }
    return {f"model.{name}": value for name, value in known.items() if value is not None}


def _settings(session: Session) -> dict[str, str]:
    context, settings = session.context, session.settings
    effective: dict[str, bool | int | str] = {
        "device": session.device.name,
        "n_ctx": native.n_ctx(context),
        "n_batch": native.n_batch(context),
        "n_ubatch": native.n_ubatch(context),
        "n_seq_max": native.n_seq_max(context),
        "threads": native.n_threads(context),
        "threads_batch": native.n_threads_batch(context),
        "flash_attention": settings.flash_attention,
        "kv_type": settings.kv_type.value,
        "kv_unified": False,
        "no_host": False,
        "offload_kqv": session.device.is_gpu,
        "op_offload": session.device.is_gpu,
        "repack": settings.repack,
        "rope": "model",
        "split_mode": "none",
        "swa_full": True,
    }
    return {
        f"setting.{name}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in effective.items()
    }
