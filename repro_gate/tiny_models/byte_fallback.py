"""A SentencePiece tokenizer with byte fallback, of the kind that Llama and Phi-3 use."""

import re

from repro_gate.tiny_models.byte_pairs import train
from repro_gate.tiny_models.corpus import TEXT
from repro_gate.tiny_models.vocabulary import Token, TokenType, Vocabulary, control

_SPACE = "\u2581"
"""What SentencePiece writes for a space."""

_WORD = re.compile(rf"{_SPACE}?[A-Za-z]+|{_SPACE}?[0-9]|{_SPACE}?[^\sA-Za-z0-9{_SPACE}]+|{_SPACE}+")

_CHARACTERS = (_SPACE, *(chr(code) for code in range(0x21, 0x7F)))

_CONTROLS = (
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

_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

_HEAD = (
    Token(text="<unk>", type=TokenType.UNKNOWN),
    *control("<s>", "</s>"),
    *(Token(text=f"<0x{byte:02X}>", type=TokenType.BYTE) for byte in range(256)),
)


def _trained_pieces(count: int) -> tuple[str, ...]:
    # A line break is no part of any piece: SentencePiece spells it as the byte 0x0A.
    lines = (_SPACE + line.replace(" ", _SPACE) for line in TEXT.splitlines())
    words = (word for line in lines for word in _WORD.findall(line))
    return tuple("".join(merge) for merge in train(words, merges=count))


def byte_fallback_vocabulary(size: int) -> Vocabulary:
    """Return a "llama" vocabulary of `size` tokens with the special tokens of Phi-3.

    Raises `ValueError` when the training text cannot fill so many.
    """
    count = size - len(_HEAD) - len(_CHARACTERS) - len(_CONTROLS)
    texts = (*_trained_pieces(count), *_CHARACTERS)
    pieces = tuple(Token(text=text, score=float(-rank)) for rank, text in enumerate(texts))
    end_of_text = len(_HEAD) + len(pieces)
    return Vocabulary(
        tokens=(*_HEAD, *pieces, *control(*_CONTROLS)),
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
            "tokenizer.chat_template": _CHAT_TEMPLATE,
        },
    )
