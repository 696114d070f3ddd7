"""Facts as labelled lines: the form that a terminal, a fence and a test dashboard share."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

Line: TypeAlias = tuple[str, str]
"""A label of ours, and printable text."""

_MOST_LISTED: Final = 5
"""Ids, tokens or changed facts in one block; the files have all of them."""


def given(label: str, text: str | None) -> Iterator[Line]:
    """Yield a line if there is anything to say."""
    if text is not None:
        yield label, text


def cut(label: str, texts: Sequence[str]) -> Iterator[Line]:
    """Yield a line for each text, as far as a reader can use them at first sight."""
    for text in texts[:_MOST_LISTED]:
        yield label, text
    if len(texts) > _MOST_LISTED:
        yield label, f"and {len(texts) - _MOST_LISTED} more"
