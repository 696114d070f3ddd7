"""Pull requests and our own comments on them; see `repro_gate.ports.github.PullRequests`."""

import contextlib
from typing import Any

from repro_gate.adapters.github.api import Api, Call
from repro_gate.adapters.github.payload import marker_in, posted_as, pull_with_head
from repro_gate.adapters.github.repository import Repository, is_by, items_of
from repro_gate.core.comments import CiRun, Marker, PostedComment, marker_of
from repro_gate.errors import CommentGone


class GithubPullRequests:
    """The pull requests of one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def of_run(self, run: CiRun) -> tuple[int, ...]:
        """Return the pull request of the event, or those of the branch and commit of a run.

        Its list of pull requests is empty for a fork, and its artifacts are not trusted: GitHub is
        asked by the owner, branch and commit.
        """
        if run.pull_request is not None:
            return (run.pull_request,)
        if not (run.from_workflow_run and run.head_owner and run.head_branch):
            return ()
        return self._repository.run(lambda api: self._pulls(api, run))

    def comments(self, pull_request: int, *, like: Marker) -> tuple[PostedComment, ...]:
        """Return our own comments for the gate of a marker, the oldest first."""
        return self._repository.run(lambda api: self._ours(api, pull_request, like))

    def create(self, pull_request: int, body: str) -> PostedComment:
        """Post a comment; if the answer is lost, look for the comment before posting it again."""
        marker = _marker_of(body)
        return self._repository.run(lambda api: self._created(api, pull_request, body, marker))

    def update(self, comment: PostedComment, body: str) -> PostedComment:
        """Replace the body of a comment; raises `CommentGone` too."""
        marker = _marker_of(body)
        call = Call(method="PATCH", path=self._path_of(comment), body={"body": body})
        self._repository.run(lambda api: api.do(call), if_gone=CommentGone)
        return PostedComment(id=comment.id, url=comment.url, marker=marker)

    def delete(self, comment: PostedComment) -> None:
        """Delete a comment, unless it is deleted already."""
        call = Call(method="DELETE", path=self._path_of(comment))
        with contextlib.suppress(CommentGone):
            self._repository.run(lambda api: api.do(call), if_gone=CommentGone)

    async def _pulls(self, api: Api, run: CiRun) -> tuple[int, ...]:
        query = {"state": "open", "head": f"{run.head_owner}:{run.head_branch}"}
        call = Call(method="GET", path=f"{self._repository.path}/pulls", query=query)
        numbers = [pull_with_head(pull, run) async for pull in items_of(api, call)]
        return tuple(number for number in numbers if number is not None)

    async def _ours(self, api: Api, pull_request: int, like: Marker) -> tuple[PostedComment, ...]:
        call = Call(method="GET", path=self._path_to(pull_request))
        marked: list[tuple[Any, Marker]] = []
        async for comment in items_of(api, call):
            marker = marker_in(comment)
            if marker is not None and marker.has_gate_of(like):
                marked.append((comment, marker))
        if not marked:
            return ()
        login = await self._repository.login(api)
        own = [
            posted_as(comment, marker, self._repository.token)
            for comment, marker in marked
            if is_by(login, comment)
        ]
        return tuple(sorted(own, key=lambda comment: comment.id))

    async def _created(
        self, api: Api, pull_request: int, body: str, marker: Marker
    ) -> PostedComment:
        async def find() -> PostedComment | None:
            ours = await self._ours(api, pull_request, marker)
            return next((one for one in ours if one.marker == marker), None)

        call = Call(method="POST", path=self._path_to(pull_request), body={"body": body})
        token = self._repository.token
        return await self._repository.post_once(
            api, call, lambda comment: posted_as(comment, marker, token), find
        )

    def _path_to(self, pull_request: int) -> str:
        return f"{self._repository.path}/issues/{pull_request}/comments"

    def _path_of(self, comment: PostedComment) -> str:
        return f"{self._repository.path}/issues/comments/{comment.id}"


def _marker_of(body: str) -> Marker:
    marker = marker_of(body)
    if marker is None:
        raise ValueError("our comments start with their marker")
    return marker
