"""What any engine in Python needs: the protocol served over stdin and stdout, and typed errors.

An engine is a subclass of `Engine`, and its program is `sys.exit(run(MyEngine))`.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import BinaryIO, NoReturn, assert_never

from repro_gate.engines.requests import (
    DescribeRequest,
    GenerateRequest,
    LoadRequest,
    ScoreRequest,
)
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

_PR_SET_PDEATHSIG = 1


class Engine(ABC):
    """An inference engine with at most one model loaded.

    Each method returns the `result` of its answer as JSON data, or raises `RequestRefused`. Any
    other exception becomes an error of kind `internal`, and the engine stays in service.
    """

    @abstractmethod
    def describe(self, request: DescribeRequest) -> Json:
        """Return the name of the engine, the profile of the device, and facts."""

    @abstractmethod
    def load(self, request: LoadRequest) -> Json:
        """Load a model; the one before it is forgotten, even when this one is refused."""

    @abstractmethod
    def generate(self, request: GenerateRequest) -> Json:
        """Run one cell, cold: nothing of an earlier request may change its tokens."""

    def score(self, request: ScoreRequest) -> Json:
        """Return the log-probabilities of a response; only suites of log-probabilities ask."""
        del request
        raise bad_request("this engine does not score responses")

    def close(self) -> None:  # noqa: B027 -- most engines have nothing to free
        """Free what is loaded; called after the last request."""


def run(start: Callable[[], Engine]) -> int:
    """Serve the protocol until stdin ends, and return the exit code.

    Args:
        start: makes the engine, before the first request. If it raises, it is called again at
            each request, so that the failure becomes the answer.
    """
    answers = claim_stdout()
    # Ctrl-C at the terminal reaches every process, and the gate decides which of them ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_the_gate()
    engine = cache(start)
    # At once, because an engine is often started before its first request.
    with suppress(Exception):
        engine()
    _serve(sys.stdin.buffer, answers, engine)
    if engine.cache_info().currsize:
        engine().close()
    return 0


def claim_stdout() -> BinaryIO:
    """Return stdout as a private stream, and point the public one at stderr.

    Native code may print to file descriptor 1, and none of it may reach the protocol.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb")


def _die_with_the_gate() -> None:
    # A decode that runs for minutes would not notice the end of stdin. The kernel counts the end
    # of the thread that started this process as the end of the parent.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _serve(requests: BinaryIO, answers: BinaryIO, engine: Callable[[], Engine]) -> None:
    """Answer every request in turn, until there are no more or the answers are not read."""
    while line := requests.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            _skip_line(requests, line)
            answer: Json = refusal(
                None, Refusal.BAD_REQUEST, f"a request is a line of at most {MAX_LINE_BYTES} bytes"
            )
        else:
            answer = _answer(line, engine)
        try:
            answers.write(_encoded(answer))
            answers.flush()
        except BrokenPipeError:
            return


def _skip_line(requests: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = requests.readline(MAX_LINE_BYTES)


def _answer(line: bytes, engine: Callable[[], Engine]) -> Json:
    number: int | None = None
    try:
        message = _message(line)
        number = integer(message.get("id"), "id")
        method, params = _call(message)
        return result(number, _result(engine(), method, params))
    except RequestRefused as refused:
        return refusal(number, refused.kind, refused.message)
    except InvalidJson as error:
        return refusal(number, Refusal.BAD_REQUEST, str(error))
    except Exception as error:  # noqa: BLE001 -- the gate needs an answer in any case
        traceback.print_exc(file=sys.stderr)
        return refusal(number, Refusal.INTERNAL, f"{type(error).__name__}: {error}")


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


def _result(engine: Engine, method: Method, params: Json) -> Json:
    match method:
        case Method.DESCRIBE:
            return engine.describe(DescribeRequest.parse(params))
        case Method.LOAD:
            return engine.load(LoadRequest.parse(params))
        case Method.GENERATE:
            return engine.generate(GenerateRequest.parse(params))
        case Method.SCORE:
            return engine.score(ScoreRequest.parse(params))
        case _:
            assert_never(method)


def _encoded(answer: Json) -> bytes:
    line = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) <= MAX_LINE_BYTES:
        return line
    message = f"the answer has {len(line)} bytes, a line at most {MAX_LINE_BYTES}"
    return _encoded(refusal(answer["id"], Refusal.INTERNAL, message))
