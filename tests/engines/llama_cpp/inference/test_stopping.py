"""Stop strings are found and cut as in llama-server."""

from typing import TYPE_CHECKING

import pytest

from repro_gate.engines.llama_cpp.inference.stopping import Stopping

if TYPE_CHECKING:
    from tests.fakes.driven_engine import DrivenEngine


@pytest.mark.parametrize(
    ("pieces", "stop", "found", "content", "count"),
    [
        ([",", " there", " was", " a"], ["e w"], "e w", ", ther", 3),
        ([",", " there", " was", " a", " fox"], ["s a fox"], "s a fox", ", there wa", 5),
        (["a", "b", "c"], ["c", "b"], "b", "a", 2),
        (["abc"], ["bc", "b"], "bc", "a", 1),
        (["abc"], ["c", "b"], "b", "a", 1),
        ([", "], [", "], ", ", "", 1),
        (["ab", "c"], ["abd"], None, "abc", 2),
        (["x", "ab"], ["abd"], None, "xab", 2),
    ],
)
def test_the_first_stop_string_cuts_the_text(
    pieces: list[str], stop: list[str], found: str | None, content: str, count: int
) -> None:
    """It is found across tokens; the earliest counts, and a mere start of one cuts nothing."""
    stopping = Stopping(stop)
    taken = 0
    for piece in pieces:
        taken += 1
        stopping.add(piece.encode(), is_last=False)
        if stopping.found is not None:
            break
    assert (stopping.found, stopping.content.decode(), taken) == (found, content, count)


def test_nothing_is_found_within_a_character() -> None:
    """A stop string is looked for again when the character is complete."""
    stopping = Stopping(["\N{SNOWMAN}"])
    for byte in b"a\xe2\x98":
        stopping.add(bytes([byte]), is_last=False)
        assert stopping.found is None
    stopping.add(b"\x83", is_last=False)
    assert (stopping.found, stopping.content) == ("\N{SNOWMAN}", b"a")


def test_a_run_ends_with_the_token_that_completes_a_stop_string(engine: "DrivenEngine") -> None:
    """The tokens are those of the run without it, up to that token; the content ends before."""
    plain = engine.generate()
    at, piece = next(
        (index, text)
        for index, (_, data) in enumerate(plain["tokens"][1:], start=1)
        for text in [bytes.fromhex(data)]
        if text.isascii() and len(text) > 1
    )
    stop = piece.decode()
    answer = engine.generate(stop=["never seen", stop])
    assert answer["tokens"] == plain["tokens"][: at + 1]
    assert (answer["stop"], answer["stop_string"]) == ("stop_string", stop)
    before = b"".join(bytes.fromhex(data) for _, data in plain["tokens"][:at])
    assert bytes.fromhex(answer["content"]) == before
    assert engine.generate(stop=["never seen"]) == plain
