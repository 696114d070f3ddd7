"""The scorer as a whole: facts, concurrency, and how it ends."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from repro_gate.adapters.hosted.boundaries import without_ids
from repro_gate.adapters.hosted.scorer import HostedScorer, spread
from repro_gate.core.logprobs.draw import Draw, DrawFacts, DrawOutcome, Encoding, MissedDraw, Piece
from repro_gate.core.logprobs.policy import Budget, LogprobCell
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import DrawRequest, Scorer
from tests.fakes.hosted import (
    ENCODING,
    LOGPROBS,
    MODEL,
    PROMPT,
    RESPONSE,
    Counted,
    FakeTime,
    content_of,
    document_of,
    draw_with,
    draws_by,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
    well_answered,
)
from tests.fakes.rude_server import Wait, http, rude_server


def _encoded(_: httpx.Request) -> httpx.Response:
    return json_response(document_of(content_of((*PROMPT, *RESPONSE), [-1.0] * 6)))


def test_a_draw_has_the_facts_of_its_call() -> None:
    """Time, model, request id, latency, attempts and the useful headers."""
    time = FakeTime()

    def answer(_: httpx.Request) -> httpx.Response:
        time.seconds += 0.25
        return json_response(
            document_of(),
            x_request_id="req-7",
            cf_ray="ray",
            fireworks_cached_prompt_tokens="4",
            fireworks_backend_host="host-3\x1b",
            x_ratelimit_limit_tokens_prompt="60000",
            server="ignored",
        )

    assert draw_with(None, runtime=runtime_of(answer, time=time)) == Draw(
        logprobs=LOGPROBS,
        facts=DrawFacts(
            at="2030-01-01T00:00:00.250+00:00",
            model=MODEL,
            request_id="req-7",
            latency_s=0.25,
            attempts=1,
            headers={
                "fireworks-cached-prompt-tokens": "4",
                "fireworks-backend-host": "host-3\\x1b",
                "x-ratelimit-limit-tokens-prompt": "60000",
                "usage.prompt_tokens": "6",
            },
        ),
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"x_fireworks_request_id": "f", "cf_ray": "r"}, "f"), ({"cf_ray": "r" * 999}, "r" * 200)],
)
def test_a_call_has_several_ids(headers: dict[str, Any], expected: str) -> None:
    """The server's best one is kept, up to a length."""
    drawn = draw_with(lambda _: json_response(document_of(), **headers))

    assert isinstance(drawn, Draw)
    assert drawn.facts.request_id.startswith(expected)
    assert len(drawn.facts.request_id) <= 203


def test_a_call_without_a_server_id_keeps_ours() -> None:
    """It may be in the server's logs."""
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["x-request-id"])
        return json_response(document_of())

    drawn = draw_with(answer)

    assert isinstance(drawn, Draw)
    assert [drawn.facts.request_id] == sent


def test_provenance_grows_with_the_answers() -> None:
    """The backends are known afterwards; the place of the model is known before."""
    hosts = iter(["b", "a", "b", *map(str, range(100))])

    def answer(_: httpx.Request) -> httpx.Response:
        return json_response(document_of(), fireworks_backend_host=next(hosts))

    scorer: Scorer = HostedScorer(Budget(), runtime=runtime_of(answer))
    policy = logprob_cell_of().policy
    place = {"provider": "fireworks", "provider.host": "api.test"}
    before = scorer.facts(policy)
    scorer.draw([request_of(number=n) for n in (1, 2, 3)], seen=lambda *_: None)
    after = scorer.facts(policy)
    scorer.draw([request_of(number=n) for n in range(1, 101)], seen=lambda *_: None)
    scorer.close()

    assert scorer.source(policy) == "test-host"
    assert before == place
    assert after == {**place, "model.answered": MODEL, "provider.backends": "a, b"}
    assert len(scorer.facts(policy)["provider.backends"].split(", ")) == 16


def test_without_a_key_there_is_no_source() -> None:
    """Without a key nothing can be measured or recorded; the remedy names the variable."""
    scorer = HostedScorer(Budget(), runtime=runtime_of(well_answered, environ={}))

    with pytest.raises(MeasurementUnavailable) as caught:
        scorer.source(logprob_cell_of().policy)

    assert caught.value.reason == "TEST_API_KEY is not set"
    assert caught.value.remedy == "set TEST_API_KEY to a key of test-host"


def test_cells_of_one_text_are_encoded_once() -> None:
    """A policy at another temperature has the same tokens; the order is that of the cells."""
    cell = logprob_cell_of()
    cooler = replace(cell, policy=replace(cell.policy, name="cool", temperature=0.0))
    other = logprob_cell_of(item="other", prompt="ho")
    api = Counted(_encoded)
    scorer = HostedScorer(Budget(), runtime=runtime_of(api))

    found = scorer.encode([cell, other, cooler])
    scorer.close()

    assert [found[0], found[2]] == [ENCODING, ENCODING]
    assert found[1] != ENCODING
    assert api.calls == 2


def test_an_empty_request_sends_nothing() -> None:
    """Its result is empty."""
    api = Counted(well_answered)
    scorer = HostedScorer(Budget(), runtime=runtime_of(api))

    assert scorer.encode([]) == []
    assert draws_by(scorer, []) == []
    scorer.close()
    scorer.close()

    assert api.calls == 0


class Crowd:
    """An API that counts its calls, and the concurrent ones."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.calls = 0

    async def __call__(self, _: httpx.Request) -> httpx.Response:
        """Answer after other calls had a chance to run."""
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        return json_response(document_of())


@pytest.mark.parametrize("concurrency", [1, 5])
def test_concurrency_is_limited_per_provider(concurrency: int) -> None:
    """As many calls as are allowed are made at once."""
    crowd = Crowd()
    cell = logprob_cell_of(provider_of(concurrency=concurrency))
    scorer = HostedScorer(Budget(), runtime=runtime_of(crowd))

    results = draws_by(scorer, [request_of(cell, number=number) for number in range(1, 21)])
    scorer.close()

    assert crowd.most == concurrency
    assert sorted(request.number for request, _ in results) == list(range(1, 21))


def test_each_provider_has_its_own_limit() -> None:
    """A slow provider does not delay another."""
    crowd = Crowd()
    cells = [logprob_cell_of(provider_of(name=name, concurrency=3)) for name in ("one", "two")]
    scorer = HostedScorer(Budget(), runtime=runtime_of(crowd))

    results = draws_by(scorer, [request_of(cell, number=n) for n in range(1, 10) for cell in cells])
    scorer.close()

    assert crowd.most == 6
    assert len(results) == 18


def test_ten_thousand_tasks_run_a_few_at_a_time() -> None:
    """Memory does not grow with the number of draws."""
    made: list[int] = []
    at_once: set[int] = set()
    provider = provider_of(concurrency=16)

    async def make(task: int) -> None:
        made.append(task)
        at_once.add(len(asyncio.all_tasks()))
        if task % 100 == 0:
            await asyncio.sleep(0)

    asyncio.run(spread(range(10_000), make, at=lambda _: provider))

    assert sorted(made) == list(range(10_000))
    assert max(at_once) == 17


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_of_the_callback_ends_the_draws(error: BaseException) -> None:
    """It is raised unchanged, and no call continues."""
    results: list[DrawRequest] = []

    def seen(request: DrawRequest, _: DrawOutcome) -> None:
        results.append(request)
        if len(results) == 3:
            raise error

    crowd = Crowd()
    cell = logprob_cell_of(provider_of(concurrency=2))
    scorer = HostedScorer(Budget(), runtime=runtime_of(crowd))

    with pytest.raises(type(error)) as caught:
        scorer.draw([request_of(cell, number=number) for number in range(1, 51)], seen=seen)
    calls = crowd.calls
    scorer.close()

    assert caught.value is error
    assert calls == crowd.calls < 10


def test_an_interruption_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """It is raised once; asyncio does not print it again for the forgotten task."""
    scorer = HostedScorer(Budget(), runtime=runtime_of(well_answered))

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scorer.draw([request_of()], seen=press)
    gc.collect()

    assert caplog.messages == []


def test_a_scorer_can_be_used_after_close() -> None:
    """The connections are opened again."""
    scorer = HostedScorer(Budget(), runtime=runtime_of(well_answered))

    def fail(*_: object) -> None:
        raise OSError

    with pytest.raises(OSError, match=r"^$"):
        scorer.draw([request_of()], seen=fail)
    results = draws_by(scorer, [request_of()])
    scorer.close()
    again = draws_by(scorer, [request_of()])
    scorer.close()

    assert [type(outcome) for _, outcome in results + again] == [Draw, Draw]


def _interrupted(
    handler: Callable[[int, object], object] | signal.Handlers,
) -> tuple[list[int], type[BaseException] | None]:
    """Return the finished draws and how it ended, with Ctrl-C while the third is waited for."""
    good = (http(document_of()),)
    results: list[int] = []
    ended: type[BaseException] | None = None

    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, handler)
    scorer = HostedScorer(Budget(), runtime=runtime_of())
    try:
        with rude_server(good, good, (press, Wait())) as server:
            cell: LogprobCell = logprob_cell_of(provider_of(server.url, concurrency=1))
            requests = [request_of(cell, number=number) for number in range(1, 6)]
            scorer.draw(requests, seen=lambda request, _: results.append(request.number))
    except BaseException as error:  # noqa: BLE001 -- the test is about it
        ended = type(error)
    finally:
        signal.signal(signal.SIGINT, before)
        scorer.close()
    return results, ended


def _raise(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("handler", [signal.default_int_handler, _raise])
def test_ctrl_c_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, handler: Callable[[int, object], object]
) -> None:
    """Finished draws are reported, the interruption is raised, and no more calls are made."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    assert _interrupted(handler) == ([1, 2], KeyboardInterrupt)


def test_http2_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra; without it the draws have the command to install it."""
    monkeypatch.setitem(sys.modules, "h2", None)
    cell = logprob_cell_of(provider_of(http2=True))

    assert draw_with(None, request_of(cell), runtime=runtime_of()) == MissedDraw(
        reason="test-host: HTTP/2 needs a package that is not installed",
        remedy="pip install 'repro-gate[http2]', or set http2 to false",
    )


def test_a_fingerprint_is_kept_with_the_draw_and_in_the_provenance() -> None:
    """A server's configuration id explains many a drift."""
    prints = iter(["fp_b", "fp_a\x1b[2J", 7, ""])

    def answer(_: httpx.Request) -> httpx.Response:
        return json_response(document_of(system_fingerprint=next(prints)))

    scorer = HostedScorer(Budget(), runtime=runtime_of(answer))
    results = draws_by(scorer, [request_of(number=n) for n in (1, 2, 3, 4)])
    scorer.close()

    kept = [draw.facts.fingerprint for _, draw in results if isinstance(draw, Draw)]
    assert kept == ["fp_b", "fp_a\\x1b[2J", "", ""]
    facts = scorer.facts(logprob_cell_of().policy)
    assert facts["provider.fingerprint"] == "fp_a\\x1b[2J, fp_b"


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("http://127.0.0.1:28101/v1", "127.0.0.1"),
        ("http://localhost:8000/v1", "localhost"),
        ("http://[::1]:8000/v1", "[::1]"),
        ("http://[::1]/v1", "[::1]"),
        ("https://api.test:8443/v1", "api.test:8443"),
        ("https://api.test/v1", "api.test"),
    ],
)
def test_the_port_of_a_local_server_is_not_provenance(base_url: str, host: str) -> None:
    """It changes each time; the port of any other server is part of its address."""
    scorer = HostedScorer(Budget(), runtime=runtime_of())

    assert scorer.facts(logprob_cell_of(provider_of(base_url)).policy)["provider.host"] == host


@pytest.mark.parametrize(
    ("prompt", "prefix", "is_noted"),
    [
        ((Piece(1, b"<s>"), Piece(1, b"<s>"), Piece(12, b":")), "<s>:", True),
        ((Piece(1, b""), Piece(1, b""), Piece(12, b":")), "<s>:", True),
        ((Piece(None, b"<s>"), Piece(None, b"<s>"), Piece(None, b":")), "<s>:", True),
        ((Piece(1, b"<s>"), Piece(12, b":")), "<s>:", False),
        ((Piece(5, b"a"), Piece(5, b"a"), Piece(12, b":")), "aa:", False),
        ((Piece(1, b"<s>"), Piece(5, b"a"), Piece(5, b"a")), "aa", False),
        ((Piece(1, b"<s>"),), "", False),
    ],
)
def test_a_doubled_bos_token_is_noted(
    prompt: tuple[Piece, ...], prefix: str, *, is_noted: bool
) -> None:
    """A template that repeats what the server adds gets a note, and does not fail."""
    encoding = Encoding(prompt=prompt, response=RESPONSE)
    if not encoding.has_ids:
        encoding = without_ids(encoding)
    cell = logprob_cell_of(template="{prompt}", prompt=prefix)
    pieces = (*encoding.prompt, *encoding.response)

    def answer(_: httpx.Request) -> httpx.Response:
        rows = content_of(pieces, [-1.0 - place for place in range(len(pieces))])
        return json_response(document_of(rows, usage=None))

    scorer = HostedScorer(Budget(), runtime=runtime_of(answer))
    requests = [request_of(cell, number=n, encoding=encoding) for n in (1, 2)]
    outcomes = draws_by(scorer, requests)
    scorer.close()

    noted = Note(
        about="base",
        message=f"the server adds {prompt[0]} before a prompt that starts with it already",
        origin=NoteOrigin.SERVER,
    )
    assert all(isinstance(outcome, Draw) for _, outcome in outcomes)
    assert scorer.notes() == ((noted,) if is_noted else ())
