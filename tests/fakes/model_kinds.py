"""Small models of every kind that generates: recurrent, hybrid, with a window, experts, an encoder.

Their weights are random, and their sizes the smallest that llama.cpp computes as it does real ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeAlias

from repro_gate.tiny_models.architectures import Tensor
from repro_gate.tiny_models.maker import MadeModel, make
from repro_gate.tiny_models.recipes import RECIPES, Recipe
from repro_gate.tiny_models.tokenizers import (
    Metadata,
    MetadataValue,
    Token,
    TokenType,
    Vocabulary,
    byte_fallback_vocabulary,
    byte_level_vocabulary,
    control,
)

_WIDTH, _INNER, _HEAD, _LAYERS, _VOCABULARY = 64, 128, 16, 2, 640
_HEADS, _KEYS = _WIDTH // _HEAD, 2 * _HEAD
_STATE, _KERNEL, _RANK, _EXPERTS, _BUCKETS = 16, 4, 4, 4, 8
WINDOW = 8
"""Tokens that a layer with a sliding window sees."""

Tensors: TypeAlias = tuple[Tensor, ...]


def _matrix(name: str, *shape: int, gain: int = 1) -> Tensor:
    return Tensor(name=f"{name}.weight", shape=shape, exponent=gain - shape[-1].bit_length() // 2)


def _norm(name: str, *shape: int) -> Tensor:
    return Tensor(name=f"{name}.weight", shape=shape or (_WIDTH,), centre=1, exponent=-3)


def _small(name: str, *shape: int, centre: int = 0) -> Tensor:
    return Tensor(name=name, shape=shape, centre=centre, exponent=-2)


def _layer_norm(name: str) -> Tensors:
    return _norm(name), _small(f"{name}.bias", _WIDTH)


def _feed_forward(prefix: str = "") -> Tensors:
    return (
        _norm(f"{prefix}ffn_norm"),
        _matrix(f"{prefix}ffn_gate", _INNER, _WIDTH),
        _matrix(f"{prefix}ffn_up", _INNER, _WIDTH),
        _matrix(f"{prefix}ffn_down", _WIDTH, _INNER),
    )


def _attention() -> Tensors:
    return (
        _matrix("attn_q", _WIDTH, _WIDTH),
        _matrix("attn_k", _KEYS, _WIDTH),
        _matrix("attn_v", _KEYS, _WIDTH),
        _matrix("attn_output", _WIDTH, _WIDTH),
    )


def _mamba(_layer: int) -> Tensors:
    return (
        _norm("attn_norm"),
        _matrix("ssm_in", 2 * _INNER, _WIDTH),
        _matrix("ssm_conv1d", _INNER, _KERNEL),
        _small("ssm_conv1d.bias", _INNER),
        _matrix("ssm_x", _RANK + 2 * _STATE, _INNER),
        _matrix("ssm_dt", _INNER, _RANK),
        _small("ssm_dt.bias", _INNER),
        _small("ssm_a", _INNER, _STATE, centre=-1),
        _small("ssm_d", _INNER),
        _matrix("ssm_out", _WIDTH, _INNER),
    )


def _mamba2(_layer: int) -> Tensors:
    mixed = _INNER + 2 * _STATE
    return (
        _norm("attn_norm"),
        _matrix("ssm_in", _INNER + mixed + _RANK, _WIDTH),
        _matrix("ssm_conv1d", mixed, _KERNEL),
        _small("ssm_conv1d.bias", mixed),
        _small("ssm_dt.bias", _RANK),
        _small("ssm_a", _RANK, 1, centre=-1),
        _small("ssm_d", _RANK, 1),
        _norm("ssm_norm", 1, _INNER),
        _matrix("ssm_out", _WIDTH, _INNER),
    )


def _rwkv7(_layer: int) -> Tensors:
    return (
        *_layer_norm("attn_norm"),
        *_layer_norm("attn_norm_2"),
        *_layer_norm("time_mix_ln"),
        *(_small(f"time_mix_{name}0.weight", _WIDTH) for name in "wav"),
        *(_matrix(f"time_mix_{name}1", _RANK, _WIDTH) for name in "wavg"),
        *(_matrix(f"time_mix_{name}2", _WIDTH, _RANK) for name in "wavg"),
        _small("time_mix_lerp_fused.weight", 6, 1, 1, _WIDTH),
        *(_small(f"time_mix_{name}.weight", _WIDTH) for name in ("k_k", "k_a", "r_k")),
        *(
            _matrix(f"time_mix_{name}", _WIDTH, _WIDTH)
            for name in ("key", "value", "receptance", "output")
        ),
        _small("channel_mix_lerp_k.weight", 1, 1, _WIDTH),
        _matrix("channel_mix_key", _INNER, _WIDTH),
        _matrix("channel_mix_value", _WIDTH, _INNER),
    )


def _lfm2(layer: int) -> Tensors:
    """Return a layer with a short convolution, and then one with attention."""
    convolution = (
        _matrix("shortconv.conv", _WIDTH, _KERNEL),
        _matrix("shortconv.in_proj", 3 * _WIDTH, _WIDTH),
        _matrix("shortconv.out_proj", _WIDTH, _WIDTH),
    )
    attention = (*_attention(), _norm("attn_q_norm", _HEAD), _norm("attn_k_norm", _HEAD))
    return (_norm("attn_norm"), *(attention if layer else convolution), *_feed_forward())


def _gemma3(_layer: int) -> Tensors:
    return (
        _norm("attn_norm"),
        *_attention(),
        _norm("attn_q_norm", _HEAD),
        _norm("attn_k_norm", _HEAD),
        _norm("post_attention_norm"),
        *_feed_forward(),
        _norm("post_ffw_norm"),
    )


def _experts() -> Tensors:
    return (
        _norm("ffn_norm"),
        _matrix("ffn_gate_inp", _EXPERTS, _WIDTH),
        _matrix("ffn_gate_exps", _EXPERTS, _INNER, _WIDTH),
        _matrix("ffn_up_exps", _EXPERTS, _INNER, _WIDTH),
        _matrix("ffn_down_exps", _EXPERTS, _WIDTH, _INNER),
    )


def _grok(_layer: int) -> Tensors:
    norms = (_norm("attn_norm"), _norm("attn_output_norm"), _norm("post_ffw_norm"))
    return (*norms, *_attention(), *_experts())


def _qwen2moe(_layer: int) -> Tensors:
    return (
        _norm("attn_norm"),
        *_attention(),
        *_experts(),
        _small("ffn_gate_inp_shexp.weight", _WIDTH),
        _matrix("ffn_gate_shexp", _INNER, _WIDTH),
        _matrix("ffn_up_shexp", _INNER, _WIDTH),
        _matrix("ffn_down_shexp", _WIDTH, _INNER),
    )


def _t5_block(name: str, layer: int, *attentions: str) -> Tensors:
    prefix = f"{name}.blk.{layer}."
    square = (f"{attention}_{part}" for attention in attentions for part in "qkvo")
    return (
        *(_norm(f"{prefix}{attention}_norm") for attention in attentions),
        *(_matrix(f"{prefix}{each}", _WIDTH, _WIDTH) for each in square),
        *((_matrix(f"{prefix}attn_rel_b", _BUCKETS, _HEADS),) if layer == 0 else ()),
        *_feed_forward(prefix),
    )


def _t5() -> Tensors:
    layers = range(_LAYERS)
    return (
        *(tensor for layer in layers for tensor in _t5_block("enc", layer, "attn")),
        *(tensor for layer in layers for tensor in _t5_block("dec", layer, "attn", "cross_attn")),
        _norm("enc.output_norm"),
        _norm("dec.output_norm"),
    )


def _blocks(layer: Callable[[int], Tensors], output_norm: Tensors) -> Tensors:
    return (
        *(
            replace(tensor, name=f"blk.{index}.{tensor.name}")
            for index in range(_LAYERS)
            for tensor in layer(index)
        ),
        *output_norm,
    )


def _unigram_vocabulary() -> Vocabulary:
    """Return the kind of vocabulary that T5 has."""
    pieces = (
        token
        for token in byte_fallback_vocabulary(_VOCABULARY).tokens
        if token.type is TokenType.NORMAL
    )
    special = (*control("<pad>", "</s>"), Token(text="<unk>", type=TokenType.UNKNOWN))
    settings: Metadata = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": True,
    }
    return Vocabulary(tokens=(*special, *pieces), settings=settings, has_scores=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What a file of one architecture has besides what all of them have."""

    settings: Metadata
    tensors: Tensors
    vocabulary: Vocabulary = field(default_factory=lambda: byte_level_vocabulary(_VOCABULARY))


_ATTENTION: Metadata = {
    "attention.head_count": _HEADS,
    "attention.head_count_kv": _KEYS // _HEAD,
    "attention.layer_norm_rms_epsilon": 1e-6,
}
_STATE_SPACE: Metadata = {
    "attention.head_count": 0,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "ssm.conv_kernel": _KERNEL,
    "ssm.inner_size": _INNER,
    "ssm.state_size": _STATE,
    "ssm.time_step_rank": _RANK,
}
_NORM = (_norm("output_norm"),)
_KINDS: Mapping[str, _Kind] = {
    "mamba": _Kind(settings=_STATE_SPACE, tensors=_blocks(_mamba, _NORM)),
    "mamba2": _Kind(
        settings=_STATE_SPACE | {"ssm.group_count": 1}, tensors=_blocks(_mamba2, _NORM)
    ),
    "rwkv7": _Kind(
        settings={
            "attention.head_count": 0,
            "attention.layer_norm_epsilon": 1e-5,
            "attention.decay_lora_rank": _RANK,
            "attention.iclr_lora_rank": _RANK,
            "attention.value_residual_mix_lora_rank": _RANK,
            "attention.gate_lora_rank": _RANK,
            # llama.cpp reads beyond smaller heads, depending on the width of vectors.
            "wkv.head_size": _WIDTH,
        },
        tensors=(*_layer_norm("token_embd_norm"), *_blocks(_rwkv7, _layer_norm("output_norm"))),
    ),
    "lfm2": _Kind(
        settings=_ATTENTION
        | {"attention.head_count_kv": (0, _KEYS // _HEAD), "shortconv.l_cache": _KERNEL},
        tensors=_blocks(_lfm2, (_norm("token_embd_norm"),)),
    ),
    "gemma3": _Kind(
        settings=_ATTENTION
        | {
            "attention.key_length": _HEAD,
            "attention.value_length": _HEAD,
            "attention.sliding_window": WINDOW,
            "attention.sliding_window_pattern": _LAYERS,
        },
        tensors=_blocks(_gemma3, _NORM),
    ),
    "grok": _Kind(
        settings=_ATTENTION | {"expert_count": _EXPERTS, "expert_used_count": _EXPERTS // 2},
        tensors=_blocks(_grok, _NORM),
    ),
    "qwen2moe": _Kind(
        settings=_ATTENTION
        | {
            "expert_count": _EXPERTS,
            "expert_used_count": _EXPERTS // 2,
            "expert_feed_forward_length": _INNER,
            "expert_shared_feed_forward_length": _INNER,
        },
        tensors=_blocks(_qwen2moe, _NORM),
    ),
    "t5": _Kind(
        settings=_ATTENTION
        | {
            "attention.head_count_kv": _HEADS,
            "attention.relative_buckets_count": _BUCKETS,
            "decoder_start_token_id": 0,
        },
        tensors=_t5(),
        vocabulary=_unigram_vocabulary(),
    ),
}
KINDS = tuple(_KINDS)
"""The names of the architectures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe(Recipe):
    kind: _Kind
    changes: Metadata

    def tensors(self) -> Tensors:
        """Return the tensors of the file."""
        return (
            _matrix("token_embd", _VOCABULARY, _WIDTH, gain=_WIDTH.bit_length() // 2),
            *self.kind.tensors,
            _matrix("output", _VOCABULARY, _WIDTH, gain=2),
        )

    def metadata(self) -> Metadata:
        """Return the metadata of the file."""
        sizes: Metadata = {
            "context_length": 512,
            "embedding_length": _WIDTH,
            "block_count": _LAYERS,
            "feed_forward_length": _INNER,
        }
        settings = sizes | self.kind.settings | self.changes
        name = self.architecture.name
        return {
            f"{name}.{key}": value for key, value in settings.items()
        } | self.kind.vocabulary.padded(_VOCABULARY).metadata()


def make_kind(name: str, path: Path, **changes: MetadataValue) -> MadeModel:
    """Write the small model of an architecture.

    Args:
        name: of the architecture.
        path: of the file.
        changes: of its settings, by their names without the architecture.
    """
    tiny = RECIPES["tiny-qwen2"]
    recipe = _Recipe(
        **{each.name: getattr(tiny, each.name) for each in fields(Recipe)}
        | {"architecture": replace(tiny.architecture, name=name)},
        kind=_KINDS[name],
        changes=changes,
    )
    return make(recipe, path)
