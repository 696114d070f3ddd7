"""Issues in memory."""

import itertools
from dataclasses import replace

from repro_gate.core.watch.issues import IssueMarker, PostedIssue, issue_marker_of


class MemoryIssues:
    """The issues of a repository that are ours."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.posted: dict[int, PostedIssue] = {}
        self.titles: dict[int, str] = {}
        self.asks: list[str] = []
        """The calls that write, in order."""

    def of_watch(self, like: IssueMarker) -> tuple[PostedIssue, ...]:
        """Return the issues of the watch of a marker, oldest first."""
        found = (self.posted[number] for number in sorted(self.posted))
        return tuple(issue for issue in found if issue.marker.is_of_same_watch(like))

    def create(self, title: str, body: str) -> PostedIssue:
        """Open an issue."""
        number = next(self._numbers)
        self.asks.append(f"create {number}")
        url = f"https://github.test/{number}"
        issue = PostedIssue(number=number, url=url, is_open=True, marker=_marker_of(body))
        self.posted[number], self.titles[number] = issue, title
        return issue

    def comment(self, issue: PostedIssue, body: str) -> None:
        """Comment on an issue."""
        self.asks.append(f"comment {issue.number} {_marker_of(body).state.value}")

    def update(self, issue: PostedIssue, title: str, body: str, *, is_open: bool) -> None:
        """Replace title, body and state of an issue."""
        self.asks.append(f"update {issue.number} {'open' if is_open else 'closed'}")
        self.posted[issue.number] = replace(issue, is_open=is_open, marker=_marker_of(body))
        self.titles[issue.number] = title

    def close(self, issue: PostedIssue) -> None:
        """Close an issue."""
        self.asks.append(f"close {issue.number}")
        self.posted[issue.number] = replace(issue, is_open=False)


def _marker_of(body: str) -> IssueMarker:
    marker = issue_marker_of(body)
    assert marker is not None
    return marker
