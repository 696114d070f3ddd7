"""Blocks of Markdown put together, and put behind a line."""

from collections.abc import Sequence

from repro_gate.reports.markdown_text import details, document

Block = Sequence[str]


def joined(blocks: Sequence[Block]) -> Block:
    """Return several blocks as one that is kept or cut as a whole."""
    return document(blocks).removesuffix("\n").split("\n")


def folded(summary: str, blocks: Sequence[Block]) -> Block:
    """Return blocks behind a line of our own words, which may be HTML."""
    return details(summary, joined(blocks))
