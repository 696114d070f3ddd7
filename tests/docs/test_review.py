"""The page on reviewing changes names every key, and its session is what the program shows."""

import re

from benchmarks.review import SESSIONS
from repro_gate.core.changes.review import KEYS
from repro_gate.reports.review import HELP
from tests.docs.pages import ROOT, page

_RECORDED = (ROOT / "docs/examples/review/report.md").read_text("utf-8")


def test_every_key_is_named() -> None:
    """In the table, and no other key is."""
    table = page("docs/how-to/review-changes.md").prose
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)

    assert {key for row in rows for key in re.findall(r"`(.)`", row)} == KEYS


def test_the_recorded_keys_are_those_of_the_command() -> None:
    """In both sessions."""
    assert "".join(re.findall(r"^Key: `(.)`$", _RECORDED, re.MULTILINE)) == "".join(SESSIONS)


def test_the_recorded_help_is_the_present_one() -> None:
    """A new key makes the record stale."""
    assert all(line in _RECORDED for line in HELP)
