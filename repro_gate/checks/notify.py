"""Write the one issue of a watch: opened, updated and closed as its state changes."""

from collections.abc import Callable
from typing import assert_never

from repro_gate.checks.publish import Message, MessageLevel
from repro_gate.core.watch.issues import (
    IssueText,
    KeepIssue,
    OpenIssue,
    RefreshIssue,
    ReportState,
    issue_action,
    needs_attention,
)
from repro_gate.errors import PublishFailed
from repro_gate.ports.github import Issues


def try_notify(connect: Callable[[], Issues], text: IssueText) -> Message:
    """Write the issue of a watch, and return what was done; a failure is a warning.

    Args:
        connect: opens the API.
        text: what the issue shows.
    """
    try:
        return Message(level=MessageLevel.LOG, text=f"repro-gate: {notify(connect(), text)}")
    except PublishFailed as error:
        reason = f"{error.reason} ({error.remedy})" if error.remedy else error.reason
        failed = f"The issue could not be written: {reason}"
        return Message(level=MessageLevel.WARNING, text=failed)


def notify(issues: Issues, text: IssueText) -> str:
    """Write the issue of a watch, and return what was done.

    Two runs at once may open two issues; the next run closes all but the oldest.

    Raises:
        PublishFailed: the API refused or failed.
    """
    found = issues.of_watch(text.marker)
    for other in found[1:]:
        if other.is_open:
            issues.close(other)
    action = issue_action(found[0] if found else None, text.marker)
    is_open = needs_attention(text.marker.state)
    match action:
        case OpenIssue():
            return f"opened the issue {issues.create(text.title, text.body).url}"
        case ReportState(issue=issue):
            # If the update fails, the next run comments again; in the other order nobody would
            # ever be notified.
            issues.comment(issue, text.body)
            issues.update(issue, text.title, text.body, is_open=is_open)
            return f"{'updated' if is_open else 'closed'} the issue {issue.url}"
        case RefreshIssue(issue=issue):
            issues.update(issue, text.title, text.body, is_open=issue.is_open)
            return f"brought the issue up to date: {issue.url}"
        case KeepIssue(reason=reason):
            return f"no issue was written: {reason}"
        case _:
            assert_never(action)
