"""The tensors and metadata that llama.cpp expects of a Qwen2 and of a Phi-3 file."""

from collections.abc import Callable
from dataclasses import dataclass

from repro_gate.tiny_models.tokenizers import (
    Metadata,
    Vocabulary,
    byte_fallback_vocabulary,
    byte_level_vocabulary,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a transformer; all counts, no bytes."""

    embedding: int
    heads: int
    kv_heads: int
    layers: int
    feed_forward: int
    context_length: int
    vocabulary: int

    def __post_init__(self) -> None:
        """Raise `ValueError` when the heads do not divide what they share."""
        if self.embedding % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"embedding {self.embedding}, heads {self.heads} and kv_heads {self.kv_heads}"
                " must divide one another"
            )

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.embedding // self.heads

    @property
    def keys(self) -> int:
        """Width of all keys of a layer together, which is the width of all values too."""
        return self.kv_heads * self.head


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a file, and how its random numbers are spread."""

    name: str

    shape: tuple[int, ...]
    """Rows first, as numpy has it: a matrix is (outputs, inputs)."""

    exponent: int
    """The numbers have a standard deviation of 2**exponent / sqrt(3)."""

    centre: int = 0
    """The mean of the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A family of models that llama.cpp runs by name."""

    name: str
    """The value of `general.architecture`, which is also the prefix of its own keys."""

    vocabulary: Callable[[int], Vocabulary]
    """Makes the family's kind of vocabulary, of at most that many tokens."""

    settings: Callable[[Shape], Metadata]
    """Makes the keys that only this family has, without their prefix."""

    layer: Callable[[Shape], tuple[Tensor, ...]]
    """Makes the tensors of one layer, without their `blk.N.` prefix."""

    def metadata(self, shape: Shape) -> Metadata:
        """Return every key under this architecture's name."""
        keys: Metadata = {
            "context_length": shape.context_length,
            "embedding_length": shape.embedding,
            "block_count": shape.layers,
            "feed_forward_length": shape.feed_forward,
            "attention.head_count": shape.heads,
            "attention.head_count_kv": shape.kv_heads,
        }
        return {f"{self.name}.{key}": value for key, value in (keys | self.settings(shape)).items()}

    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:
        """Return every tensor of a model of this shape, in the order of the file."""
        layers = (
            Tensor(
                name=f"blk.{index}.{tensor.name}",
                shape=tensor.shape,
                exponent=tensor.exponent,
                centre=tensor.centre,
            )
            for index in range(shape.layers)
            for tensor in self.layer(shape)
        )
        return (
            Tensor(name="token_embd.weight", shape=(shape.vocabulary, shape.embedding), exponent=0),
            *layers,
            _norm("output_norm.weight", shape),
            # Untied and twice as wide as a layer's matrices: logits with a standard deviation
            # near 2.3, so that sampling at 0.5 to 0.9 has a choice, and not a flat one.
            _matrix("output.weight", shape.vocabulary, shape.embedding, gain=2),
        )


def _matrix(name: str, outputs: int, inputs: int, *, gain: int = 1) -> Tensor:
    # For an input of unit variance the output's standard deviation is near 2**gain / sqrt(3).
    return Tensor(name=name, shape=(outputs, inputs), exponent=gain - inputs.bit_length() // 2)


def _norm(name: str, shape: Shape) -> Tensor:
    return Tensor(name=name, shape=(shape.embedding,), centre=1, exponent=-3)


def _bias(name: str, width: int) -> Tensor:
    return Tensor(name=name, shape=(width,), exponent=-2)


def _qwen2_settings(_shape: Shape) -> Metadata:
    return {
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1_000_000.0,
    }


def _qwen2_layer(shape: Shape) -> tuple[Tensor, ...]:
    return (
        _norm("attn_norm.weight", shape),
        _matrix("attn_q.weight", shape.embedding, shape.embedding),
        _bias("attn_q.bias", shape.embedding),
        _matrix("attn_k.weight", shape.keys, shape.embedding),
        _bias("attn_k.bias", shape.keys),
        _matrix("attn_v.weight", shape.keys, shape.embedding),
        _bias("attn_v.bias", shape.keys),
        _matrix("attn_output.weight", shape.embedding, shape.embedding),
        _norm("ffn_norm.weight", shape),
        _matrix("ffn_gate.weight", shape.feed_forward, shape.embedding),
        _matrix("ffn_up.weight", shape.feed_forward, shape.embedding),
        _matrix("ffn_down.weight", shape.embedding, shape.feed_forward),
    )


def _phi3_settings(shape: Shape) -> Metadata:
    return {
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.sliding_window": shape.context_length // 2 - 1,
        "rope.dimension_count": shape.head,
        "rope.freq_base": 10_000.0,
        "rope.scaling.original_context_length": shape.context_length,
    }


def _phi3_layer(shape: Shape) -> tuple[Tensor, ...]:
    return (
        _norm("attn_norm.weight", shape),
        _matrix("attn_qkv.weight", shape.embedding + 2 * shape.keys, shape.embedding),
        _matrix("attn_output.weight", shape.embedding, shape.embedding),
        _norm("ffn_norm.weight", shape),
        _matrix("ffn_up.weight", 2 * shape.feed_forward, shape.embedding),
        _matrix("ffn_down.weight", shape.embedding, shape.feed_forward),
    )


QWEN2 = Architecture(
    name="qwen2",
    vocabulary=byte_level_vocabulary,
    settings=_qwen2_settings,
    layer=_qwen2_layer,
)

PHI3 = Architecture(
    name="phi3",
    vocabulary=byte_fallback_vocabulary,
    settings=_phi3_settings,
    layer=_phi3_layer,
)
