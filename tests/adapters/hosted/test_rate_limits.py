"""The rate limits that a provider reports are kept, and a pause is for all of its calls."""

from collections.abc import Iterator, Mapping

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import MissedDraw
from repro_gate.core.logprobs.policy import Budget
from tests.fakes.hosted import (
    FakeTime,
    document_of,
    draws_by,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
)


class Limited:
    """An API that reports its limits, and records when it was called."""

    def __init__(self, time: FakeTime, *headers: Mapping[str, str], status: int = 200) -> None:
        self._time = time
        self._headers: Iterator[Mapping[str, str]] = iter(headers)
        self._status = status
        self.called_at: list[float] = []

    def __call__(self, _: httpx.Request) -> httpx.Response:
        """Answer with the next headers, later without any."""
        self.called_at.append(round(self._time.seconds, 6))
        headers = next(self._headers, {})
        status, self._status = self._status, 200
        return json_response(
            document_of(), status=status, **{name: str(value) for name, value in headers.items()}
        )


def _called_at(
    *headers: Mapping[str, str], draws: int = 4, concurrency: int = 1, status: int = 200
) -> list[float]:
    """Return when each call was made, as early as it was allowed."""
    time = FakeTime()
    api = Limited(time, *headers, status=status)
    cell = logprob_cell_of(provider_of(concurrency=concurrency))
    scorer = HostedScorer(Budget(), runtime=runtime_of(api, time=time))
    draws_by(scorer, [request_of(cell, number=number) for number in range(1, draws + 1)])
    scorer.close()
    return api.called_at


def test_without_a_limit_no_call_waits() -> None:
    """A provider that reports none is called at once."""
    assert _called_at() == [0, 0, 0, 0]


def test_requests_are_spread_over_the_minute() -> None:
    """When none is left, the next call is made as soon as it is allowed."""
    headers = {"x_ratelimit_limit_requests": "30", "x_ratelimit_remaining_requests": "0"}

    assert _called_at(headers) == [0, 2, 4, 6]


def test_the_remaining_requests_may_be_used_at_once() -> None:
    """A distant limit is no reason to wait."""
    headers = {"x_ratelimit_limit_requests": "30", "x_ratelimit_remaining_requests": "2"}

    assert _called_at(headers) == [0, 0, 0, 2]


def test_the_server_s_count_wins_when_it_is_higher() -> None:
    """Other clients may use the same account."""
    first = {"x_ratelimit_limit_requests": "60", "x_ratelimit_remaining_requests": "50"}
    second = {"x_ratelimit_remaining_requests": "0"}

    assert _called_at(first, second) == [0, 0, 1, 2]


def test_over_the_limit_is_none_left() -> None:
    """Without a known limit, one request per second is made."""
    assert _called_at({"x_ratelimit_over_limit": "yes"}) == [0, 1, 2, 3]
    assert _called_at({"x_ratelimit_over_limit": "no"}) == [0, 0, 0, 0]


def test_prompt_tokens_are_limited() -> None:
    """A draw of 6 tokens takes 6 of the 12 per minute."""
    headers = {"x_ratelimit_limit_tokens_prompt": "12"}

    assert _called_at(headers, draws=5) == [0, 0, 0, 30, 60]


def test_a_draw_beyond_the_limit_goes_alone() -> None:
    """It would wait for ever; it is made when a full minute was idle."""
    headers = {"x_ratelimit_limit_tokens_prompt": "3"}

    assert _called_at(headers) == [0, 0, 120, 240]


def test_only_requested_tokens_count_as_generated() -> None:
    """A draw without any is not delayed by their limit."""
    assert _called_at({"x_ratelimit_limit_tokens_generated": "1"}) == [0, 0, 0, 0]


@pytest.mark.parametrize("headers", ["", "many", "-1", "0", "1.5", "9" * 40])
def test_an_invalid_limit_is_ignored(headers: str) -> None:
    """Nonsense is no reason to wait."""
    assert _called_at({"x_ratelimit_limit_requests": headers}) == [0, 0, 0, 0]


def test_all_calls_wait_when_one_is_asked_to() -> None:
    """A server that turns one call away for a while means all of them."""
    headers = {"retry_after": "10"}

    assert _called_at(headers, status=429, concurrency=2) == [0, 10, 10, 10, 10]


def test_a_wait_beyond_the_deadline_is_not_started() -> None:
    """The draw is missing at once."""
    time = FakeTime()
    api = Limited(time, {"x_ratelimit_limit_requests": "1", "x_ratelimit_remaining_requests": "0"})
    cell = logprob_cell_of(provider_of(concurrency=1, deadline_s=50))
    scorer = HostedScorer(Budget(), runtime=runtime_of(api, time=time))

    results = draws_by(scorer, [request_of(cell, number=1), request_of(cell, number=2)])
    scorer.close()

    assert results[1][1] == MissedDraw(
        reason="waiting 60 s would exceed the deadline of 50 s for all calls",
        remedy="raise deadline_s of the provider, or ask for fewer draws",
    )
    assert time.slept == []
