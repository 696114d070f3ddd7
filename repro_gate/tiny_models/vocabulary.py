"""What a GGUF file says about a tokenizer, whichever kind it is."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeAlias

MetadataValue: TypeAlias = (
    bool | int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
)
"""A GGUF value: bool, uint32, float32, string, or an array of int32, float32 or string."""

Metadata: TypeAlias = dict[str, MetadataValue]
"""GGUF metadata in the order in which it is written."""


class TokenType(IntEnum):
    """The kinds of token that llama.cpp tells apart, with the numbers of the GGUF format."""

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


def control(*texts: str) -> tuple[Token, ...]:
    """Return control tokens with these texts."""
    return tuple(Token(text=text, type=TokenType.CONTROL) for text in texts)
