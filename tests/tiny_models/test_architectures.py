"""The tensors and keys of the tiny models are those of real files of their families."""

from math import prod

import pytest

from repro_gate.tiny_models.architectures import PHI3, QWEN2, Architecture, Shape
from repro_gate.tiny_models.recipes import RECIPES, Encoding

SHAPE = Shape(
    embedding=64,
    heads=4,
    kv_heads=2,
    layers=1,
    feed_forward=96,
    context_length=512,
    vocabulary=1000,
)


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in architecture.tensors(SHAPE)}


def test_qwen2_has_biases_and_separate_projections() -> None:
    """A Qwen2 layer is written as llama.cpp's converter writes it."""
    assert _shapes(QWEN2) == {
        "token_embd.weight": (1000, 64),
        "blk.0.attn_norm.weight": (64,),
        "blk.0.attn_q.weight": (64, 64),
        "blk.0.attn_q.bias": (64,),
        "blk.0.attn_k.weight": (32, 64),
        "blk.0.attn_k.bias": (32,),
        "blk.0.attn_v.weight": (32, 64),
        "blk.0.attn_v.bias": (32,),
        "blk.0.attn_output.weight": (64, 64),
        "blk.0.ffn_norm.weight": (64,),
        "blk.0.ffn_gate.weight": (96, 64),
        "blk.0.ffn_up.weight": (96, 64),
        "blk.0.ffn_down.weight": (64, 96),
        "output_norm.weight": (64,),
        "output.weight": (1000, 64),
    }


def test_phi3_has_fused_projections() -> None:
    """A Phi-3 layer keeps query, key and value in one matrix, and gate and up in another."""
    assert _shapes(PHI3) == {
        "token_embd.weight": (1000, 64),
        "blk.0.attn_norm.weight": (64,),
        "blk.0.attn_qkv.weight": (128, 64),
        "blk.0.attn_output.weight": (64, 64),
        "blk.0.ffn_norm.weight": (64,),
        "blk.0.ffn_up.weight": (192, 64),
        "blk.0.ffn_down.weight": (64, 96),
        "output_norm.weight": (64,),
        "output.weight": (1000, 64),
    }


def test_phi3_keys() -> None:
    """The keys of a Phi-3 file carry the sizes of its shape."""
    assert PHI3.metadata(SHAPE) == {
        "phi3.context_length": 512,
        "phi3.embedding_length": 64,
        "phi3.block_count": 1,
        "phi3.feed_forward_length": 96,
        "phi3.attention.head_count": 4,
        "phi3.attention.head_count_kv": 2,
        "phi3.attention.layer_norm_rms_epsilon": 1e-5,
        "phi3.attention.sliding_window": 255,
        "phi3.rope.dimension_count": 16,
        "phi3.rope.freq_base": 10_000.0,
        "phi3.rope.scaling.original_context_length": 512,
    }


@pytest.mark.parametrize(("embedding", "heads", "kv_heads"), [(65, 4, 2), (64, 4, 3)])
def test_heads_that_do_not_divide_are_refused(embedding: int, heads: int, kv_heads: int) -> None:
    """A shape that llama.cpp would abort on cannot be built."""
    with pytest.raises(ValueError, match="must divide one another"):
        Shape(
            embedding=embedding,
            heads=heads,
            kv_heads=kv_heads,
            layers=1,
            feed_forward=96,
            context_length=512,
            vocabulary=1000,
        )


def test_the_benchmark_model_has_the_real_sizes() -> None:
    """The Qwen2.5-0.5B shape has that model's parameters, its output matrix counted apart."""
    recipe = RECIPES["qwen2.5-0.5b-shape"]
    tensors = {tensor.name: prod(tensor.shape) for tensor in recipe.tensors()}
    # https://huggingface.co/Qwen/Qwen2.5-0.5B: 494,032,768 with the output tied to the embedding.
    assert sum(tensors.values()) - tensors["output.weight"] == 494_032_768
    tokens = recipe.metadata()["tokenizer.ggml.tokens"]
    assert isinstance(tokens, tuple)
    assert len(set(tokens)) == 151_936
    assert recipe.encoding is Encoding.Q8_0
