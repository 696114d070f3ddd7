"""Which model files can generate text; other kinds are refused by name, with a remedy."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.native_log import LogLine
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.engines.model_file import model_invalid
from repro_gate.model_files import CONVERT_AGAIN, KIND_KEYS, problem_of_kind
from repro_gate.protocol import RequestRefused

_MAGIC = b"GGUF"
_OLD_MAGICS = frozenset({b"ggml", b"ggmf", b"ggjt", b"ggla", b"lmgg", b"fmgg", b"tjgg", b"algg"})
"""Of the formats before GGUF, in both byte orders."""
_OLDEST_VERSION, _NEWEST_VERSION = 2, 3
_HEADER_BYTES = 24
_CONVERT = CONVERT_AGAIN
_FETCH = "fetch the file again"
_CAUSAL = re.compile(r"print_info: causal attn\s*= (\d)")
_KEYS = (*KIND_KEYS, "split.no", "split.count")
_NO_POOLING = "0"
_RWKV_HEAD = 64
"""The widest step of its vectors."""
_LOADING = re.compile(r".*error loading [a-z ]+: ")
_ERRORS = (
    (
        re.compile(r"unknown model architecture: '(.*?)'"),
        "this llama.cpp does not know its architecture {0!r}; update llama-cpp-python",
    ),
    (
        re.compile(r"unknown pre-tokenizer type: '(.*?)'"),
        "this llama.cpp does not know its pre-tokenizer {0!r}; update llama-cpp-python",
    ),
    (
        re.compile(r"tensor '(.*?)' data is not within the file bounds"),
        f"the file ends before its tensor {{0!r}}, so it is truncated; {_FETCH}",
    ),
    (
        re.compile(r"tensor '([^']*)'(?: not found)?$"),
        f"the file lacks the tensor {{0!r}}, so it is a part of a model; {_FETCH} or {_CONVERT}",
    ),
)


def require_gguf(files: Sequence[Path]) -> None:
    """Refuse a model that is not GGUF of a version and kind that can generate text.

    Args:
        files: its file, or its parts in order.
    """
    first, *_ = (_part(path, number, len(files)) for number, path in enumerate(files))
    problem = problem_of_kind(*(first.get(key, "") for key in KIND_KEYS))
    if problem is not None:
        raise model_invalid(f"{files[0]}: {problem}")


def require_generating(model: native.Model, lines: Sequence[LogLine]) -> None:
    """Refuse a loaded model that cannot generate text; `lines` are the log of its load."""
    architecture = native.metadata(model, "general.architecture") or "unknown"
    pooling = native.metadata(model, f"{architecture}.pooling_type")
    if pooling not in {None, _NO_POOLING}:
        raise model_invalid(
            f"the model is for embeddings or ranking ({architecture}.pooling_type = {pooling}), "
            "whose text means nothing; use a causal language model"
        )
    if native.is_diffusion(model):
        raise model_invalid(
            f"a diffusion model ({architecture}), which does not generate one token after another; "
            "use a causal language model"
        )
    causal = [match[1] for line in lines if (match := _CAUSAL.search(line.text))]
    if "0" in causal or native.metadata(model, f"{architecture}.attention.causal") == "false":
        raise model_invalid(
            f"the attention of the model is not causal ({architecture}), so it generates no text; "
            "use a causal language model"
        )
    _require_whole_heads(f"{architecture}.wkv.head_size", model)


def decoder_start(model: native.Model, tokenizer: Tokenizer) -> int | None:
    """Return the token that a decoder starts with where an encoder reads the prompt, else None."""
    if not native.has_encoder(model):
        return None
    named = native.decoder_start_token(model)
    token = tokenizer.bos if named < 0 else named
    if not 0 <= token < tokenizer.size:
        raise model_invalid(f"the file names no token for its decoder to start with; {_CONVERT}")
    return token


def load_error(files: Sequence[Path], errors: Sequence[str]) -> RequestRefused:
    """Return the error for a model that llama.cpp could not load.

    Args:
        files: its file, or its parts.
        errors: what llama.cpp logged.
    """
    for error in errors:
        for pattern, words in _ERRORS:
            if match := pattern.search(error):
                path = _file_with(match[1], files)
                return model_invalid(f"{path}: {words.format(match[1])}")
    # The first error is the cause; the later ones only repeat that loading failed.
    cause = _LOADING.sub("", errors[0]) if errors else "no reason given"
    return model_invalid(f"{files[0]}: llama.cpp cannot load it: {cause}")


def _file_with(tensor: str, files: Sequence[Path]) -> Path:
    """Return the part that has a tensor, or the first one."""
    parts = files[1:] and files
    return next((path for path in parts if tensor in native.gguf_tensors(path)), files[0])


def _require_version(path: Path, head: bytes) -> None:
    if not head:
        raise model_invalid(f"{path}: the file is empty; {_FETCH}")
    magic, version = head[:4], int.from_bytes(head[4:8], "little")
    if magic in _OLD_MAGICS:
        raise model_invalid(f"{path}: a GGML file from before GGUF; {_CONVERT}")
    if magic != _MAGIC:
        raise model_invalid(f"{path}: not a GGUF file: it starts with {magic!r}")
    if len(head) < _HEADER_BYTES:
        raise model_invalid(f"{path}: the file ends within its header; {_FETCH}")
    if version & 0xFFFF == 0:
        raise model_invalid(f"{path}: a big-endian GGUF file; {_CONVERT}")
    if version < _OLDEST_VERSION:
        raise model_invalid(f"{path}: GGUF version {version}, which llama.cpp dropped; {_CONVERT}")
    if version > _NEWEST_VERSION:
        raise model_invalid(
            f"{path}: GGUF version {version}, but this llama.cpp reads up to {_NEWEST_VERSION}; "
            "update llama-cpp-python"
        )


def _require_whole_heads(key: str, model: native.Model) -> None:
    head = native.metadata(model, key)
    if head is not None and int(head) % _RWKV_HEAD:
        raise model_invalid(
            f"{key}: expected a multiple of {_RWKV_HEAD}, as llama.cpp computes with numbers "
            f"beyond the end of others, found {head}"
        )


def _part(path: Path, number: int, count: int) -> Mapping[str, str]:
    """Return the metadata of a file, after checking that it is this part of so many."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    _require_version(path, head)
    found = native.read_gguf(path, _KEYS)
    if found is None:
        raise model_invalid(f"{path}: the file ends or is damaged within its header; {_FETCH}")
    place, parts = found.get("split.no", "0"), found.get("split.count", "1")
    if count == 1 and parts not in {"0", "1"}:
        raise model_invalid(
            f"{path}: a part of a split model (split.count = {parts}); put all parts into one "
            "folder, named as by llama-gguf-split, and name the first: NAME-00001-of-0000N.gguf"
        )
    if count > 1 and (place, parts) != (str(number), str(count)):
        raise model_invalid(
            f"{path}: expected part {number + 1} of {count} of a split model, found split.no = "
            f"{found.get('split.no', 'none')} and split.count = {found.get('split.count', 'none')}"
        )
    return found
