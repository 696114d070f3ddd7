"""The trainer of the tiny tokenizers merges what repeats, in one order only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.tiny_models.byte_pairs import train


def test_the_most_frequent_pair_is_merged_first() -> None:
    """Merges come in the order of how often their pairs stand in the words."""
    assert train(["low"] * 5 + ["lot"] * 3 + ["hot"] * 4, merges=3) == (
        ("l", "o"),
        ("lo", "w"),
        ("h", "o"),
    )


def test_equally_frequent_pairs_are_merged_in_code_point_order() -> None:
    """A tie goes to the pair that sorts first, whatever the order of the words."""
    expected = (("a", "b"), ("c", "d"))
    assert train(["cd", "ab", "cd", "ab"], merges=2) == expected
    assert train(["ab", "cd", "cd", "ab"], merges=2) == expected


def test_overlapping_pairs_are_merged_from_the_left() -> None:
    """A run of one symbol is joined two by two."""
    assert train(["aaaa", "aaaa"], merges=2) == (("a", "a"), ("aa", "aa"))


@given(words=st.lists(st.text(alphabet="ab"), max_size=20), merges=st.integers(1, 20))
def test_every_merge_builds_a_new_piece(words: list[str], merges: int) -> None:
    """No two merges build the same piece, on which llama.cpp would abort."""
    try:
        found = train(words * 2, merges=merges)
    except ValueError:
        return
    assert len({left + right for left, right in found}) == merges


def test_too_little_text_is_an_error() -> None:
    """Words without enough repeated pairs cannot be trained on."""
    with pytest.raises(ValueError, match="the words hold 1 repeated pairs, expected 2"):
        train(["ab", "ab", "cd"], merges=2)
