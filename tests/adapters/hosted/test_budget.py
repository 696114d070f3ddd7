"""The budget of calls, tokens and time; draws beyond it are missing, with the reason."""

import httpx
import pytest

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, MissedDraw
from repro_gate.core.logprobs.policy import Budget
from tests.fakes.hosted import (
    Counted,
    FakeTime,
    Handler,
    draws_by,
    json_response,
    logprob_cell_of,
    provider_of,
    request_of,
    runtime_of,
    well_answered,
)


def _outcomes(
    handler: Handler, budget: Budget, *, draws: int = 3, time: FakeTime | None = None
) -> list[DrawOutcome]:
    cell = logprob_cell_of(provider_of(concurrency=1, deadline_s=100))
    scorer = HostedScorer(budget, runtime=runtime_of(handler, time=time, luck=1.0))
    results = draws_by(scorer, [request_of(cell, number=number + 1) for number in range(draws)])
    scorer.close()
    return [outcome for _, outcome in results]


def _failing(_: httpx.Request) -> httpx.Response:
    return json_response({}, status=503)


def test_calls_beyond_the_budget_are_not_made() -> None:
    """The draws within the budget are made, and the others have the reason."""
    api = Counted(well_answered)
    outcomes = _outcomes(api, Budget(max_calls=2))

    assert list(map(type, outcomes)) == [Draw, Draw, MissedDraw]
    assert outcomes[2] == MissedDraw(
        reason="the budget of 2 calls is used up",
        remedy="raise max_calls of the suite's budget, or ask for fewer draws",
    )
    assert api.calls == 2


def test_tokens_beyond_the_budget_are_not_sent() -> None:
    """A draw that does not fit completely is not made."""
    api = Counted(well_answered)
    outcomes = _outcomes(api, Budget(max_tokens=17))

    assert list(map(type, outcomes)) == [Draw, Draw, MissedDraw]
    assert outcomes[2] == MissedDraw(
        reason="the budget of 17 tokens is used up",
        remedy="raise max_tokens of the suite's budget, or ask for fewer draws",
    )
    assert api.calls == 2


def test_every_attempt_counts() -> None:
    """Retries cannot exceed the budget."""
    api = Counted(_failing)
    outcomes = _outcomes(api, Budget(max_calls=4), draws=1)

    assert [outcome.reason for outcome in outcomes if isinstance(outcome, MissedDraw)] == [
        "the budget of 4 calls is used up"
    ]
    assert api.calls == 4


@pytest.mark.parametrize(
    ("budget", "calls"),
    [(Budget(max_calls=1), 1), (Budget(max_tokens=4), 0), (Budget(max_tokens=5), 1)],
)
def test_an_encoding_counts(budget: Budget, calls: int) -> None:
    """Its tokens are not known yet and are estimated from the length of the text: 5 each."""
    api = Counted(well_answered)
    scorer = HostedScorer(budget, runtime=runtime_of(api))
    cells = [logprob_cell_of(item=name, prompt=name) for name in ("one", "two")]

    scorer.encode(cells)
    scorer.close()

    assert api.calls == calls


def test_draws_after_the_deadline_are_missed() -> None:
    """A wait beyond the deadline is not started, and the reason names the failed attempt."""
    time = FakeTime()

    def slow(_: httpx.Request) -> httpx.Response:
        time.seconds += 60
        return json_response({}, status=503)

    outcomes = _outcomes(slow, Budget(), time=time)

    over = "the deadline of 100 s for all calls has passed"
    remedy = "raise deadline_s of the provider, or ask for fewer draws"
    because = "test-host: status 503 (Service Unavailable): {}; "
    assert outcomes == [
        MissedDraw(reason=because + over, remedy=remedy),
        MissedDraw(reason=over, remedy=remedy),
        MissedDraw(reason=over, remedy=remedy),
    ]
    assert time.slept == [0.5]


def test_the_deadline_starts_with_the_first_call() -> None:
    """A scorer that has to wait before it loses no time."""
    time = FakeTime()
    scorer = HostedScorer(Budget(), runtime=runtime_of(well_answered, time=time))
    time.seconds += 10_000

    results = draws_by(scorer, [request_of()])
    scorer.close()

    assert isinstance(results[0][1], Draw)
