"""One repository on GitHub, asked with one token, and which posts in it are ours."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

from repro_gate.adapters.github.api import Api, Call, open_api
from repro_gate.adapters.github.failures import AGAIN
from repro_gate.adapters.github.payload import FieldMissing, author_of, text_at
from repro_gate.adapters.http.client import url_for_secrets
from repro_gate.adapters.http.retry import Deadline, HttpFailure, Runtime
from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import PublishFailed
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


class Repository:
    """Posts of one repository: pull requests, issues and comments.

    A post is ours when it starts with a marker and its author is the account of our token. The
    account is requested only when it is needed, and only once; it is also known from the first
    post that we make.
    """

    def __init__(
        self,
        api_url: str,
        name: str,
        token: Secret,
        *,
        runtime: Runtime | None = None,
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        """Prepare the calls; nothing is sent yet.

        Args:
            api_url: the address of the API, with a path for an Enterprise Server.
            name: `owner/name`.
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
        if not _REPOSITORY.fullmatch(name):
            raise PublishFailed("GITHUB_REPOSITORY does not name a repository as owner/name")
        self._runtime = runtime or Runtime()
        try:
            self._url = url_for_secrets(api_url)
        except ValueError as error:
            raise PublishFailed(
                f"the address of the API {error}", remedy="check GITHUB_API_URL"
            ) from error
        self.token = token
        self.path = f"/repos/{name}"
        self._deadline = Deadline(deadline_s, self._runtime.clock, remedy=AGAIN)
        self._login: str | None = None

    def run(
        self,
        work: Callable[[Api], Awaitable[_Result]],
        *,
        if_gone: type[PublishFailed] = PublishFailed,
    ) -> _Result:
        """Return what some calls return; raises `PublishFailed`, or `if_gone` for what is gone."""

        async def opened() -> _Result:
            async with open_api(
                self._url, self.token, self._runtime, deadline=self._deadline
            ) as api:
                return await work(api)

        try:
            return asyncio.run(opened())
        except HttpFailure as error:
            failure = if_gone if error.status in _GONE else PublishFailed
            raise failure(error.reason, remedy=error.remedy or None) from error
        except FieldMissing as error:
            raise PublishFailed(f"GitHub: the answer is not as expected: {error}") from error

    async def login(self, api: Api) -> str:
        """Return the login that is the author of our posts."""
        self._login = self._login or await own_login(api)
        return self._login

    async def post_once(
        self,
        api: Api,
        call: Call,
        read: Callable[[Any], _Result],
        find: Callable[[], Awaitable[_Result | None]],
    ) -> _Result:
        """Make a post; if the answer is lost, look for the post before making it again.

        Args:
            api: the server.
            call: makes the post.
            read: returns the post in an answer; raises `FieldMissing`.
            find: returns the post if it has been made.
        """
        may_be_posted = False

        async def attempt() -> _Result:
            nonlocal may_be_posted
            found = await find() if may_be_posted else None
            if found is not None:
                return found
            try:
                return self._posted(await api.read_once(call), read)
            except HttpFailure as error:
                may_be_posted = may_be_posted or error.may_have_taken_effect
                raise

        return await api.until_done(attempt)

    def _posted(self, answer: Any, read: Callable[[Any], _Result]) -> _Result:
        """Return the post of an answer, and remember its author."""
        try:
            posted, login = read(answer), author_of(answer)
        except FieldMissing as error:
            raise HttpFailure(
                f"GitHub: the answer is not a comment: {error}",
                remedy=AGAIN,
                transient=True,
                may_have_taken_effect=True,
            ) from error
        self._login = login
        return posted


async def items_of(api: Api, call: Call) -> AsyncIterator[Any]:
    """Give the items of all pages of a list."""
    async for page in api.pages(call):
        for item in page:
            yield item
