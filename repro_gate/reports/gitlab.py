"""Texts for GitLab: the note on a merge request, and the code quality report of its widget."""

import hashlib
import json
import re
from typing import Final

from repro_gate.core.report import CheckResult
from repro_gate.reports.github.annotations import Annotation, LineOf, annotations_of
from repro_gate.reports.text.escape import clipped, one_line

_SEVERITIES: Final = {"error": "major", "warning": "minor", "notice": "info"}
_MAX_LENGTH: Final = 500
_QUICK_ACTION: Final = re.compile(r"^/", re.MULTILINE)


def as_note(comment: str) -> str:
    """Return a comment in which no line begins with a slash, which GitLab would execute."""
    return _QUICK_ACTION.sub(" /", comment)


def render_code_quality(result: CheckResult | None, *, line_of: LineOf, matrix: str) -> str:
    """Return the findings of a check as a list of issues.

    Args:
        result: what the check left behind; None when it left nothing.
        line_of: finds the golden of a drifted cell.
        matrix: the path of the matrix file in the repository, for all other findings.
    """
    issues = [_issue(each, matrix) for each in annotations_of(result, line_of)]
    return json.dumps(issues, indent=2) + "\n"


def _issue(annotation: Annotation, matrix: str) -> dict[str, object]:
    path, line = annotation.place or (matrix, 1)
    first = annotation.message.partition("\n")[0]
    return {
        "description": clipped(f"{annotation.title}: {first}", _MAX_LENGTH),
        "check_name": one_line(annotation.title.partition(":")[0]),
        # Without the message: the widget compares with the target branch, and numbers vary.
        "fingerprint": hashlib.sha256(annotation.title.encode("utf-8", "replace")).hexdigest(),
        "severity": _SEVERITIES[annotation.level],
        "location": {"path": path, "lines": {"begin": line}},
    }
