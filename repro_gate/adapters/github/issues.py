"""Our own issues in a repository; see `repro_gate.ports.github.Issues`."""

from typing import Any

from repro_gate.adapters.github.api import Api, Call
from repro_gate.adapters.github.payload import issue_as, issue_marker_in
from repro_gate.adapters.github.repository import Repository, is_by, items_of
from repro_gate.core.watch.issues import IssueMarker, PostedIssue, issue_marker_of
from repro_gate.strict_json import value_at


class GithubIssues:
    """The issues of one repository that the account of our token has written."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._path = f"{repository.path}/issues"

    def of_watch(self, like: IssueMarker) -> tuple[PostedIssue, ...]:
        """Return our own issues for the watch of a marker, the oldest first."""
        return self._repository.run(lambda api: self._ours(api, like))

    def create(self, title: str, body: str) -> PostedIssue:
        """Open an issue; if the answer is lost, look for the issue before opening it again."""
        marker = _marker_of(body)
        return self._repository.run(lambda api: self._created(api, title, body, marker))

    def comment(self, issue: PostedIssue, body: str) -> None:
        """Comment on an issue; if the answer is lost, look for the comment first."""
        self._repository.run(lambda api: self._commented(api, issue, body))

    def update(self, issue: PostedIssue, title: str, body: str, *, is_open: bool) -> None:
        """Replace title, body and state of an issue."""
        self._change(issue, title=title, body=body, state="open" if is_open else "closed")

    def close(self, issue: PostedIssue) -> None:
        """Close an issue without a change of its text."""
        self._change(issue, state="closed")

    def _change(self, issue: PostedIssue, **fields: str) -> None:
        call = Call(method="PATCH", path=f"{self._path}/{issue.number}", body=fields)
        self._repository.run(lambda api: api.do(call))

    async def _ours(self, api: Api, like: IssueMarker) -> tuple[PostedIssue, ...]:
        login = await self._repository.login(api)
        # Every issue of a large repository would be too many pages.
        query = {"state": "all", "creator": login}
        found: list[PostedIssue] = []
        async for issue in items_of(api, Call(method="GET", path=self._path, query=query)):
            marker = issue_marker_in(issue)
            if marker is not None and marker.is_of_same_watch(like) and is_by(login, issue):
                found.append(issue_as(issue, marker, self._repository.token))
        return tuple(sorted(found, key=lambda issue: issue.number))

    async def _created(self, api: Api, title: str, body: str, marker: IssueMarker) -> PostedIssue:
        async def find() -> PostedIssue | None:
            ours = await self._ours(api, marker)
            return next((one for one in ours if one.marker == marker), None)

        call = Call(method="POST", path=self._path, body={"title": title, "body": body})
        token = self._repository.token
        return await self._repository.post_once(
            api, call, lambda issue: issue_as(issue, marker, token), find
        )

    async def _commented(self, api: Api, issue: PostedIssue, body: str) -> None:
        path = f"{self._path}/{issue.number}/comments"

        async def find() -> bool | None:
            login = await self._repository.login(api)
            async for comment in items_of(api, Call(method="GET", path=path)):
                if is_by(login, comment) and _is_same(value_at(comment, "body"), body):
                    return True
            return None

        call = Call(method="POST", path=path, body={"body": body})
        await self._repository.post_once(api, call, lambda _: True, find)


def _is_same(found: Any, body: str) -> bool:
    """Return whether a comment has the marker of ours, which names the run."""
    return isinstance(found, str) and issue_marker_of(found) == _marker_of(body)


def _marker_of(body: str) -> IssueMarker:
    marker = issue_marker_of(body)
    if marker is None:
        raise ValueError("our issues and their comments start with a marker")
    return marker
