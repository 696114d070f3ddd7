"""Small model files of odd kinds: what users have on their disks besides causal models."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

from repro_gate.tiny_models.architectures import Tensor
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES, Recipe
from repro_gate.tiny_models.tokenizers import Metadata, MetadataValue

_WIDTH, _FEED_FORWARD, _HEADS, _CONTEXT = 32, 64, 2, 64
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChangedRecipe(Recipe):
    """A recipe with other metadata; None leaves an entry out."""

    changes: Mapping[str, MetadataValue | None]

    def metadata(self) -> Metadata:
        """Return the metadata of the file."""
        known = Recipe.metadata(self) | {k: v for k, v in self.changes.items() if v is not None}
        return {key: value for key, value in known.items() if self.changes.get(key, "") is not None}


def tiny_with(
    path: Path, changes: Mapping[str, MetadataValue | None], *, name: str = "tiny-qwen2"
) -> Path:
    """Write a built-in model with other metadata."""
    recipe = RECIPES[name]
    same = {field.name: getattr(recipe, field.name) for field in fields(Recipe)}
    make(_ChangedRecipe(**same, changes=changes), path)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _TiedRecipe(Recipe):
    """A recipe whose embedding is the output layer too."""

    def tensors(self) -> tuple[Tensor, ...]:
        """Return every tensor but the output layer, which is the last one."""
        return Recipe.tensors(self)[:-1]


def tied(path: Path) -> Path:
    """Write the model tiny-qwen2 without an output layer of its own."""
    recipe = RECIPES["tiny-qwen2"]
    make(_TiedRecipe(**{each.name: getattr(recipe, each.name) for each in fields(Recipe)}), path)
    return path


def with_wide_heads(path: Path) -> Path:
    """Write a model like tiny-qwen2 whose heads are whole blocks of a quantized cache."""
    recipe = RECIPES["tiny-qwen2"]
    make(replace(recipe, shape=replace(recipe.shape, heads=2, kv_heads=1)), path)
    return path


def renamed(path: Path, architecture: str, *more: Tensor) -> Path:
    """Write the model tiny-qwen2 as another architecture, with more tensors in each layer."""
    recipe = RECIPES["tiny-qwen2"]
    changed = replace(
        recipe.architecture,
        name=architecture,
        layer=lambda shape: (*recipe.architecture.layer(shape), *more),
    )
    make(replace(recipe, architecture=changed), path)
    return path


def bert(path: Path, *, pooling: int | None = None, is_causal: bool | None = False) -> Path:
    """Write an encoder; None leaves its pooling or its causality out of the file."""
    writer = GGUFWriter(path, "bert")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"\u2581{c}" for c in _LETTERS)]
    _dimensions(writer)
    writer.add_layer_norm_eps(1e-12)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * 5 + [TokenType.NORMAL] * len(_LETTERS))
    writer.add_token_type_count(2)
    for number, add in enumerate(
        (writer.add_pad_token_id, writer.add_unk_token_id, writer.add_bos_token_id,
         writer.add_eos_token_id, writer.add_mask_token_id)
    ):  # fmt: skip
        add(number)
    writer.add_sep_token_id(3)
    if is_causal is not None:
        writer.add_causal_attention(is_causal)
    if pooling is not None:
        writer.add_uint32("bert.pooling_type", pooling)
    shapes = {
        "token_embd.weight": (len(tokens), _WIDTH),
        "position_embd.weight": (_CONTEXT, _WIDTH),
        "token_types.weight": (2, _WIDTH),
        **_norm("token_embd_norm"),
        **_dense("blk.0.attn_q"), **_dense("blk.0.attn_k"), **_dense("blk.0.attn_v"),
        **_dense("blk.0.attn_output"),
        **_norm("blk.0.attn_output_norm"),
        **_dense("blk.0.ffn_up", _FEED_FORWARD),
        **_dense("blk.0.ffn_down", _WIDTH, _FEED_FORWARD),
        **_norm("blk.0.layer_output_norm"),
    }  # fmt: skip
    return _written(writer, path, shapes)


def _dimensions(writer: GGUFWriter) -> None:
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (_WIDTH,), f"{name}.bias": (_WIDTH,)}


def _dense(name: str, rows: int = _WIDTH, columns: int = _WIDTH) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _written(writer: GGUFWriter, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    generator = np.random.default_rng(7)
    for name, shape in shapes.items():
        values = generator.standard_normal(shape) if "norm" not in name else np.ones(shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
