"""What any engine in Python needs: the protocol served over stdin and stdout, and typed errors.

An engine is a subclass of `Engine`, and its program is `sys.exit(run(MyEngine))`.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from queue import Queue
from threading import Lock, Thread
from typing import BinaryIO, Final, NoReturn, assert_never

from repro_gate.engines.requests import (
    DescribeRequest,
    GenerateRequest,
    LoadRequest,
    ScoreRequest,
    VerifyRequest,
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
_ORPHAN_POLL_S = 1.0
_SIDE_BY_SIDE: Final = frozenset({Method.GENERATE, Method.SCORE, Method.VERIFY})
"""Requests that may be in flight together; the others wait until nothing is."""


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
        """Load a model; the one before it is forgotten, even when this one is refused.

        If `concurrency` in the result is above 1, that many threads call `generate` and `score`.
        """

    @abstractmethod
    def generate(self, request: GenerateRequest) -> Json:
        """Run one cell, cold: nothing of an earlier request may change its tokens."""

    def score(self, request: ScoreRequest) -> Json:
        """Return the log-probabilities of a response; only suites of log-probabilities ask."""
        del request
        raise bad_request("this engine does not score responses")

    def verify(self, request: VerifyRequest) -> Json:
        """Return what the model holds of tokens that it may have generated, after a drift."""
        del request
        raise bad_request("this engine does not verify tokens")

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
    _Server(answers, engine).serve(sys.stdin.buffer)
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
    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        # Only Linux has it.
        Thread(target=_end_when_orphaned, args=(os.getppid(),), daemon=True).start()
    else:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_when_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_POLL_S)
    os._exit(1)


@dataclass(frozen=True, slots=True)
class _Request:
    number: int
    method: Method
    params: Json


class _Server:
    """Answers requests: one at a time, or as many as the loaded model allows."""

    def __init__(self, answers: BinaryIO, engine: Callable[[], Engine]) -> None:
        self._answers = answers
        self._writing = Lock()
        self._engine = engine
        self._workers: _Workers | None = None
        """None while the main thread answers every request itself."""

    def serve(self, requests: BinaryIO) -> None:
        """Answer every request, until there are no more or the answers are not read."""
        with suppress(BrokenPipeError):
            while line := requests.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    _skip_line(requests, line)
                    reason = f"a request is a line of at most {MAX_LINE_BYTES} bytes"
                    self._write(refusal(None, Refusal.BAD_REQUEST, reason))
                else:
                    self._take(line)
        self._end_workers()

    def _take(self, line: bytes) -> None:
        number: int | None = None
        try:
            message = _message(line)
            number = integer(message.get("id"), "id")
            request = _Request(number, *_call(message))
        except (RequestRefused, InvalidJson) as error:
            self._write(_refusal_of(error, number))
            return
        if self._workers is not None and request.method in _SIDE_BY_SIDE:
            self._workers.put(request)
            return
        if self._workers is not None:
            self._workers.wait()
        if request.method is Method.LOAD:
            self._end_workers()
        self._answer(request)

    def _answer(self, request: _Request) -> None:
        try:
            value = _result(self._engine(), request)
            if request.method is Method.LOAD and value.get("concurrency", 1) > 1:
                self._workers = _Workers(value["concurrency"], self._answer)
            answer: Json = result(request.number, value)
        except Exception as error:  # noqa: BLE001 -- the gate needs an answer in any case
            answer = _refusal_of(error, request.number)
        self._write(answer)

    def _write(self, answer: Json) -> None:
        line = _encoded(answer)
        with self._writing:
            self._answers.write(line)
            self._answers.flush()

    def _end_workers(self) -> None:
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.end()


class _Workers:
    """Threads that answer requests side by side."""

    def __init__(self, count: int, answer: Callable[[_Request], None]) -> None:
        self._count = count
        self._answer = answer
        self._requests: Queue[_Request | None] = Queue()
        self._threads: list[Thread] = []

    def put(self, request: _Request) -> None:
        """Have a request answered as soon as a thread is free."""
        self._requests.put(request)
        # A server may allow a thousand requests, of which few are ever in flight.
        if len(self._threads) < min(self._count, self._requests.unfinished_tasks):
            # A thread that hangs in a driver must not keep the process from ending.
            thread = Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self) -> None:
        """Wait until every request is answered."""
        self._requests.join()

    def end(self) -> None:
        """Answer the requests that are left, and end the threads."""
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._answer(request)
            except BrokenPipeError:
                # The main thread waits for a request, and the other threads compute.
                os._exit(0)
            except BaseException:  # noqa: BLE001 -- a thread would end unnoticed
                traceback.print_exc(file=sys.stderr)
                os._exit(1)
            self._requests.task_done()


def _skip_line(requests: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = requests.readline(MAX_LINE_BYTES)


def _refusal_of(error: Exception, number: int | None) -> Json:
    match error:
        case RequestRefused():
            return refusal(number, error.kind, error.message)
        case InvalidJson():
            return refusal(number, Refusal.BAD_REQUEST, str(error))
        case _:
            traceback.print_exception(error, file=sys.stderr)
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


def _result(engine: Engine, request: _Request) -> Json:
    params = request.params
    match request.method:
        case Method.DESCRIBE:
            return engine.describe(DescribeRequest.parse(params))
        case Method.LOAD:
            return engine.load(LoadRequest.parse(params))
        case Method.GENERATE:
            return engine.generate(GenerateRequest.parse(params))
        case Method.SCORE:
            return engine.score(ScoreRequest.parse(params))
        case Method.VERIFY:
            return engine.verify(VerifyRequest.parse(params))
        case _:
            assert_never(request.method)


def _encoded(answer: Json) -> bytes:
    line = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) <= MAX_LINE_BYTES:
        return line
    message = f"the answer has {len(line)} bytes, a line at most {MAX_LINE_BYTES}"
    return _encoded(refusal(answer["id"], Refusal.INTERNAL, message))
