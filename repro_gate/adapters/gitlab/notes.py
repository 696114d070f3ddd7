"""Our own notes on a merge request; see `repro_gate.ports.github.PullRequests`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx

from repro_gate.adapters.github.payload import FieldMissing, marker_in, number_at, parse_json
from repro_gate.adapters.gitlab.job import TOKEN, GitlabJob
from repro_gate.adapters.http.client import Client, Reply, Request, Server, url_for_secrets
from repro_gate.adapters.http.retry import (
    Deadline,
    HttpFailure,
    RetryPolicy,
    Runtime,
    retry_after_s,
    status_text,
)
from repro_gate.core.comments import CiRun, Marker, PostedComment, marker_of
from repro_gate.errors import CommentGone, PublishFailed
from repro_gate.strict_json import is_list, value_at

_AGAIN: Final = "run the job again later"
_RIGHTS: Final = (
    f"give the job a project access token with the scope api and the role Reporter in {TOKEN}; "
    "a protected variable is set on protected branches only"
)
_PER_PAGE: Final = 100
_MAX_PAGES: Final = 100
_MAX_BYTES: Final = 1 << 27
_ATTEMPT_S: Final = 30.0
_DEADLINE_S: Final = 90.0
_Result = TypeVar("_Result")


class GitlabMergeRequests:
    """The merge requests of one project, and our notes on them."""

    def __init__(self, job: GitlabJob, *, runtime: Runtime | None = None) -> None:
        """Prepare the calls; raises `PublishFailed` if the token cannot be sent."""
        if not job.token.headers:
            raise PublishFailed(f"there is no {TOKEN} to write a note with", remedy=_RIGHTS)
        self._job = job
        self._runtime = runtime or Runtime()
        try:
            self._url = url_for_secrets(job.api_url)
        except ValueError as error:
            raise PublishFailed(
                f"the address of the API {error}", remedy="check CI_API_V4_URL"
            ) from error
        self._deadline = Deadline(_DEADLINE_S, self._runtime.clock, remedy=_AGAIN)

    def of_run(self, run: CiRun) -> tuple[int, ...]:
        """Return the merge request of the pipeline."""
        return () if run.pull_request is None else (run.pull_request,)

    def comments(self, pull_request: int, *, like: Marker) -> tuple[PostedComment, ...]:
        """Return our own notes for the gate of a marker, the oldest first."""
        return self._run(lambda api: self._ours(api, pull_request, like))

    def create(self, pull_request: int, body: str) -> PostedComment:
        """Post a note, once: GitLab has no way to look for one whose answer was lost."""
        path = self._path(pull_request)

        async def work(api: "_Api") -> Any:
            return await api.send("POST", path, body={"body": body}, is_once=True)

        return self._posted(self._run(work), body)

    def update(self, comment: PostedComment, body: str) -> PostedComment:
        """Replace the body of a note; raises `CommentGone` too."""
        self._change("PUT", comment, {"body": body})
        return PostedComment(id=comment.id, url=comment.url, marker=_marker_of(body))

    def delete(self, comment: PostedComment) -> None:
        """Delete a note, unless it is deleted already."""
        with contextlib.suppress(CommentGone):
            self._change("DELETE", comment, None)

    def _change(self, method: str, comment: PostedComment, body: Mapping[str, Any] | None) -> None:
        path = f"{self._path(self._job.run.pull_request or 0)}/{comment.id}"
        self._run(lambda api: api.send(method, path, body=body), if_gone=CommentGone)

    async def _ours(self, api: "_Api", number: int, like: Marker) -> tuple[PostedComment, ...]:
        marked: list[Any] = []
        for page in range(1, _MAX_PAGES + 1):
            query = {"sort": "asc", "per_page": str(_PER_PAGE), "page": str(page)}
            notes = await api.send("GET", self._path(number), query=query)
            if not is_list(notes):
                raise PublishFailed("GitLab: the answer is not a list")
            known = ((note, marker_in(note)) for note in notes)
            marked += [note for note, marker in known if marker and marker.has_gate_of(like)]
            if len(notes) < _PER_PAGE:
                break
        if not marked:
            return ()
        own = number_at(await api.send("GET", "/user"), "id")
        ours = [
            self._posted(note, str(value_at(note, "body")))
            for note in marked
            if value_at(note, "author", "id") == own
        ]
        return tuple(sorted(ours, key=lambda comment: comment.id))

    def _posted(self, note: Any, body: str) -> PostedComment:
        id = number_at(note, "id")
        url = f"{self._job.merge_request_url}#note_{id}"
        return PostedComment(id=id, url=url, marker=_marker_of(body))

    def _path(self, number: int) -> str:
        return f"/projects/{self._job.project}/merge_requests/{number}/notes"

    def _run(
        self,
        work: Callable[["_Api"], Awaitable[_Result]],
        *,
        if_gone: type[PublishFailed] = PublishFailed,
    ) -> _Result:
        async def opened() -> _Result:
            server = Server(
                name="GitLab",
                secret=self._job.token,
                max_bytes=_MAX_BYTES,
                if_slow=_AGAIN,
                if_unreachable="check CI_API_V4_URL, and the network and the proxy of the runner",
                if_unreadable="check CI_API_V4_URL and what is in front of the server",
                if_moved="if the project was moved, run the pipeline again under its new name",
            )
            async with aclosing(Client(server, self._url, self._runtime)) as client:
                return await work(_Api(client, self._url, self._job, self._runtime, self._deadline))

        try:
            return asyncio.run(opened())
        except HttpFailure as error:
            failure = if_gone if error.status == HTTPStatus.NOT_FOUND else PublishFailed
            raise failure(error.reason, remedy=error.remedy or None) from error
        except FieldMissing as error:
            raise PublishFailed(f"GitLab: the answer is not as expected: {error}") from error


class _Api:
    """Calls with retries; raises `HttpFailure`."""

    def __init__(
        self,
        client: Client,
        url: httpx.URL,
        job: GitlabJob,
        runtime: Runtime,
        deadline: Deadline,
    ) -> None:
        self._client = client
        self._url = url
        self._job = job
        self._now = runtime.now
        self._deadline = deadline
        self._retries = RetryPolicy(
            attempts=5,
            first_backoff_s=1.0,
            max_backoff_s=16.0,
            deadline=deadline,
            runtime=runtime,
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        is_once: bool = False,
    ) -> Any:
        """Make a call and return its JSON, or None without content."""
        url = self._url.copy_with(path=self._url.path.rstrip("/") + path)
        request = Request(method=method, url=url, query=query, body=body)

        async def attempt() -> Any:
            self._deadline.require()
            timeout_s = min(_ATTEMPT_S, self._deadline.left_s)
            reply = await self._client.send(request, timeout_s=timeout_s)
            return self._document_of(reply)

        return await (attempt() if is_once else self._retries.run(attempt))

    def _document_of(self, reply: Reply) -> Any:
        status = reply.status
        if not httpx.codes.is_success(status):
            is_busy = status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS  # noqa: PLR2004 -- server errors
            wait_s = retry_after_s(reply.headers, now=self._now())
            raise HttpFailure(
                f"GitLab: {status_text(status)}",
                remedy=_AGAIN if is_busy else _RIGHTS,
                status=status,
                transient=is_busy,
                after_s=wait_s if is_busy else None,
            )
        try:
            return parse_json(reply.body) if reply.body.strip() else None
        except ValueError as error:
            raise HttpFailure("GitLab: the answer is not JSON", remedy=_AGAIN) from error


def _marker_of(body: str) -> Marker:
    marker = marker_of(body)
    if marker is None:
        raise FieldMissing("body: expected a note that starts with our marker")
    return marker
