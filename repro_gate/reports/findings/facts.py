"""What is known of the facts in a provenance: whether a change of one changes results."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from repro_gate.core.tokens.golden import FactChange, is_always_recorded


class Effect(IntEnum):
    """What a change of a fact can do to tokens, the strongest first."""

    RESULTS = 0
    ROUNDING = 1
    POSSIBLE = 2
    NONE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFact:
    """What is known of the facts that start with a prefix."""

    effect: Effect
    sentence: str


def known_fact(name: str) -> KnownFact:
    """Return what is known of a fact, by the longest prefix of its name."""
    matching = [prefix for prefix in _KNOWN if name.startswith(prefix)]
    return _KNOWN[max(matching, key=len)]


def known_change(change: FactChange) -> KnownFact:
    """Return what is known of the change of a fact."""
    return _NEW if _is_new(change) else known_fact(change.name)


def by_effect(changes: Sequence[FactChange]) -> list[FactChange]:
    """Return changed facts with those first that change results; the order is kept otherwise."""
    return sorted(changes, key=_rank)


def _rank(change: FactChange) -> tuple[bool, Effect]:
    return _is_new(change), known_fact(change.name).effect


def _is_new(change: FactChange) -> bool:
    return change.before is None and is_always_recorded(change.name)


def _results(sentence: str) -> KnownFact:
    return KnownFact(effect=Effect.RESULTS, sentence=sentence)


def _rounding(sentence: str) -> KnownFact:
    return KnownFact(effect=Effect.ROUNDING, sentence=sentence)


def _possible(sentence: str) -> KnownFact:
    return KnownFact(effect=Effect.POSSIBLE, sentence=sentence)


def _none(sentence: str) -> KnownFact:
    return KnownFact(effect=Effect.NONE, sentence=sentence)


_NEW: Final = _none("The golden was recorded without this fact, so it may not have changed.")
_PERHAPS_ANOTHER: Final = "Another device may run other kernels, which round differently."
_ANOTHER_DEVICE: Final = "Other devices have other kernels, which round differently."
_SPLIT: Final = "Decides which device computes what: other devices round differently."
_PROMPT_PARTS: Final = "Cuts the prompt into other parts: a very short part rounds differently."
_KNOWN: Final = {
    "": _possible("Nothing is known of this fact."),
    "model.": _possible("Describes the model file."),
    "model.sha256": _results("Another file: every log-probability may differ."),
    "model.lora.": _results("An adapter or its scale changes every log-probability."),
    "model.file_type": _results("Other quantized weights change every log-probability."),
    "model.tokenizer": _results("The same text may become other tokens."),
    "model.vocabulary": _results("The same text may become other tokens."),
    "model.end_of_generation": _results("A generation may end at other tokens."),
    "chat.": _results("The same messages may be rendered as another text."),
    "setting.": _possible("A setting of the engine; its documentation has the effect."),
    "setting.rope": _results("Positions are computed differently, so all log-probabilities move."),
    "setting.yarn": _results("Positions are computed differently, so all log-probabilities move."),
    "rope.": _results("Positions are computed differently, so all log-probabilities move."),
    "setting.flash_attention": _rounding(
        "Attention adds up in another order, and rounds keys and values to 16 bits."
    ),
    "setting.kv_type": _rounding(
        "Keys and values have another precision; with flash attention f32 and f16 are equal."
    ),
    "setting.repack": _rounding("Repacked weights have other kernels, which round differently."),
    "setting.device": _rounding(_ANOTHER_DEVICE),
    "device.": _possible(_PERHAPS_ANOTHER),
    "device.name": _rounding(_ANOTHER_DEVICE),
    "setting.split_mode": _rounding(_SPLIT),
    "setting.tensor_split": _rounding(_SPLIT),
    "setting.gpus": _rounding(_SPLIT),
    "setting.gpu_layers": _rounding(_SPLIT),
    "setting.op_offload": _rounding(_SPLIT),
    "setting.offload_kqv": _rounding(_SPLIT),
    "layers": _rounding(_SPLIT),
    "build.features": _rounding("Kernels for other instructions of the CPU round differently."),
    "setting.n_ubatch": _possible(_PROMPT_PARTS),
    "setting.n_batch": _possible(_PROMPT_PARTS),
    "setting.swa_full": _possible("With flash attention a long prompt may be rounded differently."),
    "engine": _possible("Another version may have other kernels or samplers."),
    "library.": _possible("Other bytes of a library: every build differs, with equal code too."),
    "host.cpu": _possible(_PERHAPS_ANOTHER),
    "host.libc": _possible("Other versions of exp and log may round differently."),
    "host.machine": _rounding("Another architecture has other kernels, which round differently."),
    "server.": _possible("An option or the version of the server."),
    "server.slots": _possible("Requests that share a batch may be rounded differently."),
    "env.": _possible("The variable may choose a library, a kernel or a device."),
    "setting.threads": _possible(
        "No effect, except with flash attention and a cache of 512 or more: another order of sums."
    ),
    "setting.n_ctx": _possible("A cache of another length may be added up in another order."),
    "setting.n_seq_max": _none("No effect was seen on a sequence that is alone in its context."),
    "setting.kv_unified": _none("No effect was seen on a sequence that is alone in its context."),
    "setting.load_mode": _none("How the file comes into memory changes no result."),
    "setting.no_host": _none("Where buffers are changes no result."),
    "memory.": _none("A consequence of the model, the settings and the engine."),
    "graph.": _none("A consequence of the model, the settings and the engine."),
}
"""Measured with the llama.cpp engine; see docs/explanation/determinism.md."""
