"""Where a model really is, read from what llama.cpp logged while it loaded.

A build without CUDA, or one whose CUDA does not start, takes "all layers to the GPU" without a
word and runs them on the CPU: what was asked for proves nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from repro_gate.engines.llama_cpp.native_log import LogLine

_LAYER = re.compile(r"load_tensors: layer\s+\d+ assigned to device (\S+),")
_BUFFER = re.compile(r"(\S+)\s+(model|KV|compute) buffer size =\s+([\d.]+) MiB")
_LOAD_MODE = re.compile(r"\(load_mode = (\S+)\)")
_SPLITS = re.compile(r"sched_reserve: graph.*splits = (\d+(?: / \d+)?)")
_ROPE = re.compile(r"llama_context: (freq_base|freq_scale)\s+= (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What is where."""

    layers: int
    """The output layer included; the table of token embeddings is on the CPU always."""
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


def of_weights(lines: Sequence[LogLine], device: str) -> Placement:
    """Return where the weights are."""
    layers = [name for (name,) in _found(_LAYER, lines)]
    facts = _buffers(lines)
    for (mode,) in _found(_LOAD_MODE, lines):
        facts["setting.load_mode"] = mode
    return Placement(layers=len(layers), layers_on_device=layers.count(device), facts=facts)


def _buffers(lines: Sequence[LogLine]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for owner, purpose, size in _found(_BUFFER, lines):
        found.setdefault(f"memory.{purpose.lower()}", []).append(f"{owner} {size} MiB")
    return {name: ", ".join(sizes) for name, sizes in found.items()}


def _found(pattern: re.Pattern[str], lines: Sequence[LogLine]) -> list[tuple[str, ...]]:
    return [match.groups() for line in lines if (match := pattern.search(line.text))]
