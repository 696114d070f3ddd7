"""An API with faults: each has its verdict, and the budget is never exceeded."""

import math
import time
from typing import Any

import pytest

from repro_gate.core.tokens.generation import Token
from tests.cli.hosted.workspaces import ITEMS, PLANE, TRAIN, HostedWorkspace
from tests.cli.workspaces import PATIENCE_S, Ran, ended
from tests.fakes.fireworks.conduct import KEY, Conduct
from tests.fakes.fireworks.effects import (
    AnswerAs,
    CutOff,
    Edit,
    Effect,
    Fail,
    Misread,
    Put,
    Resize,
    Rule,
    Say,
    on,
)
from tests.fakes.fireworks.server import Api, serving

_RESPONSE = ITEMS["plane"]["response"]


_FAULTS: dict[str, Effect] = {
    "nan": Put(value=math.nan, token=2),
    "infinite": Put(value=-math.inf, token=2),
    "positive": Put(value=0.5, token=2),
    "null": Put(value=None, token=2),
    "absent": Edit(change=lambda body: body["choices"][0].pop("logprobs")),
    "shorter": Resize(by=-1),
    "longer": Resize(by=2),
    "misread": Misread(token=2, becomes=Token(1, b"\x01")),
    "swapped": AnswerAs(model="another"),
    "storm": Fail(status=503),
    "page": Say(body=b"<html>", headers={"content-type": "text/html"}),
    "torn": CutOff(after=40),
    "unknown": Fail(status=404, message="no such model"),
}
_MENDED: dict[str, Effect] = {
    "error": Fail(status=500),
    "limit": Fail(status=429, headers={"retry-after": "0"}),
    "wait": Fail(status=429, headers={"retry-after": "1"}),
}


@pytest.fixture(scope="module")
def struck(
    hosted_once: HostedWorkspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HostedWorkspace, Ran]:
    """Return one check in which every item meets another fault."""
    folder = tmp_path_factory.mktemp("struck")
    workspace = HostedWorkspace(folder=folder, cache=hosted_once.cache, key=KEY)
    items = {
        name: {"prompt": f"<{name}>", "response": _RESPONSE}
        for name in ("fine", *_FAULTS, *_MENDED)
    }
    with serving() as server:
        workspace.ask(server.base_url, items=items, provider={"attempts": 2})
        assert workspace.calibrate().code == 0
        server.follow(
            *(Rule(effect=effect, text=f"<{name}>") for name, effect in _FAULTS.items()),
            *(on(1, effect, text=f"<{name}>") for name, effect in _MENDED.items()),
        )
        return workspace, workspace.check()


def test_findings_beat_what_was_not_measured(struck: tuple[HostedWorkspace, Ran]) -> None:
    """Invalid answers beside inconclusive and agreeing cells are 10, without a traceback."""
    workspace, ran = struck
    counts = workspace.document()["counts"]["logprobs"]

    assert (ran.code, "Traceback" in ran.err) == (10, False)
    assert {word: count for word, count in counts.items() if count} == {
        "agrees": 1 + len(_MENDED),
        "invalid": 6,
        "inconclusive": 7,
    }


@pytest.mark.parametrize(
    ("item", "reason", "position"),
    [
        ("nan", 'the log-probability nan for 111 "o"', 2),
        ("infinite", 'the log-probability -inf for 111 "o"', 2),
        ("positive", 'the log-probability 0.5 for 111 "o"', 2),
        ("null", 'no log-probability for 111 "o"', 2),
        # The lossless report escapes backslashes.
        ("misread", 'the answer is about 1 "\\\\x01", where 111 "o" was asked', 2),
        ("swapped", "the model 'another' answered in place of 'accounts/", None),
    ],
)
def test_an_answer_that_is_wrong_is_invalid(
    struck: tuple[HostedWorkspace, Ran], item: str, reason: str, position: int | None
) -> None:
    """It is a finding, and the token that shows it is named."""
    verdict = struck[0].logprob_cell(f"base--{item}")["verdict"]

    assert (verdict["kind"], verdict["position"], verdict["count"]) == ("invalid", position, 2)
    assert verdict["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("storm", "fake: status 503 (Service Unavailable): scripted (attempts: 2)"),
        ("page", "fake: the answer is not JSON (text/html) (attempts: 2)"),
        ("torn", "fake: no answer: "),
        ("unknown", "fake: status 404 (Not Found): no such model"),
        ("shorter", "the echo has 16 of the 17 tokens of the response"),
        ("longer", "the answer has 19 tokens, expected 17, "),
        ("absent", "fake: it gives no log-probabilities of the prompt, although an earlier"),
    ],
)
def test_a_missing_answer_is_not_a_finding(
    struck: tuple[HostedWorkspace, Ran], item: str, reason: str
) -> None:
    """It is inconclusive, with the message of the last attempt."""
    verdict = struck[0].logprob_cell(f"base--{item}")["verdict"]

    assert (verdict["kind"], verdict["reason"].startswith(reason)) == ("inconclusive", True)


@pytest.mark.parametrize("item", list(_MENDED))
def test_a_transient_fault_is_retried(struck: tuple[HostedWorkspace, Ran], item: str) -> None:
    """The second attempt succeeds, and the draw has the number of attempts."""
    workspace, _ = struck
    draws = [draw for draw in workspace.draws() if draw["cell"] == f"base--{item}"]
    attempts = [draw["facts"]["attempts"] for draw in draws if draw["purpose"] == "first_look"]

    assert workspace.logprob_cell(f"base--{item}")["verdict"]["kind"] == "agrees"
    assert sorted(attempts) == [1, 2]


def test_a_server_that_goes_away_leaves_the_findings(hosted: HostedWorkspace) -> None:
    """An earlier invalid answer stays a finding, and the rest is inconclusive."""
    nan = Rule(effect=Put(value=math.nan), text="plane")
    with serving(conduct=Conduct(latency_s=0.1), rules=[nan]) as server:
        hosted.ask(server.base_url, provider={"concurrency": 1, "attempts": 1})
        gate = hosted.start("check")
        _wait_for_calls(server, 3)
    ran = ended(gate)

    assert (ran.code, hosted.logprob_verdicts()) == (10, {PLANE: "invalid", TRAIN: "inconclusive"})


@pytest.mark.parametrize("command", ["check", "calibrate"])
def test_a_server_without_echo_is_named_once(
    hosted: HostedWorkspace, api: Api, command: str
) -> None:
    """One sentence for all cells, exit code 4, and no call more than it takes to know."""
    api.follow(Rule(effect=Edit(change=_ignore_echo)))

    ran = hosted.check() if command == "check" else hosted.calibrate("--again")

    # A check asks for the end alone first.
    assert (ran.code, len(api.requests)) == (4, 2 if command == "check" else 1)
    assert ran.out.count("fake cannot be gated: it ignored `echo` and gave log-prob") == 1


def test_a_budget_is_not_exceeded(hosted: HostedWorkspace, api: Api) -> None:
    """Cells beyond the budget are inconclusive; the server sees no further call."""
    hosted.ask(api.base_url, suite={"budget": {"max_calls": 3}}, provider={"concurrency": 1})

    ran = hosted.check()

    assert (ran.code, len(api.requests)) == (4, 3)
    assert hosted.logprob_verdicts() == {PLANE: "agrees", TRAIN: "inconclusive"}
    assert hosted.logprob_cell(TRAIN)["verdict"]["reason"] == "the budget of 3 calls is used up"


def test_attempts_are_calls_too(hosted: HostedWorkspace, api: Api) -> None:
    """Trying again is paid from the same budget."""
    api.follow(Rule(effect=Fail(status=503, headers={"retry-after": "0"})))
    hosted.ask(api.base_url, suite={"budget": {"max_calls": 5}})

    ran = hosted.check()

    assert (ran.code, len(api.requests)) == (4, 5)


def _ignore_echo(body: Any) -> None:
    """Answer as a server that generates one token and returns that alone."""
    choice = body["choices"][0]
    choice["logprobs"]["content"][:-1] = []
    choice["text"] = choice["text"][-1:]
    body["usage"]["completion_tokens"] = 1


def _wait_for_calls(server: Api, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(server.requests) < count:
        assert time.monotonic() < deadline, "the server was never asked"
        time.sleep(0.01)
