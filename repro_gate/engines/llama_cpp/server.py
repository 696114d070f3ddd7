"""Reads a request line, writes an answer line, until there are no more requests."""

import json
import sys
import traceback
from collections.abc import Callable
from typing import BinaryIO, NoReturn, TypeAlias

from repro_gate.protocol import (
    MAX_LINE_BYTES,
    PROTOCOL,
    Json,
    Method,
    Refusal,
    RequestRefused,
    bad_request,
    refusal,
    result,
)
from repro_gate.strict_json import InvalidJson, choice, exact_table, integer, table

Handler: TypeAlias = Callable[[Method, Json], Json]
"""Answers one request, or raises `RequestRefused`."""


def serve(requests: BinaryIO, answers: BinaryIO, handle: Handler) -> None:
    """Answer every request in turn; return when there are no more, or nobody reads the answers."""
    while line := requests.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            _skip_line(requests, line)
            answer: Json = refusal(
                None, Refusal.BAD_REQUEST, f"a request is a line of at most {MAX_LINE_BYTES} bytes"
            )
        else:
            answer = _answer(line, handle)
        try:
            answers.write(_encoded(answer))
            answers.flush()
        except BrokenPipeError:
            return


def _skip_line(requests: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = requests.readline(MAX_LINE_BYTES)


def _answer(line: bytes, handle: Handler) -> Json:
    number: int | None = None
    try:
        message = _message(line)
        number = integer(message.get("id"), "id")
        method, params = _call(message)
        return result(number, handle(method, params))
    except RequestRefused as refused:
        return refusal(number, refused.kind, refused.message)
    except InvalidJson as error:
        return refusal(number, Refusal.BAD_REQUEST, str(error))
    except Exception as error:  # noqa: BLE001 -- whatever went wrong, the gate is owed an answer
        traceback.print_exc(file=sys.stderr)
        return refusal(number, Refusal.INTERNAL, f"{type(error).__name__}: {error}")


def _encoded(answer: Json) -> bytes:
    line = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) <= MAX_LINE_BYTES:
        return line
    message = f"the answer has {len(line)} bytes, a line at most {MAX_LINE_BYTES}"
    return _encoded(refusal(answer["id"], Refusal.INTERNAL, message))


def _message(line: bytes) -> Json:
    try:
        message: object = json.loads(line, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"a request is a line of JSON: {error}") from error
    return table(message, "request")


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _call(message: Json) -> tuple[Method, Json]:
    exact_table(message, "request", keys=("protocol", "id", "method", "params"))
    choice(message["protocol"], "protocol", (PROTOCOL,))
    method = Method(choice(message["method"], "method", tuple(Method)))
    return method, table(message["params"], "params")
