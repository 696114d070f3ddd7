"""Several requests in flight: answers come in any order, outcomes in that of the runs."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.adapters.engines.client import ProtocolEngine
from repro_gate.adapters.engines.process import EngineProcess
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.model_files import FileState
from repro_gate.ports import CellRun, Engine, ModelFile, Outcome, TimedGeneration
from repro_gate.protocol import Method, Refusal, refusal, result
from tests.fakes.processes import EngineStarter, command_spec
from tests.fakes.values import cell_of, engine_spec_of, model_spec_of

FILE = ModelFile(path=Path("/models/tiny.gguf"), sha256=None)
STATE = FileState(device=1, inode=2, size=3, modified_ns=4, changed_ns=5)
_PARALLEL = (sys.executable, "-m", "tests.fakes.parallel_engine")


class _Process(EngineProcess):
    """Answers in memory, each time the request that is chosen of those in flight."""

    def __init__(self, choose: Callable[[int], int], *, concurrency: int) -> None:
        # No real process, so there is nothing to start.
        self._choose = choose
        self.load: dict[str, object] = {"concurrency": concurrency}
        self.instead: dict[str, Callable[[int], dict[str, Any]]] = {}
        """By prompt: the answer to give, from the id of the request."""
        self.in_flight: list[Any] = []
        self.sent: list[Any] = []
        self.most_in_flight = 0
        self.is_killed = False

    def send(self, line: bytes, *, more_s: float = 0.0) -> float:
        """Take a request."""
        assert more_s == 0
        self.sent.append(json.loads(line))
        self.in_flight.append(self.sent[-1])
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        return float(self.sent[-1]["id"])

    def receive(self, *, deadline: float, doing: str, more_s: float = 0.0) -> bytes:
        """Return the answer to the chosen request."""
        assert more_s == 0
        assert deadline == min(request["id"] for request in self.in_flight)
        request = self.in_flight.pop(self._choose(len(self.in_flight)))
        prompt = request["params"].get("prompt")
        if prompt == "die":
            raise EngineFailed(f"died at {doing}", remedy="none")
        instead = self.instead.get(prompt)
        number = request["id"]
        answer = instead(number) if instead else result(number, self._answer(request))
        return json.dumps(answer).encode()

    def kill(self) -> None:
        """Remember it."""
        self.is_killed = True

    def _answer(self, request: Any) -> dict[str, Any]:
        if request["method"] == Method.LOAD:
            common = {"sha256": "5a" * 32, "layers": 1, "layers_on_device": 1, "facts": {}}
            return common | self.load
        token = [request["params"]["seed"], b"x".hex()]
        timing = {"decode_s": 0, "sample_s": 0}
        return {"prompt": [token], "tokens": [token], "stop": "length", "timing": timing}


def _newest(waiting: int) -> int:
    return waiting - 1


def _oldest(waiting: int) -> int:
    return waiting - waiting


def _loaded(
    choose: Callable[[int], int] = _newest, *, concurrency: int = 2, limit: int | None = None
) -> tuple[ProtocolEngine, _Process]:
    process = _Process(choose, concurrency=concurrency)
    engine = ProtocolEngine(engine_spec_of(), process)
    engine.load(model_spec_of(), FILE, concurrency=limit)
    return engine, process


def _run(text: str = "go", *, seed: int = 1) -> CellRun:
    return CellRun(cell=replace(cell_of(seed=seed), text=text), trace=False)


def _seeds(outcomes: Sequence[Outcome[TimedGeneration]]) -> list[int]:
    return [outcome.answer().generation.tokens[0].id for outcome in outcomes]


@given(concurrency=st.integers(1, 64), runs=st.integers(0, 100), random=st.randoms())
def test_outcomes_keep_the_order_of_the_runs(concurrency: int, runs: int, random: Any) -> None:
    """In whatever order the answers come, with bounds on what is in flight and undelivered."""
    engine, process = _loaded(random.randrange, concurrency=concurrency)
    taken = delivered = 0

    def source() -> Iterator[CellRun]:
        nonlocal taken
        for seed in range(1, runs + 1):
            taken += 1
            assert taken - delivered <= 4 * concurrency
            yield _run(seed=seed)

    outcomes = []
    for outcome in engine.generate(source()):
        delivered += 1
        outcomes.append(outcome)

    assert _seeds(outcomes) == list(range(1, runs + 1))
    assert process.most_in_flight <= concurrency
    assert not process.is_killed
    is_shared = min(concurrency, runs) > 1
    assert [each.had_neighbours for each in outcomes] == [is_shared] * runs


def test_a_run_that_is_sent_after_the_others_ended_has_no_neighbours() -> None:
    """It is alone in the engine from beginning to end."""
    engine, _ = _loaded(_oldest)
    runs = iter([_run(seed=1), _run(seed=2)])
    alone = [next(engine.generate([_run(seed=3)]))]

    found = [*engine.generate(runs), *alone]

    assert [(each.had_neighbours, _seeds([each])) for each in found] == [
        (True, [1]),
        (True, [2]),
        (False, [3]),
    ]


def test_a_limit_holds_whatever_the_engine_answers() -> None:
    """An engine that ignores the limit gets no more requests at a time than the limit."""
    engine, process = _loaded(concurrency=64, limit=1)
    list(engine.generate(_run(seed=seed) for seed in range(1, 9)))

    assert process.most_in_flight == 1
    assert process.sent[0]["params"]["concurrency"] == 1


def test_a_refusal_is_the_outcome_of_its_run() -> None:
    """The others are answered as if it had not been sent."""
    engine, process = _loaded(concurrency=3)
    process.instead["odd"] = lambda number: refusal(number, Refusal.OUT_OF_CONTEXT, "too long")
    runs = [_run(seed=1), _run("odd"), _run(seed=3), _run(seed=4)]
    first, odd, *others = engine.generate(runs)

    assert _seeds([first, *others]) == [1, 3, 4]
    with pytest.raises(MeasurementUnavailable, match=r"^out_of_context: too long$"):
        odd.answer()


def test_a_failure_of_one_of_several_runs_is_raised() -> None:
    """Any of them may be the cause; what was answered before is delivered."""
    engine, process = _loaded(_oldest)
    outcomes = engine.generate([_run(seed=1), _run("die"), _run(seed=3)])

    assert _seeds([next(outcomes)]) == [1]
    with pytest.raises(EngineFailed, match=r"^died at generate$"):
        next(outcomes)
    assert process.is_killed


def test_a_failure_of_the_only_run_in_flight_is_its_outcome() -> None:
    """The finished ones behind it are delivered, and no further run is taken."""
    engine, process = _loaded(_newest)
    taken: list[int] = []

    def source() -> Iterator[CellRun]:
        for seed in range(1, 100):
            taken.append(seed)
            yield _run("die" if seed == 1 else "go", seed=seed)

    # The newest of two is answered, until no further run may be taken.
    died, *others = engine.generate(source())

    assert isinstance(died.value, EngineFailed)
    assert died.had_neighbours
    assert _seeds(others) == [2, 3, 4, 5, 6, 7, 8]
    assert taken == list(range(1, 9))
    assert len(process.sent) == 9


@pytest.mark.parametrize(
    "answer",
    [
        lambda number: result(number + 99, {}),
        lambda number: result(number - 1, {}),
        lambda number: result(number, {}) | {"protocol": "repro-gate/engine/v2"},
        lambda number: result(number, {}) | {"id": float(number)},
        lambda number: result(number, {}) | {"id": None},
        lambda number: result(number, {}) | {"id": [number]},
    ],
    ids=["unknown id", "id of an answer before", "version", "float", "null", "list"],
)
def test_an_answer_that_breaks_the_protocol_ends_the_process(
    answer: Callable[[int], dict[str, Any]],
) -> None:
    """It belongs to no run that is in flight, so none of them has an outcome."""
    engine, process = _loaded(_oldest)
    process.instead["odd"] = answer
    outcomes = engine.generate([_run(seed=1), _run("odd"), _run(seed=3), _run(seed=4)])

    assert _seeds([next(outcomes)]) == [1]
    with pytest.raises(EngineFailed, match="with something that is not protocol v1: "):
        next(outcomes)
    assert process.is_killed


def test_a_stream_that_is_closed_early_ends_the_process() -> None:
    """An answer that nobody waits for would be taken for that of a later request."""
    engine, process = _loaded(_oldest)
    outcomes = engine.generate(_run(seed=seed) for seed in range(1, 9))
    next(outcomes)
    with closing(outcomes):
        assert not process.is_killed

    assert process.is_killed


def test_a_stream_with_nothing_in_flight_may_be_closed() -> None:
    """The process is used for further requests."""
    engine, process = _loaded(concurrency=1)
    with closing(engine.generate([_run(seed=1), _run(seed=2)])) as outcomes:
        next(outcomes)

    assert not process.is_killed
    assert _seeds(list(engine.generate([_run(seed=3)]))) == [3]


def test_a_load_that_has_begun_is_not_sent_again() -> None:
    """The engine loads while the gate does something else."""
    process = _Process(_newest, concurrency=2)
    engine = ProtocolEngine(engine_spec_of(), process)
    file = replace(FILE, sha256="5a" * 32, states=(STATE,))
    engine.begin_load(model_spec_of(), file, concurrency=1)
    (sent,) = process.in_flight
    loaded = engine.load(model_spec_of(), file, concurrency=1)

    assert (loaded.concurrency, process.sent) == (2, [sent])
    assert sent["params"]["file"] == {
        "device": 1,
        "inode": 2,
        "size": 3,
        "modified_ns": 4,
        "changed_ns": 5,
    }


def test_the_keys_of_a_load_answer_are_remembered() -> None:
    """Besides the concurrency: the state of the file, and whether there is room."""
    process = _Process(_newest, concurrency=2)
    state = {"device": 2**64 - 1, "inode": 2, "size": 3, "modified_ns": 4, "changed_ns": 5}
    process.load |= {"file": state, "room_for_another": True}
    loaded = ProtocolEngine(engine_spec_of(), process).load(model_spec_of(), FILE)

    assert loaded.states == (replace(STATE, device=2**64 - 1),)
    assert loaded.has_room_for_another


@pytest.fixture(name="parallel")
def _parallel(start: EngineStarter) -> Engine:
    """Return an engine of four threads in a process, with a model."""
    engine = start(command_spec(*_PARALLEL, settings={"concurrency": 4}))
    engine.load(model_spec_of(), FILE)
    return engine


def _prompts(outcomes: Sequence[Outcome[TimedGeneration]]) -> list[str]:
    return [each.answer().generation.prompt[0].spelled.decode() for each in outcomes]


def test_a_real_engine_answers_out_of_order(parallel: Engine) -> None:
    """The first run waits for the last of four."""
    texts = ["wait a", "go", "go", "set a", *["go"] * 20]

    assert _prompts(list(parallel.generate(map(_run, texts)))) == texts


def test_requests_and_answers_do_not_wait_for_each_other(start: EngineStarter) -> None:
    """Neither side blocks on a full pipe while the other one does."""
    engine = start(command_spec(*_PARALLEL, settings={"concurrency": 64}))
    engine.load(model_spec_of(), FILE)
    texts = [f"go {'x' * 4000}{number}" for number in range(128)]

    assert _prompts(list(engine.generate(map(_run, texts)))) == texts


def test_a_run_that_hangs_is_timed_from_when_it_was_sent(start: EngineStarter) -> None:
    """Answers to its neighbours do not extend its time, and are all delivered."""
    engine = start(command_spec(*_PARALLEL, settings={"concurrency": 2}, timeout_s=4.0))
    engine.load(model_spec_of(), FILE)
    hung, *others = engine.generate(map(_run, ["wait never", *["go"] * 20]))

    assert _prompts(others) == ["go"] * 7
    with pytest.raises(EngineFailed, match=r"^the engine did not answer 'generate' within 4 s and"):
        hung.answer()


def test_a_real_death_among_several_runs_is_raised(parallel: Engine) -> None:
    """The message is that of a death with one run in flight."""
    with pytest.raises(EngineFailed, match=r"^the engine ended with exit code 1 at 'generate'"):
        list(parallel.generate(map(_run, ["wait never", "exit", "wait never"])))
