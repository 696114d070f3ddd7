"""Stop strings end a run, and cut its text, where llama-server does."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.oracle.twins import Twins

_COUNTING = "One, two, three, four, five, six,"
"""Continued by any model that can count."""
_ACCENTS = "Ünïcödé: é è ê ë é è ê ë é è"
"""Continued with ` ê ë ë ë`: of the two bytes of each, the first is in the token of the space."""


@pytest.mark.parametrize(
    ("stop", "found", "content"),
    [
        (["igh"], "igh", " seven, e"),
        ([", eig"], ", eig", " seven"),
        (["seven, eight, nine"], "seven, eight, nine", " "),
        (["nine", "eight"], "eight", " seven, "),
        (["eight, n", "eight"], "eight", " seven, "),
        (["eight", "eig"], "eight", " seven, "),
        (["ght", "eight"], "eight", " seven, "),
        (["eig", "eight"], "eig", " seven, "),
        ([" seven"], " seven", ""),
        ([" "], " ", ""),
        ([", eight, ten", "nine"], "nine", " seven, eight, "),
    ],
    ids=str,
)
def test_the_text_is_cut_where_the_server_cuts(
    twins: "Twins", stop: list[str], found: str, content: str
) -> None:
    """Within a token, across tokens, at the start; the first of several; tokens are kept."""
    run = twins.generate(prompt=_COUNTING, temperature=0, stop=stop)
    assert (run["stop_string"], run["content"]) == (found, content)


@pytest.mark.parametrize(
    ("stop", "found", "content"),
    [
        (["ë"], "ë", " ê "),
        ([" ë"], " ë", " ê"),
        (["ê ë"], "ê ë", " "),
        (["è", "ë ë"], "ë ë", " ê "),
    ],
    ids=str,
)
def test_a_character_of_several_tokens_is_found_whole(
    twins: "Twins", stop: list[str], found: str, content: str
) -> None:
    """Its first byte is in one token with the space before it, and is cut with the character."""
    run = twins.generate(prompt=_ACCENTS, temperature=0, stop=stop)
    assert (run["stop_string"], run["content"]) == (found, content)


@pytest.mark.parametrize(("prompt", "stop"), [(_COUNTING, "eight, twelve"), (_ACCENTS, "ê ê")])
@pytest.mark.parametrize("max_tokens", range(1, 6))
def test_the_start_of_a_stop_string_ends_nothing(
    twins: "Twins", prompt: str, stop: str, max_tokens: int
) -> None:
    """At every limit, also one within a character."""
    run = twins.generate(prompt=prompt, temperature=0, stop=[stop], max_tokens=max_tokens)
    assert (run["stop"], len(run["tokens"])) == ("length", max_tokens)


def test_a_special_token_is_no_text(twins: "Twins") -> None:
    """A stop string that is the name of the token that ends the run is not found."""
    chat = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n"
    run = twins.generate(prompt=chat, temperature=0, stop=["<|im_end|>"], max_tokens=60)
    assert run["stop"] == "end_of_generation"
