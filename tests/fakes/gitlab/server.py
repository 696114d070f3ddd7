"""Notes of one merge request behind GitLab's API v4, as its reference describes them."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.loopback import HOST, serving_app

TOKEN = "glpat-0f1e2d3c4b5a69788796a5b4"  # noqa: S105 -- of no service
"""Of a project access token, whose bot has the id 1."""
BOT, OTHER = 1, 2
PROJECT = "31"
MERGE_REQUEST = 7
_NOTES = f"/api/v4/projects/{PROJECT}/merge_requests/{MERGE_REQUEST}/notes"


@dataclass(slots=True, kw_only=True)
class Note:
    """One note."""

    id: int
    body: str
    author: int = BOT

    def document(self) -> dict[str, Any]:
        """Return the note as the API has it."""
        author = {"id": self.author, "username": f"user-{self.author}"}
        return {"id": self.id, "body": self.body, "author": author, "system": False}


@dataclass(slots=True, kw_only=True)
class Gitlab:
    """A project with one merge request."""

    notes: list[Note] = field(default_factory=list[Note])
    fail_with: list[int] = field(default_factory=list[int])
    """The statuses of the next answers, instead of the answers."""
    answer_with: list[bytes] = field(default_factory=list[bytes])
    """The bodies of the next answers, which are successes."""
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    ids: Any = field(default_factory=lambda: count(101))
    port: int = 0

    @property
    def api_url(self) -> str:
        """The address of the API."""
        return f"http://{HOST}:{self.port}/api/v4"

    def add(self, body: str, *, author: int = BOT) -> Note:
        """Add a note of somebody."""
        note = Note(id=next(self.ids), body=body, author=author)
        self.notes.append(note)
        return note

    async def respond(self, request: Request) -> Response:
        """Answer a request."""
        self.asked.append((request.method, request.url.path))
        if self.fail_with or self.answer_with:
            status = self.fail_with.pop(0) if self.fail_with else HTTPStatus.OK
            body = b"{}" if status != HTTPStatus.OK else self.answer_with.pop(0)
            return Response(body, status_code=status, media_type="application/json")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"message": "401 Unauthorized"}, status_code=401)
        if request.url.path == "/api/v4/user":
            return JSONResponse({"id": BOT, "username": "project_31_bot"})
        if request.url.path == _NOTES:
            return await self._of_all(request)
        known = [note for note in self.notes if request.url.path == f"{_NOTES}/{note.id}"]
        if not known or known[0].author != BOT:
            return JSONResponse({"message": "404 Not found"}, status_code=404)
        return await self._of_one(request, known[0])

    async def _of_all(self, request: Request) -> Response:
        if request.method == "POST":
            note = self.add((await request.json())["body"])
            return JSONResponse(note.document(), status_code=201)
        size, page = (int(request.query_params[name]) for name in ("per_page", "page"))
        assert request.query_params["sort"] == "asc"
        shown = self.notes[(page - 1) * size :][:size]
        return JSONResponse([note.document() for note in shown])

    async def _of_one(self, request: Request, note: Note) -> Response:
        if request.method == "DELETE":
            self.notes.remove(note)
            return Response(status_code=204)
        note.body = (await request.json())["body"]
        return JSONResponse(note.document())


@contextmanager
def serving() -> Generator[Gitlab]:
    """Give a GitLab with one merge request."""
    gitlab = Gitlab()
    methods = ["GET", "POST", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", gitlab.respond, methods=methods)])
    with serving_app(app) as port:
        gitlab.port = port
        yield gitlab


def job_variables(gitlab: Gitlab, *, job: str = "5000000001") -> dict[str, str]:
    """Return the variables of a job in a merge request pipeline."""
    server = f"http://{HOST}:{gitlab.port}"
    return {
        "CI": "true",
        "CI_API_V4_URL": gitlab.api_url,
        "CI_COMMIT_REF_NAME": "refs/merge-requests/7/head",
        "CI_COMMIT_SHA": "d" * 40,
        "CI_JOB_ID": job,
        "CI_JOB_NAME": "gate",
        "CI_MERGE_REQUEST_IID": str(MERGE_REQUEST),
        "CI_MERGE_REQUEST_PROJECT_ID": PROJECT,
        "CI_MERGE_REQUEST_PROJECT_URL": f"{server}/group/sub/serving",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": PROJECT,
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_PROJECT_ID": PROJECT,
        "CI_PROJECT_PATH": "group/sub/serving",
        "CI_SERVER_URL": server,
        "GITLAB_CI": "true",
        "GITLAB_TOKEN": TOKEN,
    }
