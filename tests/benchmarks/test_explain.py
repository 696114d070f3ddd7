"""The benchmark of what an explanation costs."""

from tests.fakes.processes import printed_by


def test_every_form_has_a_ratio() -> None:
    """Each is measured, and prints a line."""
    printed = printed_by("benchmarks.explain", "--rounds", "1")

    commands = [line.partition(" ")[0] for line in printed.splitlines()]
    assert commands == ["explain", "pack", "from"]
