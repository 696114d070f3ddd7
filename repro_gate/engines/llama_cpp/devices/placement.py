"""Where a loaded model and its contexts are, and how many more contexts fit.

A build without CUDA, or one whose CUDA does not start, accepts "all layers on the GPU" silently
and runs them on the CPU, so the placement is read from the log of llama.cpp.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from repro_gate.engines.llama_cpp.native_log import LogLine
from repro_gate.protocol import CPU, Refusal, RequestRefused
from repro_gate.settings import SplitMode

_MAX_DEFAULT = 16
"""On an H200, 32 contexts are slower than 16."""
_SIDE_BY_SIDE = frozenset({"cpu", "cuda"})
"""Backends on which contexts were seen to compute side by side without changing each other."""
_MIB = 2**20
_LAYER = re.compile(r"load_tensors: layer\s+\d+ assigned to device (\S+),")
_BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute) buffer size =\s+([\d.]+) MiB")
_LOAD_MODE = re.compile(r"\(load_mode = (\S+)\)")
_SPLITS = re.compile(r"sched_reserve: graph.*splits = (\d+(?: / \d+)?)")
_ROPE = re.compile(r"llama_context: (freq_base|freq_scale)\s+= (\S+)")
_ANY_BUFFER = re.compile(r"(\S+)\s+\w+ buffer size =\s+([\d.]+) MiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on a GPU, and on the host."""

    gpu: int = 0
    host: int = 0

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(gpu=self.gpu + other.gpu, host=self.host + other.host)

    def __sub__(self, other: "Memory") -> "Memory":
        return self + other.times(-1)

    def times(self, count: int) -> "Memory":
        """Return the memory of several."""
        return Memory(gpu=self.gpu * count, host=self.host * count)

    def fits(self, free: "Memory") -> bool:
        """Return whether it fits in free memory."""
        return self.gpu <= free.gpu and self.host <= free.host


_RESERVE = Memory(gpu=1024 * _MIB, host=512 * _MIB)
"""Stays free, for other programs."""
_FIRST_DECODE = Memory(gpu=256 * _MIB)
"""What a context allocates later: cuBLAS, CUDA graphs, pools."""
_PROCESS = Memory(gpu=768 * _MIB, host=512 * _MIB)
"""An engine without a model: CUDA and its kernels, Python and its libraries."""


def memory_of_buffers(lines: Sequence[LogLine], *, gpus: Collection[str]) -> Memory:
    """Return what the buffers in a log take; pages of a mapped file are shared.

    Args:
        lines: what was logged while something was loaded or made.
        gpus: the names of the GPUs in the log.
    """
    total = Memory()
    for owner, size in _found(_ANY_BUFFER, lines):
        size_bytes = int(float(size) * _MIB)
        if owner in gpus:
            total += Memory(gpu=size_bytes)
        elif not owner.endswith("_Mapped"):
            total += Memory(host=size_bytes)
    return total


def default_contexts(
    backend: str, split: SplitMode = SplitMode.LAYER, *, cores: int, threads: int
) -> int:
    """Return how many contexts devices of a backend can keep busy, as far as that is known."""
    if backend not in _SIDE_BY_SIDE or split is SplitMode.TENSOR:
        return 1
    return _MAX_DEFAULT if backend != CPU else max(1, min(_MAX_DEFAULT, cores // threads))


def fitting_contexts(wanted: int, *, one: Memory, free: Memory) -> int:
    """Return how many of the wanted contexts fit, at least the first, which is there already.

    Args:
        wanted: at least 1.
        one: the memory of one context.
        free: what is free after the first one.
    """
    left = free - _RESERVE - _FIRST_DECODE
    more = (one + _FIRST_DECODE).times
    return next(n for n in range(wanted, 0, -1) if n == 1 or more(n - 1).fits(left))


def has_room_for_another(*, model: Memory, one: Memory, made: int, free: Memory) -> bool:
    """Return whether another process could load the same model, with one context.

    Args:
        model: the memory of the weights.
        one: the memory of one context.
        made: how many contexts this process has, of which none has decoded yet.
        free: what is free with them.
    """
    # The pages of a context on the host are taken when it first computes.
    own = (_FIRST_DECODE + Memory(host=one.host)).times(made)
    return (_PROCESS + model + one + _FIRST_DECODE + own).fits(free - _RESERVE)


def too_many_contexts(wanted: int, *, fitting: int, device: str) -> RequestRefused:
    """Return the error for an explicit number of contexts that does not fit."""
    return RequestRefused(
        Refusal.DEVICE_UNAVAILABLE,
        f"no memory on {device} for contexts = {wanted}: {fitting} would fit",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which layers and buffers are on which device."""

    layers: int
    """With the output layer; the table of token embeddings is always on the CPU."""
    layers_on_device: int
    facts: dict[str, str]

    def with_context(self, lines: Sequence[LogLine]) -> "Placement":
        """Return the same with what was logged when the context was made."""
        facts = self.facts | _buffers(lines)
        for name, value in _found(_ROPE, lines):
            facts[f"rope.{name}"] = value
        for (splits,) in _found(_SPLITS, lines):
            facts["graph.splits"] = splits
        return replace(self, facts=facts)


def placement_of_weights(lines: Sequence[LogLine], devices: Collection[str]) -> Placement:
    """Return where the weights are, from the log of their load."""
    layers = Counter(name for (name,) in _found(_LAYER, lines))
    facts = _buffers(lines)
    if len(layers) > 1:
        facts["layers"] = ", ".join(f"{count} on {name}" for name, count in layers.items())
    for (mode,) in _found(_LOAD_MODE, lines):
        facts["setting.load_mode"] = mode
    on_device = sum(layers[name] for name in devices)
    return Placement(layers=layers.total(), layers_on_device=on_device, facts=facts)


def _buffers(lines: Sequence[LogLine]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for owner, purpose, size in _found(_BUFFER, lines):
        found.setdefault(f"memory.{purpose.lower()}", []).append(f"{owner} {size} MiB")
    return {name: ", ".join(sizes) for name, sizes in found.items()}


def _found(pattern: re.Pattern[str], lines: Sequence[LogLine]) -> list[tuple[str, ...]]:
    return [match.groups() for line in lines if (match := pattern.search(line.text))]
