"""The benchmark of what commands cost besides their work."""

from tests.fakes.processes import printed_by


def test_every_command_has_a_figure() -> None:
    """Each is measured, and prints a line."""
    printed = printed_by("benchmarks.startup", "--rounds", "1")

    commands = [line.partition(" ")[0] for line in printed.splitlines()]
    assert commands == ["help", "lint", "dry-run", "publish", "shard", "check"]
