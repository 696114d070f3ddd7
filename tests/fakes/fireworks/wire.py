"""Responses: JSON, errors in the format of either API, and truncated ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.fakes.fireworks.conduct import Dialect


def json_response(body: Any, *, headers: Mapping[str, str], status: int = 200) -> Response:
    """Return a JSON response; NaN and infinity are written as many servers do."""
    content = json.dumps(body, separators=(",", ":"))
    return raw_response(content.encode(), headers=headers, status=status)


def raw_response(body: bytes, *, headers: Mapping[str, str], status: int) -> Response:
    """Return bytes, with the content type JSON unless the headers have another one."""
    return Response(body, status, {"content-type": "application/json", **headers})


def error_body(
    status: int, message: str, *, dialect: Dialect, param: str | None = None
) -> dict[str, Any]:
    """Return the body of an error."""
    is_invalid = status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
    kind = "invalid_request_error" if is_invalid else "error"
    code = kind if is_invalid else HTTPStatus(status).name
    error = {"object": "error", "type": kind, "code": code, "message": message, "param": param}
    if dialect is Dialect.GENERIC:
        del error["object"]
    elif param is None:
        del error["param"]
    return {"error": error}


@dataclass(frozen=True, slots=True)
class CutResponse:
    """A response that is truncated."""

    whole: Response
    after: int
    """Bytes of the body that are sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the first part; uvicorn then notices the missing rest, and closes the connection."""
        del scope, receive
        headers = self.whole.raw_headers
        status = self.whole.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        beginning = bytes(self.whole.body)[: self.after]
        await send({"type": "http.response.body", "body": beginning, "more_body": True})
