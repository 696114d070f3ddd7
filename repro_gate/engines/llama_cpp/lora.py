"""LoRA adapters: what is none, or would not fully apply to the model, is refused or noted."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.model_file import ModelFile, model_invalid
from repro_gate.protocol import Refusal, RequestRefused

_KEYS = (
    *("general.architecture", "general.type", "adapter.type", "adapter.lora.alpha"),
    "split.count",
)
_IGNORED = re.compile(r".*(?:_norm\.weight(?:\.lora_[ab])?|\.bias\.lora_[ab])")
_EMBEDDING = "token_embd.weight"
_OUTPUT = "output.weight"
"""Without it, the embedding is the output layer too."""
_FAILED = re.compile(r".*failed to apply lora adapter: ")
_NO_MEMORY = "failed to allocate buffer"
_MAX_ORDERED = 2
"""llama.cpp iterates over a hash table of addresses, which keeps the order of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """An adapter that was asked for."""

    file: ModelFile
    scale: float


def load_adapters(
    model: native.Model, files: Sequence[Path], adapters: Sequence[Lora]
) -> Sequence[tuple[native.Adapter, float]]:
    """Return the loaded adapters with their scales; the model, of these files, frees them."""
    for one in adapters:
        _require_adapter(model, one)
        _require_own_output(files, one)
    return [(_load(model, one), one.scale) for one in adapters]


def lora_notes(adapters: Sequence[Lora]) -> Iterator[str]:
    """Yield the notes on the adapters of a loaded model."""
    for one in adapters:
        ignored = list(filter(_IGNORED.fullmatch, _tensors(one)))
        if ignored:
            yield (
                f"llama.cpp ignores {len(ignored)} tensors of the adapter {one.file.path.name}, "
                f"such as {ignored[0]}: it does not apply adapters to norms or biases"
            )
    if len(adapters) > _MAX_ORDERED:
        yield (
            f"llama.cpp may add more than {_MAX_ORDERED} adapters in another order in another "
            "process, which changes the last bits of the results"
        )


def _load(model: native.Model, lora: Lora) -> native.Adapter:
    path = lora.file.path
    mark = native.LOG.mark()
    adapter = native.load_adapter(model, str(path).encode())
    if adapter is None:
        errors = [_FAILED.sub("", error) for error in native.LOG.errors_since(mark)]
        cause = errors[0] if errors else "no reason given"
        if cause.startswith(_NO_MEMORY):
            message = f"no memory for the adapter {path}"
            raise RequestRefused(Refusal.DEVICE_UNAVAILABLE, message)
        raise model_invalid(f"{path}: llama.cpp cannot apply the adapter to this model: {cause}")
    if native.invocation_tokens(adapter):
        raise model_invalid(
            f"{path}: an activated LoRA (aLoRA): llama-server applies it from its invocation "
            "tokens on, which this engine does not do"
        )
    lora.file.require_unchanged()
    return adapter


def _require_adapter(model: native.Model, lora: Lora) -> None:
    """Refuse a file that llama.cpp would not read, would abort on, or would read in part."""
    path = lora.file.path
    found = native.read_gguf(path, _KEYS)
    if found is None:
        raise model_invalid(
            f"{path}: not a GGUF file; convert_lora_to_gguf.py makes one of an adapter"
        )
    kinds = found.get("general.type", "none"), found.get("adapter.type", "none")
    if kinds != ("adapter", "lora"):
        raise model_invalid(
            f"{path}: expected a LoRA adapter, found general.type = {kinds[0]} and adapter.type = "
            f"{kinds[1]}"
        )
    architecture = native.metadata(model, "general.architecture")
    if found.get("general.architecture") != architecture:
        raise model_invalid(
            f"{path}: an adapter for {found.get('general.architecture', 'no architecture')}, but "
            f"the model is {architecture}"
        )
    if found.get("adapter.lora.alpha") == native.OTHER_TYPE:
        raise model_invalid(f"{path}: adapter.lora.alpha is not a float of 32 bits")
    if found.get("split.count", "1") not in {"0", "1"}:
        raise model_invalid(f"{path}: one of several parts, of which llama.cpp reads only this one")
    if all(map(_IGNORED.fullmatch, _tensors(lora))):
        raise model_invalid(f"{path}: no tensor of the adapter applies, so it has no effect")


def _require_own_output(files: Sequence[Path], lora: Lora) -> None:
    """Refuse an adapter that llama.cpp would end the process with, at the first decode."""
    if not any(name.startswith(f"{_EMBEDDING}.") for name in _tensors(lora)):
        return
    if not any(_OUTPUT in native.gguf_tensors(path) for path in files):
        raise model_invalid(
            f"{lora.file.path}: the adapter changes {_EMBEDDING}, which is the output layer of "
            "this model too, where llama.cpp cannot apply it"
        )


def _tensors(lora: Lora) -> Sequence[str]:
    return native.gguf_tensors(lora.file.path)
