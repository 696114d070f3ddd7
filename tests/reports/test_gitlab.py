"""Texts for GitLab: no quick action, and issues that stay the same while their cause does."""

import json

from repro_gate.core.report import FinishedCheck, UnfinishedCheck
from repro_gate.reports.gitlab import as_note, render_code_quality
from tests.reports.github.samples import drifted


def test_no_line_begins_with_a_quick_action() -> None:
    """GitLab would execute it, and code blocks are no reason to rely on its parser."""
    assert as_note("/close\ntext /close\n```text\n/merge\n```\n") == (
        " /close\ntext /close\n```text\n /merge\n```\n"
    )


def test_each_finding_is_an_issue() -> None:
    """At its line, or at the matrix; twice the same."""
    result = FinishedCheck(report=drifted())
    text = render_code_quality(result, line_of=lambda _: ("goldens/x.json", 3), matrix="m.toml")
    issues = json.loads(text)
    again = render_code_quality(result, line_of=lambda _: None, matrix="m.toml")

    assert {one["severity"] for one in issues} <= {"major", "minor", "info"}
    assert {one["location"]["path"] for one in issues} >= {"goldens/x.json"}
    assert {one["location"]["path"] for one in json.loads(again)} == {"m.toml"}
    fingerprints = [one["fingerprint"] for one in issues]
    assert fingerprints == [one["fingerprint"] for one in json.loads(again)]
    assert len(set(fingerprints)) == len(fingerprints)


def test_a_check_without_a_result_is_an_issue() -> None:
    """The widget must not look as if nothing were wrong."""
    broken = UnfinishedCheck(exit_code=3, message="m.toml: expected a key, found none")
    (issue,) = json.loads(render_code_quality(broken, line_of=lambda _: None, matrix="m.toml"))

    assert issue["description"].startswith("The check could not run: m.toml: expected a key")
    assert (issue["severity"], issue["location"]["lines"]["begin"]) == ("major", 1)
