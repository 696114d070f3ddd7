"""The tokenizers of the built-in models.

`byte_level_vocabulary` is the byte-level BPE of GPT-2 and Qwen2, `byte_fallback_vocabulary` the
SentencePiece tokenizer with byte fallback of Llama and Phi-3. `merges.txt` and `pieces.txt` hold
what byte-pair encoding learned from a page of English, the most frequent pair first.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TypeAlias

MetadataValue: TypeAlias = (
    bool | int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
)
"""A GGUF value: bool, uint32, float32, string, or an array of int32, float32 or string."""

Metadata: TypeAlias = dict[str, MetadataValue]
"""GGUF metadata in the order in which it is written."""


class TokenType(IntEnum):
    """The kinds of token that llama.cpp distinguishes, with the numbers of the GGUF format."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One entry of a vocabulary; its id is its position there."""

    text: str
    """The text as stored in the file, in the tokenizer's own escaping."""

    type: TokenType = TokenType.NORMAL

    score: float = 0.0
    """Priority of the piece when a "llama" tokenizer joins neighbours; higher goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A complete tokenizer: its tokens, and the metadata beside them."""

    tokens: tuple[Token, ...]
    """In the order of their ids; texts are unique, because llama.cpp aborts on a repeated one."""

    settings: Metadata
    """Every `tokenizer.*` key except the arrays that hold one element per token."""

    has_scores: bool
    """Whether the scores of the tokens are stored."""

    def __post_init__(self) -> None:
        """Raise `ValueError` when two tokens have the same text."""
        if len({token.text for token in self.tokens}) != len(self.tokens):
            raise ValueError("the texts of a vocabulary's tokens must be unique")

    def padded(self, size: int) -> "Vocabulary":
        """Return this vocabulary with unused tokens up to `size`.

        Raises `ValueError` when it is larger than that already.
        """
        if size < len(self.tokens):
            raise ValueError(f"cannot pad {len(self.tokens)} tokens to {size}")
        padding = (
            Token(text=f"[PAD{index}]", type=TokenType.UNUSED)
            for index in range(len(self.tokens), size)
        )
        return replace(self, tokens=(*self.tokens, *padding))

    def metadata(self) -> Metadata:
        """Return every `tokenizer.*` key of the file."""
        arrays: Metadata = {
            "tokenizer.ggml.tokens": tuple(token.text for token in self.tokens),
            "tokenizer.ggml.token_type": tuple(int(token.type) for token in self.tokens),
        }
        if self.has_scores:
            arrays["tokenizer.ggml.scores"] = tuple(token.score for token in self.tokens)
        return arrays | self.settings


def _first_lines(name: str, count: int) -> tuple[str, ...]:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    if count > len(lines):
        raise ValueError(f"{name} has {len(lines)} lines, expected {count}")
    return tuple(lines[:count])


def control(*texts: str) -> tuple[Token, ...]:
    """Return control tokens with these texts."""
    return tuple(Token(text=text, type=TokenType.CONTROL) for text in texts)


_QWEN2_CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

_QWEN2_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_symbols() -> tuple[str, ...]:
    """Return the 256 characters that stand for the bytes 0 to 255, indexed by byte.

    Bytes that print in Latin-1 stand for themselves; the others take the code points from 256 on,
    as in OpenAI's GPT-2 `bytes_to_unicode` and llama.cpp's `unicode_byte_to_utf8`.
    """
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printing else next(spare)) for byte in range(256))


def byte_level_vocabulary(size: int) -> Vocabulary:
    """Return a "gpt2" vocabulary of `size` tokens: 256 bytes, trained pieces, control tokens.

    Raises `ValueError` when fewer were trained.
    """
    merges = _first_lines("merges.txt", size - len(byte_symbols()) - len(_QWEN2_CONTROLS))
    texts = (*sorted(byte_symbols()), *(merge.replace(" ", "") for merge in merges))
    tokens = (*(Token(text=text) for text in texts), *control(*_QWEN2_CONTROLS))
    end_of_text = len(texts)
    return Vocabulary(
        tokens=tokens,
        has_scores=False,
        settings={
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "qwen2",
            "tokenizer.ggml.merges": merges,
            "tokenizer.ggml.bos_token_id": end_of_text,
            "tokenizer.ggml.eos_token_id": end_of_text + _QWEN2_CONTROLS.index("<|im_end|>"),
            "tokenizer.ggml.padding_token_id": end_of_text,
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.chat_template": _QWEN2_CHAT_TEMPLATE,
        },
    )


_SPACE = "\u2581"
"""How SentencePiece writes a space."""

_PHI3_CHARACTERS = (_SPACE, *(chr(code) for code in range(0x21, 0x7F)))

_PHI3_CONTROLS = (
    "<|endoftext|>",
    "<|assistant|>",
    "<|placeholder1|>",
    "<|placeholder2|>",
    "<|placeholder3|>",
    "<|placeholder4|>",
    "<|system|>",
    "<|end|>",
    "<|placeholder5|>",
    "<|placeholder6|>",
    "<|user|>",
)

_PHI3_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

_PHI3_SPECIALS = (
    Token(text="<unk>", type=TokenType.UNKNOWN),
    *control("<s>", "</s>"),
    *(Token(text=f"<0x{byte:02X}>", type=TokenType.BYTE) for byte in range(256)),
)


def byte_fallback_vocabulary(size: int) -> Vocabulary:
    """Return a "llama" vocabulary of `size` tokens with the special tokens of Phi-3.

    Raises `ValueError` when fewer were trained.
    """
    count = size - len(_PHI3_SPECIALS) - len(_PHI3_CHARACTERS) - len(_PHI3_CONTROLS)
    texts = (*_first_lines("pieces.txt", count), *_PHI3_CHARACTERS)
    pieces = tuple(Token(text=text, score=float(-rank)) for rank, text in enumerate(texts))
    end_of_text = len(_PHI3_SPECIALS) + len(pieces)
    return Vocabulary(
        tokens=(*_PHI3_SPECIALS, *pieces, *control(*_PHI3_CONTROLS)),
        has_scores=True,
        settings={
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": end_of_text,
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.padding_token_id": end_of_text,
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_eos_token": False,
            "tokenizer.chat_template": _PHI3_CHAT_TEMPLATE,
        },
    )
