"""The tokenizers of the built-in models, trained on the corpus as each model is made.

`byte_level_vocabulary` is the byte-level BPE of GPT-2 and Qwen2, `byte_fallback_vocabulary` the
SentencePiece tokenizer with byte fallback of Llama and Phi-3.
"""

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from typing import TypeAlias

from repro_gate.tiny_models.corpus import TEXT

Pair: TypeAlias = tuple[str, str]
"""Two adjacent symbols, left and right; joined they are a new piece."""

_RARE = 1
"""A pair that stands in so few places says nothing about the language."""


class _Words:
    """Training words as symbol sequences, with the count of every adjacent pair kept up to date."""

    def __init__(self, frequencies: Mapping[str, int]) -> None:
        self._frequencies = list(frequencies.values())
        self._symbols = [list(word) for word in frequencies]
        self._holders: dict[Pair, set[int]] = {}
        self.counts: Counter[Pair] = Counter()
        for index in range(len(self._symbols)):
            self._count(index, sign=1)

    def _count(self, index: int, *, sign: int) -> None:
        for pair in pairwise(self._symbols[index]):
            self.counts[pair] += sign * self._frequencies[index]
            self._holders.setdefault(pair, set()).add(index)

    def merge(self, pair: Pair) -> set[Pair]:
        """Join `pair` wherever it stands, and return the pairs whose counts may have changed."""
        touched: set[Pair] = set()
        for index in self._holders.pop(pair):
            touched.update(pairwise(self._symbols[index]))
            self._count(index, sign=-1)
            self._symbols[index] = _joined(self._symbols[index], pair)
            self._count(index, sign=1)
            touched.update(pairwise(self._symbols[index]))
        return touched


def _joined(symbols: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            joined.append("".join(pair))
            position += 2
        else:
            joined.append(symbols[position])
            position += 1
    return joined


def train(words: Iterable[str], *, merges: int) -> tuple[Pair, ...]:
    """Return the first `merges` merges of `words`, best first; each builds a piece of its own.

    The most frequent pair is merged first; of equally frequent ones, the first in code-point order
    (R. Sennrich, B. Haddow, A. Birch, "Neural Machine Translation of Rare Words with Subword
    Units", ACL 2016, algorithm 1). Raises `ValueError` when too few pairs are repeated.
    """
    state = _Words(Counter(words))
    queue = [(-count, pair) for pair, count in state.counts.items()]
    heapq.heapify(queue)
    found: list[Pair] = []
    while len(found) < merges:
        if not queue:
            raise ValueError(f"the words hold {len(found)} repeated pairs, expected {merges}")
        negative, pair = heapq.heappop(queue)
        # An entry pushed before the pair's count changed is stale; a fresh one is in the queue.
        if state.counts[pair] != -negative or -negative <= _RARE:
            continue
        found.append(pair)
        for touched in state.merge(pair):
            heapq.heappush(queue, (-state.counts[touched], touched))
    return tuple(found)


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


# Qwen2's own pattern (pre = "qwen2") for ASCII text, so that no merge is trained that it would
# never let happen.
_QWEN2_WORD = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\nA-Za-z0-9]?[A-Za-z]+"
    r"|[0-9]"
    r"| ?[^\sA-Za-z0-9]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)

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


def _qwen2_merges(count: int) -> tuple[Pair, ...]:
    symbols = byte_symbols()
    words = (
        "".join(symbols[byte] for byte in match.group().encode())
        for match in _QWEN2_WORD.finditer(TEXT)
    )
    return train(words, merges=count)


def byte_level_vocabulary(size: int) -> Vocabulary:
    """Return a "gpt2" vocabulary of `size` tokens: 256 bytes, trained pieces, control tokens.

    Raises `ValueError` when the training text cannot fill so many.
    """
    merges = _qwen2_merges(size - len(byte_symbols()) - len(_QWEN2_CONTROLS))
    texts = (*sorted(byte_symbols()), *("".join(merge) for merge in merges))
    tokens = (*(Token(text=text) for text in texts), *control(*_QWEN2_CONTROLS))
    end_of_text = len(texts)
    return Vocabulary(
        tokens=tokens,
        has_scores=False,
        settings={
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "qwen2",
            "tokenizer.ggml.merges": tuple(" ".join(merge) for merge in merges),
            "tokenizer.ggml.bos_token_id": end_of_text,
            "tokenizer.ggml.eos_token_id": end_of_text + _QWEN2_CONTROLS.index("<|im_end|>"),
            "tokenizer.ggml.padding_token_id": end_of_text,
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.chat_template": _QWEN2_CHAT_TEMPLATE,
        },
    )


_SPACE = "\u2581"
"""What SentencePiece writes for a space."""

_PHI3_WORD = re.compile(
    rf"{_SPACE}?[A-Za-z]+|{_SPACE}?[0-9]|{_SPACE}?[^\sA-Za-z0-9{_SPACE}]+|{_SPACE}+"
)

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


def _phi3_pieces(count: int) -> tuple[str, ...]:
    # A line break is no part of any piece: SentencePiece spells it as the byte 0x0A.
    lines = (_SPACE + line.replace(" ", _SPACE) for line in TEXT.splitlines())
    words = (word for line in lines for word in _PHI3_WORD.findall(line))
    return tuple("".join(merge) for merge in train(words, merges=count))


def byte_fallback_vocabulary(size: int) -> Vocabulary:
    """Return a "llama" vocabulary of `size` tokens with the special tokens of Phi-3.

    Raises `ValueError` when the training text cannot fill so many.
    """
    count = size - len(_PHI3_SPECIALS) - len(_PHI3_CHARACTERS) - len(_PHI3_CONTROLS)
    texts = (*_phi3_pieces(count), *_PHI3_CHARACTERS)
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
