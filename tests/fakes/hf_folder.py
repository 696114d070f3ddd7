"""A small Qwen2 as a folder of Hugging Face, with the weights of a GGUF file of the recipe.

python -m tests.fakes.hf_folder FOLDER
"""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repro_gate.tiny_models.architectures import QWEN2, Shape
from repro_gate.tiny_models.recipes import Encoding, Recipe
from repro_gate.tiny_models.tokenizers import TokenType, Vocabulary
from repro_gate.tiny_models.weights import encoded, layout

RECIPE = Recipe(
    name="small-qwen2",
    title="small-qwen2",
    architecture=QWEN2,
    shape=Shape(
        embedding=128,
        # vLLM's attention on a CPU has no heads narrower than 32.
        heads=4,
        kv_heads=2,
        layers=4,
        feed_forward=256,
        context_length=4096,
        vocabulary=640,
    ),
    trained_vocabulary=640,
    encoding=Encoding.F32,
    seed=17,
)

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where Qwen2 splits a text before it merges bytes."""


def write_folder(folder: Path, recipe: Recipe = RECIPE, *, dtype: str = "float32") -> None:
    """Write the model; the folder is made.

    Args:
        folder: of the files.
        recipe: of a Qwen2.
        dtype: what a server computes with by default; the numbers are stored as float32.
    """
    folder.mkdir(parents=True)
    vocabulary = recipe.architecture.vocabulary(recipe.trained_vocabulary)
    _write(folder / "config.json", _config(recipe, vocabulary, dtype))
    _write(folder / "tokenizer.json", _tokenizer(vocabulary))
    _write(folder / "tokenizer_config.json", _tokenizer_config(vocabulary))
    _write_weights(folder / "model.safetensors", recipe)


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _config(recipe: Recipe, vocabulary: Vocabulary, dtype: str) -> dict[str, Any]:
    shape = recipe.shape
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": shape.embedding,
        "intermediate_size": shape.feed_forward,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "num_hidden_layers": shape.layers,
        "max_position_embeddings": shape.context_length,
        "vocab_size": shape.vocabulary,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": vocabulary.settings["tokenizer.ggml.bos_token_id"],
        "eos_token_id": vocabulary.settings["tokenizer.ggml.eos_token_id"],
        "torch_dtype": dtype,
    }


def _tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    ids = {token.text: index for index, token in enumerate(vocabulary.tokens)}
    controls = [token.text for token in vocabulary.tokens if token.type is TokenType.CONTROL]
    split = {"type": "Split", "pattern": {"Regex": _SPLIT}, "behavior": "Isolated", "invert": False}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": ids[text], "content": text, "special": True, **plain} for text in controls
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {text: index for text, index in ids.items() if text not in controls},
            "merges": vocabulary.settings["tokenizer.ggml.merges"],
        },
    }


def _tokenizer_config(vocabulary: Vocabulary) -> dict[str, Any]:
    texts = [token.text for token in vocabulary.tokens]
    return {
        "tokenizer_class": "Qwen2TokenizerFast",
        "eos_token": texts[int(str(vocabulary.settings["tokenizer.ggml.eos_token_id"]))],
        "pad_token": texts[int(str(vocabulary.settings["tokenizer.ggml.padding_token_id"]))],
        "chat_template": vocabulary.settings["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
    }


def _write_weights(path: Path, recipe: Recipe) -> None:
    """Write a file of safetensors: the length of the header, the header, the numbers."""
    tensors: dict[str, npt.NDArray[np.float32]] = {
        _name_of(tensor.name): encoded(layout(tensor, recipe.encoding), seed=recipe.seed)
        for tensor in recipe.tensors()
    }
    ends = np.cumsum([0, *(tensor.nbytes for tensor in tensors.values())]).tolist()
    header = json.dumps(
        {"__metadata__": {"format": "pt"}}
        | {
            name: {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": list(span)}
            for name, span in zip(tensors, pairwise(ends), strict=True)
        }
    ).encode()
    data = b"".join(tensor.tobytes() for tensor in tensors.values())
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def _name_of(name: str) -> str:
    """Return the name in Hugging Face's files of a tensor in a GGUF file."""
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
    assert match is not None, name
    layer = f"model.layers.{match[1]}." if match[1] else ""
    return f"{layer}{_NAMES[match[2]]}.{match[3]}"


if __name__ == "__main__":
    write_folder(Path(sys.argv[1]))
