"""Text to tokens and tokens to bytes, with the vocabulary of the loaded model."""

import ctypes
from functools import cached_property

from repro_gate.engines.llama_cpp import native
from repro_gate.protocol import WireToken, bad_request

_ADD_SPECIAL = True
_PARSE_SPECIAL = True
_STRIP_NOTHING = 0


class Tokenizer:
    """The vocabulary of a model."""

    def __init__(self, vocabulary: native.Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.size = native.n_tokens(vocabulary)
        self.bos = native.bos(vocabulary)
        """Negative when there is none."""
        self.eos = native.eos(vocabulary)
        """Negative when there is none."""
        self.adds_bos = native.adds_bos(vocabulary)
        self.adds_eos = native.adds_eos(vocabulary)
        self._pieces: dict[int, bytes] = {}

    @cached_property
    def end_of_generation(self) -> tuple[int, ...]:
        """All tokens at which a generation ends; llama.cpp guesses most of them from their text."""
        return tuple(token for token in range(self.size) if self.is_end_of_generation(token))

    def encode(self, prompt: str, *, keeps_eos: bool = False) -> list[int]:
        """Return the tokens of a prompt: special tokens are parsed, and BOS is added if due.

        An EOS token after the text is omitted, except where an encoder reads all of it: the answer
        would come after the end.
        """
        text = prompt.encode()
        size_limit = len(text) + 8
        while True:
            tokens = (ctypes.c_int32 * size_limit)()
            count = native.tokenize(
                self.vocabulary, text, len(text), tokens, size_limit, _ADD_SPECIAL, _PARSE_SPECIAL
            )
            if count >= 0:
                break
            size_limit = -count
        if self.adds_eos and not keeps_eos and count and tokens[count - 1] == self.eos:
            count -= 1
        if count == 0:
            raise bad_request("the prompt has no tokens, so nothing predicts the first one")
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; a special token has its name, `<|endoftext|>`, as bytes.

        Its text would be empty, which is useless in a diff.
        """
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._piece(token)
        return known

    def special_text(self, token: int) -> str:
        """Return the name of a special token; empty when there is none."""
        return self.piece(token).decode("utf-8", errors="replace") if token >= 0 else ""

    def text(self, token: int) -> bytes:
        """Return what a token adds to the text: nothing, if it is a special one."""
        return self._piece(token, shows_special=False)

    def to_wire(self, tokens: list[int]) -> list[list[int | str]]:
        """Return the tokens with their bytes in the form of the protocol."""
        return [WireToken(token, self.piece(token)).to_wire() for token in tokens]

    def require_known(self, tokens: list[int]) -> None:
        """Refuse ids outside the vocabulary; llama.cpp would abort the process."""
        unknown = [token for token in tokens if not 0 <= token < self.size]
        if unknown:
            raise bad_request(f"token {unknown[0]} is not one of the {self.size} of the model")

    def is_end_of_generation(self, token: int) -> bool:
        """Return whether a generation ends at this token."""
        return native.is_end_of_generation(self.vocabulary, token)

    def _piece(self, token: int, *, shows_special: bool = True) -> bytes:
        size_limit = 64
        while True:
            buffer = ctypes.create_string_buffer(size_limit)
            size = native.token_to_piece(
                self.vocabulary, token, buffer, size_limit, _STRIP_NOTHING, shows_special
            )
            if size >= 0:
                return buffer.raw[:size]
            size_limit = -size
