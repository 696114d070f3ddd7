"""Every golden of this machine's profile, with syrupy's own fixture."""

from typing import Any

from syrupy.assertion import SnapshotAssertion


def test_tokens(tokens: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    """The output of a cell equals its golden."""
    assert tokens == snapshot
