"""Who we are to GitHub, so that nobody else's comment is ever taken for ours."""

from http import HTTPStatus
from typing import Any

from repro_gate.adapters.github.api import Api, Call
from repro_gate.adapters.github.fields import FieldMissing, field_at, text_at
from repro_gate.adapters.http.retry import HttpFailure
from repro_gate.errors import PublishFailed

_ACTIONS = "github-actions[bot]"
_BOT = "[bot]"
_VIEWER = Call(method="POST", path="/graphql", body={"query": "query { viewer { login } }"})
_NOT_FOR_US = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


async def own_login(api: Api) -> str:
    """Return the login that our comments have as their author; raises `PublishFailed`.

    `GET /user` knows the owner of a personal token. The token of an app, such as the one of a
    job, is no user and gets a 403; GraphQL, which the description of the REST API does not
    cover, calls its bot the viewer. A server that refuses that too is one where we are taken
    for `github-actions[bot]`, as the token of a job is everywhere.
    """
    try:
        return _login(await api.read(Call(method="GET", path="/user")), "login")
    except HttpFailure as error:
        if error.status not in _NOT_FOR_US:
            raise
    try:
        document = await api.read(_VIEWER)
    except HttpFailure as error:
        if error.status is None:
            raise
        return _ACTIONS
    # GraphQL refuses with a success that has errors in place of data.
    if field_at(document, "data", "viewer") is None and field_at(document, "errors"):
        return _ACTIONS
    return _login(document, "data", "viewer", "login")


def is_by(login: str, comment: Any) -> bool:
    """Tell whether a comment has this author.

    Only GitHub can give out a login that ends with `[bot]`, so that no person can have that of an
    app; where an app is named as well, it has to be the one of the bot.
    """
    author = field_at(comment, "user", "login")
    if not isinstance(author, str) or author.lower() != login.lower():
        return False
    if not login.endswith(_BOT):
        return True
    app = field_at(comment, "performed_via_github_app", "slug")
    is_bot = field_at(comment, "user", "type") == "Bot"
    return is_bot and (app is None or f"{app}{_BOT}".lower() == login.lower())


def _login(document: Any, *names: str) -> str:
    try:
        return text_at(document, *names)
    except FieldMissing as error:
        raise PublishFailed(f"GitHub does not say who we are: {error}") from error
