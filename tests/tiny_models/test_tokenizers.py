"""Both tokenizers."""

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repro_gate.tiny_models.recipes import RECIPES
from repro_gate.tiny_models.tokenizers import Token, TokenType, Vocabulary, byte_level_vocabulary

if TYPE_CHECKING:
    from tests.tiny_models.conftest import LoadedModel, ModelLoader


def test_too_few_pieces_are_an_error() -> None:
    """A vocabulary is never larger than what was trained."""
    with pytest.raises(ValueError, match=r"merges\.txt has 381 lines, expected 382"):
        byte_level_vocabulary(641)


TINY = ("tiny-qwen2", "tiny-phi3")


def _round_trip(model: "LoadedModel", text: str | bytes) -> bytes:
    return b"".join(model.piece(token) for token in model.tokenize(text))


# The first example also makes and loads the model.
@settings(deadline=None)
@given(text=st.text())
@example(text="")
@example(text="\x00\x01\t\r\n\r\n  \x7f\x80\x9f\u2028")
@example(text="\u4f60\u597d\uff0c\u4e16\u754c")
@example(text="\U0001f9d1\u200d\U0001f680\U0001f1e9\U0001f1ea e\u0301 \ufffd\ufeff\U0010ffff")
@example(text="it's 1999, they'll say <|im_end|> </s> <0x41>")
def test_the_byte_level_tokenizer_loses_nothing(loaded_model: "ModelLoader", text: str) -> None:
    """The pieces of any text, joined, are its UTF-8 bytes."""
    assert _round_trip(loaded_model("tiny-qwen2"), text) == text.encode()


# The first example also makes and loads the model.
@settings(deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\u2581"), min_size=1))
@example(text="\x00\x01\t\r\n\r\n  \x7f\x80\x9f\u2028")
@example(text="\u4f60\u597d\uff0c\u4e16\u754c")
@example(text="\U0001f9d1\u200d\U0001f680\U0001f1e9\U0001f1ea e\u0301 \ufffd\ufeff\U0010ffff")
@example(text="it's 1999, they'll say <|end|> </s> <0x41>")
def test_the_byte_fallback_tokenizer_loses_nothing(loaded_model: "ModelLoader", text: str) -> None:
    """The pieces of any text, joined, are a space and its UTF-8 bytes.

    U+2581 is left out: SentencePiece writes spaces as it, so it comes back as a space.
    """
    assert _round_trip(loaded_model("tiny-phi3"), text) == b" " + text.encode()


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("broken", [b"\xff\xfe", b"abc\xe4\xb8", b"\xed\xa0\x80x", b"\x80"])
def test_bytes_that_are_not_utf8_are_encoded_too(
    loaded_model: "ModelLoader", name: str, broken: bytes
) -> None:
    """A prompt that was cut inside a character still becomes tokens."""
    assert loaded_model(name).tokenize(broken)


@pytest.mark.parametrize("name", TINY)
def test_english_is_encoded_in_pieces_longer_than_a_letter(
    loaded_model: "ModelLoader", name: str
) -> None:
    """An ordinary sentence takes less than half as many tokens as letters."""
    text = "The old fox asked for bread, water and the same answer again."
    assert len(loaded_model(name).tokenize(text)) < len(text) / 2


def test_chat_markers_of_qwen2_are_single_tokens(loaded_model: "ModelLoader") -> None:
    """A chat turn is encoded with its control tokens when special tokens are parsed."""
    model = loaded_model("tiny-qwen2")
    tokens = model.tokenize("<|im_start|>user\nHi<|im_end|>", parse=True)
    pieces = [model.piece(token) for token in tokens]
    assert pieces == [b"<|im_start|>", b"us", b"er", b"\n", b"H", b"i", b"<|im_end|>"]


def test_chat_markers_of_phi3_swallow_the_line_break(loaded_model: "ModelLoader") -> None:
    """llama.cpp strips white space after special tokens because the model is called phi-3."""
    model = loaded_model("tiny-phi3")
    tokens = model.tokenize("<|user|>\nHi<|end|>", add_special=True, parse=True)
    pieces = [model.piece(token) for token in tokens]
    assert pieces == [b"<s>", b"<|user|>", b" ", b"H", b"i", b"<|end|>"]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("tiny-qwen2", {"<|endoftext|>", "<|im_end|>"}),
        ("tiny-phi3", {"</s>", "<|endoftext|>", "<|end|>"}),
    ],
)
def test_generations_can_end(loaded_model: "ModelLoader", name: str, ends: set[str]) -> None:
    """llama.cpp takes the usual tokens of the family for ends of a generation."""
    model = loaded_model(name)
    size = RECIPES[name].shape.vocabulary
    assert {model.piece(token).decode() for token in range(size) if model.is_end(token)} == ends


def test_padding_adds_unused_tokens() -> None:
    """A padded vocabulary has the size asked for, and says that the rest is unused."""
    vocabulary = Vocabulary(tokens=(Token(text="a"),), settings={}, has_scores=True)
    assert vocabulary.padded(2).metadata() == {
        "tokenizer.ggml.tokens": ("a", "[PAD1]"),
        "tokenizer.ggml.token_type": (TokenType.NORMAL, TokenType.UNUSED),
        "tokenizer.ggml.scores": (0.0, 0.0),
    }


def test_a_vocabulary_is_never_cut() -> None:
    """Padding to less than the vocabulary holds is an error."""
    vocabulary = Vocabulary(tokens=(Token(text="a"),), settings={}, has_scores=False)
    with pytest.raises(ValueError, match="cannot pad 1 tokens to 0"):
        vocabulary.padded(0)


def test_a_repeated_token_is_refused() -> None:
    """Two tokens with one text, on which llama.cpp would abort, are an error."""
    with pytest.raises(ValueError, match="must be unique"):
        Vocabulary(tokens=(Token(text="a"), Token(text="a")), settings={}, has_scores=False)
