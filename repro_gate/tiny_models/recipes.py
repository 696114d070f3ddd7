"""The built-in models by name; importing this needs neither numpy nor gguf."""

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from repro_gate.tiny_models.architectures import PHI3, QWEN2, Architecture, Shape, Tensor
from repro_gate.tiny_models.tokenizers import Metadata


class Encoding(Enum):
    """How matrices are stored; vectors are float32 always. Values are GGUF's file types."""

    F32 = 0
    Q8_0 = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that the bytes of a model follow from, besides this package's code."""

    name: str
    """What users call the model."""

    title: str
    """`general.name`, which llama.cpp searches for "phi-3" to choose how it tokenizes."""

    architecture: Architecture
    shape: Shape

    trained_vocabulary: int
    """Tokens in use; the rest of the vocabulary is padding."""

    encoding: Encoding
    seed: int

    def tensors(self) -> tuple[Tensor, ...]:
        """Return every tensor of the file, in its order."""
        return self.architecture.tensors(self.shape)

    def metadata(self) -> Metadata:
        """Return all metadata of the file after `general.architecture`."""
        general: Metadata = {
            "general.type": "model",
            "general.name": self.title,
            "general.description": "Random weights made by repro-gate for its own tests.",
            "general.file_type": self.encoding.value,
            "general.quantization_version": 2,
        }
        vocabulary = self.architecture.vocabulary(self.trained_vocabulary)
        return (
            general
            | self.architecture.metadata(self.shape)
            | vocabulary.padded(self.shape.vocabulary).metadata()
        )


# The seeds of the two tiny models were picked so that, of the fifteen generations of each in
# `tests/tiny_models/test_entropy.py`, exactly one ends before its limit, as real ones do.
_TINY_QWEN2 = Recipe(
    name="tiny-qwen2",
    title="tiny-qwen2",
    architecture=QWEN2,
    shape=Shape(
        embedding=64,
        heads=4,
        kv_heads=2,
        layers=2,
        feed_forward=128,
        context_length=4096,
        vocabulary=640,
    ),
    trained_vocabulary=640,
    encoding=Encoding.F32,
    seed=17,
)

_TINY_PHI3 = Recipe(
    name="tiny-phi3",
    title="tiny-phi-3",
    architecture=PHI3,
    shape=Shape(
        embedding=64,
        heads=4,
        kv_heads=4,
        layers=2,
        feed_forward=128,
        context_length=4096,
        vocabulary=704,
    ),
    trained_vocabulary=704,
    encoding=Encoding.F32,
    seed=29,
)

_QWEN2_5_0_5B_SHAPE = Recipe(
    name="qwen2.5-0.5b-shape",
    title="qwen2.5-0.5b-shape",
    architecture=QWEN2,
    shape=Shape(
        embedding=896,
        heads=14,
        kv_heads=2,
        layers=24,
        feed_forward=4864,
        context_length=32768,
        vocabulary=151936,
    ),
    trained_vocabulary=640,
    encoding=Encoding.Q8_0,
    seed=1,
)

RECIPES = MappingProxyType(
    {recipe.name: recipe for recipe in (_TINY_QWEN2, _TINY_PHI3, _QWEN2_5_0_5B_SHAPE)}
)
"""Every recipe by its name; the last one is for benchmarks, in the sizes of Qwen2.5-0.5B."""
