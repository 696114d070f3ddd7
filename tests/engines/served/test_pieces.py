"""Bytes of tokens are exact, or unknown."""

from collections.abc import Mapping, Sequence

from repro_gate.engines.served.pieces import Pieces
from tests.fakes.served import ToyServer

MARK = "\ufffd"
_STOP = 2


class _Vocabulary(ToyServer):
    """A server whose tokens are texts, of which it may show only a part."""

    def __init__(self, texts: Mapping[int, str], *, first: str = "", stop: str = " .") -> None:
        super().__init__()
        self._texts = {_STOP: stop, **texts}
        self._first = first
        self.asked = 0

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the texts, the first one without its space."""
        self.asked += 1
        joined = "".join(self._texts.get(each, chr(each)) for each in ids)
        return joined.removeprefix(self._first)

    def tokenize_plain(self, prompt: str) -> tuple[int, ...]:
        """Return a token for each character, and one for a full stop after a space."""
        return tuple(map(ord, prompt.replace(" .", chr(_STOP))))


def test_a_token_is_asked_for_once() -> None:
    """Runs of a cell have the same tokens."""
    server = _Vocabulary({1: " is"})
    pieces = Pieces(server)
    assert pieces.to_wire([1, 1]) == [[1, b" is".hex()]] * 2
    asked = server.asked
    pieces.to_wire([1])
    assert server.asked == asked


def test_a_space_that_only_the_first_token_loses_is_known() -> None:
    """SentencePiece drops it at the beginning of a text."""
    assert Pieces(_Vocabulary({1: " is"}, first=" ")).text_of(1) == " is"


def test_a_part_of_a_character_has_no_bytes() -> None:
    """A mark in its place stands for any bytes."""
    assert Pieces(_Vocabulary({1: f" {MARK}"})).to_wire([1]) == [[1, None]]


def test_a_tokenizer_that_drops_spaces_has_no_bytes() -> None:
    """What it shows of a token is not what the token adds."""
    assert Pieces(_Vocabulary({1: "is"}, stop=".")).text_of(1) is None
