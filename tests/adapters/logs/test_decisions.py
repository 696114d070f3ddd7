"""The decisions of a review are bound to its report, and read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.logs.decisions import FILE, ReviewDecisions
from repro_gate.core.changes.review import Decision
from repro_gate.errors import InputInvalid

ALL = {"a": Decision.ACCEPTED, "r": Decision.REJECTED, "s": Decision.SKIPPED}
KEPT = {"r": Decision.REJECTED, "s": Decision.SKIPPED}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a report."""
    (tmp_path / "report.json").write_text("{}", "utf-8")
    return tmp_path


def test_there_are_no_decisions_before_the_first(folder: Path) -> None:
    """Without a file."""
    assert ReviewDecisions(folder).read() == {}


def test_decisions_are_kept_without_the_accepted_ones(folder: Path) -> None:
    """Those are goldens."""
    ReviewDecisions(folder).write(ALL)

    assert ReviewDecisions(folder).read() == KEPT


def test_decisions_on_another_report_do_not_count(folder: Path) -> None:
    """Its changes may be others."""
    ReviewDecisions(folder).write(ALL)
    (folder / "report.json").write_text("{ }", "utf-8")

    assert ReviewDecisions(folder).read() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "repro-gate/review/v2"}, "schema: expected one of repro-gate/review/v1"),
        ({"more": 1}, "expected only the keys schema, report, decisions"),
        ({"report": 1}, "report: expected a string, found 1"),
        ({"decisions": ["r"]}, "decisions: expected an object, found a list"),
        ({"decisions": {"r": "accepted"}}, "decisions: expected one of rejected, skipped"),
    ],
)
def test_anything_else_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    """With the file, the place, and what to do."""
    decisions = ReviewDecisions(folder)
    decisions.write(ALL)
    document = json.loads((folder / FILE).read_text("utf-8"))
    (folder / FILE).write_text(json.dumps(document | change), "utf-8")

    with pytest.raises(InputInvalid) as refused:
        decisions.read()

    assert message in str(refused.value)
    assert "remove the file to begin the review again" in str(refused.value)


def test_a_link_is_refused(folder: Path) -> None:
    """The folder may be a download."""
    (folder / FILE).symlink_to(folder / "report.json")

    with pytest.raises(InputInvalid, match="expected no symbolic link"):
        ReviewDecisions(folder).read()


def test_a_report_is_needed(tmp_path: Path) -> None:
    """Decisions are on a report."""
    with pytest.raises(InputInvalid, match=r"report\.json: expected a readable file"):
        ReviewDecisions(tmp_path)
