"""Pull requests and our own comments on them; see `repro_gate.ports.github.PullRequests`."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

from repro_gate.adapters.github.api import Api, Call, open_api
from repro_gate.adapters.github.failures import AGAIN
from repro_gate.adapters.github.payload import (
    FieldMissing,
    author_of,
    marker_in,
    posted_as,
    pull_with_head,
    text_at,
)
from repro_gate.adapters.http.client import url_for_secrets
from repro_gate.adapters.http.retry import Deadline, HttpFailure, Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.core.comments import CiRun, Marker, PostedComment, marker_of
from repro_gate.errors import CommentGone, PublishFailed
from repro_gate.strict_json import value_at

_ACTIONS = "github-actions[bot]"
_BOT = "[bot]"
_VIEWER = Call(method="POST", path="/graphql", body={"query": "query { viewer { login } }"})
_NOT_A_USER = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_DEADLINE_S = 90.0
_REPOSITORY = re.compile(r"(?!\.{1,2}/)[A-Za-z0-9._-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_GONE = frozenset({404, 410})
_Result = TypeVar("_Result")


async def own_login(api: Api) -> str:
    """Return the login that is the author of our comments; raises `PublishFailed`.

    `GET /user` works for a personal token. The token of an app, such as that of a job, gets a 403;
    GraphQL, which is not in the description of the REST API, returns its bot as the viewer. Where
    GraphQL fails as well, the author is `github-actions[bot]`, as for the token of any job.
    """
    try:
        return _login(await api.read(Call(method="GET", path="/user")), "login")
    except HttpFailure as error:
        if error.status not in _NOT_A_USER:
            raise
    try:
        document = await api.read(_VIEWER)
    except HttpFailure as error:
        if error.status is None:
            raise
        return _ACTIONS
    # GraphQL reports errors with the status of a success.
    if value_at(document, "data", "viewer") is None and value_at(document, "errors"):
        return _ACTIONS
    return _login(document, "data", "viewer", "login")


def is_by(login: str, comment: Any) -> bool:
    """Return whether a comment has this author.

    Only GitHub assigns logins that end in `[bot]`, so no person can have an app's; where an app is
    named as well, it has to be the bot's.
    """
    author = value_at(comment, "user", "login")
    if not isinstance(author, str) or author.lower() != login.lower():
        return False
    if not login.endswith(_BOT):
        return True
    app = value_at(comment, "performed_via_github_app", "slug")
    is_bot = value_at(comment, "user", "type") == "Bot"
    return is_bot and (app is None or f"{app}{_BOT}".lower() == login.lower())


def _login(document: Any, *names: str) -> str:
    try:
        return text_at(document, *names)
    except FieldMissing as error:
        raise PublishFailed(f"GitHub does not return our login: {error}") from error


class GithubPullRequests:
    """The pull requests of one repository.

    A comment is ours when it starts with the marker and its author is the account of our token.
    The account is requested only when a comment has a marker, and only once; it is also known from
    the first comment that we post.
    """

    def __init__(
        self,
        api_url: str,
        repository: str,
        token: Secret,
        *,
        runtime: Runtime | None = None,
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        """Prepare the calls; nothing is sent yet.

        Args:
            api_url: the address of the API, with a path for an Enterprise Server.
            repository: `owner/name`.
            token: is sent to that API only.
            runtime: the clocks and the network.
            deadline_s: the limit of all calls together, from the first one on.

        Raises:
            PublishFailed: there is no token, the name is not that of a repository, or the token
                cannot be sent safely.
        """
        if not token.headers:
            raise PublishFailed(
                "there is no GITHUB_TOKEN to comment with",
                remedy="set GITHUB_TOKEN to ${{ github.token }} in the environment of the step",
            )
        if not _REPOSITORY.fullmatch(repository):
            raise PublishFailed("GITHUB_REPOSITORY does not name a repository as owner/name")
        self._runtime = runtime or Runtime()
        try:
            self._url = url_for_secrets(api_url)
        except ValueError as error:
            raise PublishFailed(
                f"the address of the API {error}", remedy="check GITHUB_API_URL"
            ) from error
        self._token = token
        self._path = f"/repos/{repository}"
        self._deadline = Deadline(deadline_s, self._runtime.clock, remedy=AGAIN)
        self._login: str | None = None

    def of_run(self, run: CiRun) -> tuple[int, ...]:
        """Return the pull request of the event, or those of the branch and commit of a run.

        Its list of pull requests is empty for a fork, and its artifacts are not trusted: GitHub is
        asked by the owner, branch and commit.
        """
        if run.pull_request is not None:
            return (run.pull_request,)
        if not (run.from_workflow_run and run.head_owner and run.head_branch):
            return ()
        return self._run(lambda api: self._pulls(api, run))

    def comments(self, pull_request: int, *, like: Marker) -> tuple[PostedComment, ...]:
        """Return our own comments for the gate of a marker, the oldest first."""
        return self._run(lambda api: self._ours(api, pull_request, like))

    def create(self, pull_request: int, body: str) -> PostedComment:
        """Post a comment; if the answer is lost, look for the comment before posting it again."""
        marker = _marker_of(body)
        return self._run(lambda api: self._created(api, pull_request, body, marker))

    def update(self, comment: PostedComment, body: str) -> PostedComment:
        """Replace the body of a comment; raises `CommentGone` too."""
        marker = _marker_of(body)
        call = Call(method="PATCH", path=self._path_of(comment), body={"body": body})
        self._run(lambda api: api.do(call), if_gone=CommentGone)
        return PostedComment(id=comment.id, url=comment.url, marker=marker)

    def delete(self, comment: PostedComment) -> None:
        """Delete a comment, unless it is deleted already."""
        call = Call(method="DELETE", path=self._path_of(comment))
        with contextlib.suppress(CommentGone):
            self._run(lambda api: api.do(call), if_gone=CommentGone)

    async def _pulls(self, api: Api, run: CiRun) -> tuple[int, ...]:
        query = {"state": "open", "head": f"{run.head_owner}:{run.head_branch}"}
        call = Call(method="GET", path=f"{self._path}/pulls", query=query)
        pulls = [pull async for page in api.pages(call) for pull in page]
        numbers = (pull_with_head(pull, run) for pull in pulls)
        return tuple(number for number in numbers if number is not None)

    async def _ours(self, api: Api, pull_request: int, like: Marker) -> tuple[PostedComment, ...]:
        call = Call(method="GET", path=self._path_to(pull_request))
        marked: list[tuple[Any, Marker]] = []
        async for page in api.pages(call):
            for comment in page:
                marker = marker_in(comment)
                if marker is not None and marker.has_gate_of(like):
                    marked.append((comment, marker))
        if not marked:
            return ()
        login = self._login = self._login or await own_login(api)
        own = [
            posted_as(comment, marker, self._token)
            for comment, marker in marked
            if is_by(login, comment)
        ]
        return tuple(sorted(own, key=lambda comment: comment.id))

    async def _created(
        self, api: Api, pull_request: int, body: str, marker: Marker
    ) -> PostedComment:
        call = Call(method="POST", path=self._path_to(pull_request), body={"body": body})
        may_be_posted = False

        async def attempt() -> PostedComment:
            nonlocal may_be_posted
            if may_be_posted:
                for comment in await self._ours(api, pull_request, marker):
                    if comment.marker == marker:
                        return comment
            try:
                return self._posted(await api.read_once(call), marker)
            except HttpFailure as error:
                may_be_posted = may_be_posted or error.may_have_taken_effect
                raise

        return await api.until_done(attempt)

    def _posted(self, comment: Any, marker: Marker) -> PostedComment:
        """Return the posted comment, and remember its author."""
        try:
            posted, login = posted_as(comment, marker, self._token), author_of(comment)
        except FieldMissing as error:
            raise HttpFailure(
                f"GitHub: the answer is not a comment: {error}",
                remedy=AGAIN,
                transient=True,
                may_have_taken_effect=True,
            ) from error
        self._login = login
        return posted

    def _path_to(self, pull_request: int) -> str:
        return f"{self._path}/issues/{pull_request}/comments"

    def _path_of(self, comment: PostedComment) -> str:
        return f"{self._path}/issues/comments/{comment.id}"

    def _run(
        self,
        work: Callable[[Api], Awaitable[_Result]],
        *,
        if_gone: type[PublishFailed] = PublishFailed,
    ) -> _Result:
        async def opened() -> _Result:
            async with open_api(
                self._url, self._token, self._runtime, deadline=self._deadline
            ) as api:
                return await work(api)

        try:
            return asyncio.run(opened())
        except HttpFailure as error:
            failure = if_gone if error.status in _GONE else PublishFailed
            raise failure(error.reason, remedy=error.remedy or None) from error
        except FieldMissing as error:
            raise PublishFailed(f"GitHub: the answer is not as expected: {error}") from error


def _marker_of(body: str) -> Marker:
    marker = marker_of(body)
    if marker is None:
        raise ValueError("our comments start with their marker")
    return marker
