"""A byte-level BPE tokenizer of the kind that GPT-2 introduced and Qwen2 uses."""

import re

from repro_gate.tiny_models.byte_pairs import Pair, train
from repro_gate.tiny_models.corpus import TEXT
from repro_gate.tiny_models.vocabulary import Token, Vocabulary, control

# Qwen2's own pattern (pre = "qwen2") for ASCII text, so that no merge is trained that it would
# never let happen.
_PRE_TOKEN = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\nA-Za-z0-9]?[A-Za-z]+"
    r"|[0-9]"
    r"| ?[^\sA-Za-z0-9]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)

_CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

_CHAT_TEMPLATE = (
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


def _trained_merges(count: int) -> tuple[Pair, ...]:
    symbols = byte_symbols()
    words = (
        "".join(symbols[byte] for byte in match.group().encode())
        for match in _PRE_TOKEN.finditer(TEXT)
    )
    return train(words, merges=count)


def byte_level_vocabulary(size: int) -> Vocabulary:
    """Return a "gpt2" vocabulary of `size` tokens: 256 bytes, trained pieces, control tokens.

    Raises `ValueError` when the training text cannot fill so many.
    """
    merges = _trained_merges(size - len(byte_symbols()) - len(_CONTROLS))
    texts = (*sorted(byte_symbols()), *("".join(merge) for merge in merges))
    tokens = (*(Token(text=text) for text in texts), *control(*_CONTROLS))
    end_of_text = len(texts)
    return Vocabulary(
        tokens=tokens,
        has_scores=False,
        settings={
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "qwen2",
            "tokenizer.ggml.merges": tuple(" ".join(merge) for merge in merges),
            "tokenizer.ggml.bos_token_id": end_of_text,
            "tokenizer.ggml.eos_token_id": end_of_text + _CONTROLS.index("<|im_end|>"),
            "tokenizer.ggml.padding_token_id": end_of_text,
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.chat_template": _CHAT_TEMPLATE,
        },
    )
