"""An engine whose `load` answers with a concurrency has several requests in flight."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from repro_gate.protocol import Method
from tests.fakes.driven_engine import CELL, DrivenEngine, load_params

_COMMAND = (sys.executable, "-m", "tests.fakes.parallel_engine")


@pytest.fixture(name="engine")
def _engine() -> Iterator[DrivenEngine]:
    """Yield an engine that takes two requests at a time."""
    with closing(DrivenEngine({}, command=_COMMAND)) as driven:
        _load(driven, 2)
        yield driven


def _load(engine: DrivenEngine, concurrency: int) -> Any:
    params = load_params(Path("/model")) | {"settings": {"concurrency": concurrency}}
    return engine.ask(Method.LOAD, **params)


def _send(engine: DrivenEngine, *prompts: str) -> None:
    for prompt in prompts:
        engine.send(Method.GENERATE, CELL | {"prompt": prompt})


def _prompt_of(answer: Any) -> str:
    return bytes.fromhex(answer["result"]["prompt"][0][1]).decode()


def test_answers_come_as_they_are_ready_with_the_ids_of_their_requests(
    engine: DrivenEngine,
) -> None:
    """The first request waits for the second one, so it is answered after it."""
    _send(engine, "wait a", "set a")
    answers = [engine.receive("generate_answer") for _ in range(2)]
    assert [(answer["id"], _prompt_of(answer)) for answer in answers] == [
        (3, "set a"),
        (2, "wait a"),
    ]


def test_a_request_beyond_the_concurrency_waits(engine: DrivenEngine) -> None:
    """Of many requests two are in flight, never three, and each is answered once."""
    _send(engine, "wait a", "set a", *["go"] * 50)
    ids = sorted(engine.receive("generate_answer")["id"] for _ in range(52))
    facts = engine.ask(Method.DESCRIBE, device="cpu")["facts"]
    assert ids == list(range(2, 54))
    assert facts == {"in_flight": "0", "most_in_flight": "2", "finished": "52"}


@pytest.mark.parametrize("method", [Method.DESCRIBE, Method.LOAD])
def test_other_requests_wait_until_nothing_is_in_flight(
    engine: DrivenEngine, method: Method
) -> None:
    """A generation that would end early at a description ends before it."""
    _send(engine, "wait a", "set a", "wait_a_moment describe", "wait_a_moment describe")
    if method is Method.DESCRIBE:
        engine.send(method, {"device": "cpu"})
    else:
        engine.send(method, load_params(Path("/model")) | {"settings": {"concurrency": 2}})
    answers = [engine.receive() for _ in range(5)]
    assert answers[-1]["id"] == 6
    facts = answers[-1]["result"]["facts"]
    assert (facts["in_flight"], facts["finished"]) == ("0", "4")


def test_a_refused_request_leaves_its_neighbour_alone(engine: DrivenEngine) -> None:
    """Both are answered, and both threads take further requests."""
    _send(engine, "wait a", "refuse", "refuse", "refuse", "set a")
    answers = {answer["id"]: answer for answer in (engine.receive() for _ in range(5))}
    refused = [number for number, answer in answers.items() if "error" in answer]
    assert sorted(refused) == [3, 4, 5]
    assert _prompt_of(answers[2]) == "wait a"


def test_requests_in_flight_are_answered_after_the_end_of_stdin(engine: DrivenEngine) -> None:
    """Then the process ends with 0, as always."""
    _send(engine, "wait a", "wait_a_moment b", "set a")
    code, answers = engine.end()
    assert (code, answers.count(b'"result"'), answers.count(b"\n")) == (0, 3, 3)


def test_an_answer_that_is_not_read_ends_the_process(engine: DrivenEngine) -> None:
    """With another request in flight, and with stdin still open."""
    _send(engine, "wait never")
    engine.stop_reading()
    _send(engine, "go")
    assert engine.exit_code() == 0


def test_a_thread_that_cannot_answer_ends_the_process(engine: DrivenEngine) -> None:
    """Otherwise the gate would wait for the answer until its time-out."""
    _send(engine, "wait never", "exit")
    assert engine.exit_code() == 1
    assert "SystemExit" in engine.stderr()


def test_with_a_concurrency_of_one_the_main_thread_answers(engine: DrivenEngine) -> None:
    """An engine that does not ask for threads need not be safe in them."""
    threads = []
    for concurrency in (2, 1, 2):
        _load(engine, concurrency)
        _send(engine, "go")
        threads.append(engine.receive("generate_answer")["result"]["notes"])
    params = load_params(Path("/model")) | {"settings": {"concurrency": 0}}
    engine.refusal(Method.LOAD, **params)
    _send(engine, "go")
    threads.append(engine.receive("generate_answer")["result"]["notes"])
    assert threads == [["worker"], ["main"], ["worker"], ["main"]]
