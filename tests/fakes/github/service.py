"""The service without its socket: the answer to each request."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from tests.fakes.fireworks.wire import CutResponse, raw_response
from tests.fakes.github.shapes import Shapes
from tests.fakes.github.world import (
    PEOPLE,
    Account,
    Asked,
    Comment,
    Fault,
    Issue,
    Pull,
    Run,
    Token,
    World,
)

_MAX_BODY = 65_536
_MAX_PER_PAGE = 100
_NEEDED = {"x-accepted-github-permissions": "issues=write; pull_requests=write"}
_NEEDED_FOR_ISSUES = {"x-accepted-github-permissions": "issues=write"}
_MAX_TITLE = 256
_DOCUMENTATION = "https://docs.github.com/rest"


class ApiError(Exception):
    """The request is answered with an error."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body = {
            "message": message,
            **more,
            "documentation_url": _DOCUMENTATION,
            "status": str(status),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Service:
    """Answers requests for one world."""

    def __init__(self, world: World, *, api_url: str, server_url: str) -> None:
        self._world = world
        self._api_url = api_url
        self._shapes = Shapes(api_url=api_url, server_url=server_url, repository=world.repository)

    async def respond(self, request: Request, path: str) -> ASGIApp:
        """Return the response to a request; `path` is relative to the API."""
        asked, token = self._noted(request, await request.body(), path)
        fault = self._world.fault_for(asked.method, path)
        if fault is None:
            return self._answered(asked, token)
        response = (
            self._answered(asked, token) if fault.is_done or fault.status is None else Response()
        )
        await asyncio.sleep(fault.delay_s)
        return _struck(response, fault)

    def _noted(self, request: Request, data: bytes, path: str) -> tuple[Asked, Token | None]:
        borne = request.headers.get("authorization", "").removeprefix("Bearer ")
        token = self._world.tokens.get(borne)
        try:
            body: Any = json.loads(data)
        except ValueError:
            body = None
        asked = Asked(
            method=request.method,
            path=path,
            query=dict(request.query_params),
            headers={k: v for k, v in request.headers.items() if k != "authorization"},
            by=None if token is None else token.account.login,
            body=body,
        )
        with self._world.lock:
            self._world.asked.append(asked)
        return asked, token

    def _answered(self, asked: Asked, token: Token | None) -> Response:
        try:
            with self._world.lock:
                answer = self._answer(asked, token)
        except ApiError as error:
            answer = _Answer(body=error.body, status=error.status, headers=error.headers)
        content = b"" if answer.body is None else json.dumps(answer.body).encode()
        return raw_response(content, headers=answer.headers, status=answer.status)

    def _answer(self, asked: Asked, token: Token | None) -> _Answer:
        if token is None:
            raise ApiError(401, "Bad credentials")
        repository = f"/repos/{self._world.repository}".lower()
        in_repository = asked.path[len(repository) :].split("/")[1:]
        match asked.method, asked.path.lower().startswith(f"{repository}/"), in_repository:
            case "GET", False, _ if asked.path == "/user":
                return self._whose(token)
            case "POST", False, _ if asked.path == "/graphql":
                return self._viewer(asked, token)
            case "GET", True, ["pulls" | "collaborators" | "actions", *_]:
                return self._looked_up(asked, in_repository)
            case (("PATCH" | "DELETE"), True, ["issues", "comments", id]):
                return self._changed(asked, id, token)
            case _, True, ["issues", *path]:
                return self._of_issues(asked, path, token)
            case _:
                raise ApiError(404, "Not Found")

    def _looked_up(self, asked: Asked, path: list[str]) -> _Answer:
        match path:
            case ["pulls"]:
                return self._pulls(asked)
            case ["pulls", number] if number.isdecimal():
                return self._pull(int(number))
            case ["collaborators", login, "permission"]:
                return self._permission(login)
            case ["actions", "runs"]:
                return self._runs(asked)
            case ["actions", "runs", id, "artifacts"]:
                return self._artifacts(asked, id)
            case _:
                raise ApiError(404, "Not Found")

    def _of_issues(self, asked: Asked, path: list[str], token: Token) -> _Answer:
        match asked.method, path:
            case "GET", []:
                return self._issues(asked)
            case "POST", []:
                return self._opened(asked, token)
            case "PATCH", [number]:
                return self._edited(asked, number, token)
            case "GET", [number, "comments"]:
                return self._comments(asked, self._talk(number, token))
            case "POST", [number, "comments"]:
                return self._created(asked, self._talk(number, token), token)
            case _:
                raise ApiError(404, "Not Found")

    def _whose(self, token: Token) -> _Answer:
        if token.is_of_installation:
            raise ApiError(403, "Resource not accessible by integration")
        return _Answer(body=self._shapes.private_user(token.account))

    def _viewer(self, asked: Asked, token: Token) -> _Answer:
        query = asked.body.get("query") if isinstance(asked.body, dict) else None
        if not isinstance(query, str) or "viewer" not in query:
            return _Answer(body={"errors": [{"message": "A query attribute must be specified."}]})
        return _Answer(body={"data": {"viewer": {"login": token.account.login}}})

    def _pulls(self, asked: Asked) -> _Answer:
        owner, _, branch = asked.query.get("head", "").partition(":")
        state = asked.query.get("state", "open")
        found = list(self._world.pulls.values())
        if not self._world.ignores_filters:
            found = [pull for pull in found if state == "all" or pull.is_open is (state == "open")]
            # Without a colon GitHub takes no notice of the filter.
            head = (owner.lower(), branch)
            found = [one for one in found if not branch or (one.owner.lower(), one.branch) == head]
        return self._page(asked, [self._shapes.pull(pull) for pull in found])

    def _pull(self, number: int) -> _Answer:
        if number not in self._world.pulls:
            raise ApiError(404, "Not Found")
        return _Answer(body=self._shapes.whole_pull(self._world.pulls[number]))

    def _permission(self, login: str) -> _Answer:
        permission = self._world.permissions.get(login, "read")
        account = next((one for one in PEOPLE if one.login == login), Account(login=login))
        return _Answer(body=self._shapes.permission(account, permission))

    def _runs(self, asked: Asked) -> _Answer:
        found = self._world.runs
        if not self._world.ignores_filters:
            wanted = (asked.query.get("head_sha"), asked.query.get("event"))
            found = [run for run in found if (self._sha_of(run), run.event) == wanted]
        body = [
            self._shapes.run(run, self._world.pulls[run.pull], sha=self._sha_of(run))
            for run in found
        ]
        return _Answer(body={"total_count": len(body), "workflow_runs": body})

    def _sha_of(self, run: Run) -> str:
        return run.sha or self._world.pulls[run.pull].sha

    def _artifacts(self, asked: Asked, id: str) -> _Answer:
        found = [one for one in self._world.artifacts if str(one.run) == id]
        if not self._world.ignores_filters:
            found = [one for one in found if one.name == asked.query.get("name", one.name)]
        body = [self._shapes.artifact(one) for one in found]
        return _Answer(body={"total_count": len(body), "artifacts": body})

    def _issues(self, asked: Asked) -> _Answer:
        state, creator = asked.query.get("state", "open"), asked.query.get("creator")
        self._require_issues()
        # GitHub's list has the pull requests too, and the latest first.
        found = [
            *(self._shapes.issue(issue) for issue in self._world.issues.values()),
            *(self._shapes.pull_as_issue(pull) for pull in self._world.pulls.values()),
        ]
        found = [issue for issue in found if state in {"all", issue["state"]}]
        if creator is not None and not self._world.ignores_filters:
            found = [one for one in found if one["user"]["login"].lower() == creator.lower()]
        return self._page(asked, sorted(found, key=lambda issue: -issue["number"]))

    def _opened(self, asked: Asked, token: Token) -> _Answer:
        self._require_issues()
        self._require_right(token, _NEEDED_FOR_ISSUES)
        title = _title_of(asked)
        body = _body_of(asked, too_long="Body is too long (maximum is 65536 characters)")
        issue = self._world.issue(token.account, title, body)
        return _Answer(body=self._shapes.issue(issue), status=201)

    def _edited(self, asked: Asked, number: str, token: Token) -> _Answer:
        issue = self._world.issues.get(int(number)) if number.isdecimal() else None
        if issue is None:
            raise ApiError(404, "Not Found")
        self._require_right(token, _NEEDED_FOR_ISSUES)
        if "title" in asked.body:
            issue.title = _title_of(asked)
        if "body" in asked.body:
            issue.body = _body_of(asked, too_long="body is too long (maximum is 65536 characters)")
        issue.is_open = asked.body.get("state", "open" if issue.is_open else "closed") == "open"
        return _Answer(body=self._shapes.issue(issue))

    def _require_issues(self) -> None:
        if not self._world.has_issues:
            raise ApiError(410, "Issues has been disabled in this repository.")

    def _talk(self, number: str, token: Token) -> Pull | Issue:
        """Return the pull request or the issue of a number, of which GitHub has one sequence."""
        found: dict[int, Pull | Issue] = {**self._world.pulls, **self._world.issues}
        talk = found.get(int(number)) if number.isdecimal() else None
        if talk is None or not token.can_read:
            raise ApiError(404, "Not Found")
        return talk

    def _comments(self, asked: Asked, pull: Pull | Issue) -> _Answer:
        found = [comment for comment in self._world.comments if comment.pull == pull.number]
        return self._page(asked, [self._shapes.comment(comment) for comment in found])

    def _created(self, asked: Asked, pull: Pull | Issue, token: Token) -> _Answer:
        self._require_right(token)
        if isinstance(pull, Pull) and pull.is_locked:
            raise ApiError(403, "Unable to create comment because issue is locked.")
        body = _body_of(asked, too_long="Body is too long (maximum is 65536 characters)")
        comment = self._world.comment(token.account, body, pull=pull.number)
        return _Answer(body=self._shapes.comment(comment), status=201)

    def _changed(self, asked: Asked, id: str, token: Token) -> _Answer:
        comment = self._comment(id)
        self._require_right(token)
        if asked.method == "DELETE":
            self._world.comments.remove(comment)
            return _Answer(status=204)
        comment.body = _body_of(asked, too_long="body is too long (maximum is 65536 characters)")
        return _Answer(body=self._shapes.comment(comment))

    def _comment(self, id: str) -> Comment:
        for comment in self._world.comments:
            if str(comment.id) == id:
                return comment
        raise ApiError(404, "Not Found")

    def _require_right(self, token: Token, needed: Mapping[str, str] = _NEEDED) -> None:
        if not token.can_write:
            raise ApiError(403, "Resource not accessible by integration", headers=needed)

    def _page(self, asked: Asked, items: list[Any]) -> _Answer:
        size = min(int(asked.query.get("per_page", "30")), _MAX_PER_PAGE)
        page = int(asked.query.get("page", "1"))
        is_last = page * size >= len(items)
        query = urlencode({**asked.query, "page": str(page + 1)})
        link = {"link": f'<{self._api_url}{asked.path}?{query}>; rel="next"'}
        return _Answer(body=items[(page - 1) * size : page * size], headers={} if is_last else link)


def _title_of(asked: Asked) -> str:
    title = asked.body.get("title") if isinstance(asked.body, dict) else None
    errors = {"resource": "Issue", "field": "title"}
    if not isinstance(title, str) or not title.strip():
        raise ApiError(422, "Validation Failed", errors=[{**errors, "code": "missing_field"}])
    if len(title) > _MAX_TITLE:
        message = "title is too long (maximum is 256 characters)"
        errors = {**errors, "code": "custom", "message": message}
        raise ApiError(422, "Validation Failed", errors=[errors])
    return title


def _body_of(asked: Asked, *, too_long: str) -> str:
    body = asked.body.get("body") if isinstance(asked.body, dict) else None
    errors = {"resource": "IssueComment", "field": "body"}
    if not isinstance(body, str) or not body.strip():
        raise ApiError(422, "Validation Failed", errors=[{**errors, "code": "missing_field"}])
    if len(body.encode("utf-16-le", errors="surrogatepass")) // 2 > _MAX_BODY:
        code = "unprocessable" if asked.method == "POST" else "custom"
        errors = {**errors, "code": code, "message": too_long}
        raise ApiError(422, "Validation Failed", errors=[errors])
    return body


def _struck(response: Response, fault: Fault) -> ASGIApp:
    if fault.status is not None:
        response = raw_response(fault.body.encode(), headers=fault.headers, status=fault.status)
    else:
        response.headers.update(fault.headers)
    if fault.cut_after is not None:
        return CutResponse(response, fault.cut_after)
    return response
