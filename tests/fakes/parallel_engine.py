"""An engine on `repro_gate.engines.serving` whose prompts order its threads: `COMMAND NAME`.

`load` answers with the setting `concurrency`, or refuses when it is 0. A note of each generation
names its thread; `describe` counts the generations.
"""

import sys
from collections import defaultdict
from threading import Event, Lock, current_thread, main_thread

from repro_gate.engines.requests import DescribeRequest, GenerateRequest, LoadRequest
from repro_gate.engines.serving import Engine, run
from repro_gate.protocol import Json, WireToken, bad_request

_PATIENCE_S = 30.0
_MOMENT_S = 0.2


class ParallelEngine(Engine):
    """Generates nothing of interest, in an order that its prompts decide."""

    def __init__(self) -> None:
        self._events: defaultdict[str, Event] = defaultdict(Event)
        self._lock = Lock()
        self._in_flight = 0
        self._most_in_flight = 0
        self._finished = 0

    def describe(self, request: DescribeRequest) -> Json:
        """Return how many generations are in flight, were at most, and have finished."""
        del request
        counts = {
            "in_flight": self._in_flight,
            "most_in_flight": self._most_in_flight,
            "finished": self._finished,
        }
        self._event("describe").set()
        facts = {name: str(count) for name, count in counts.items()}
        return {"engine": "parallel", "profile": "parallel", "facts": facts}

    def load(self, request: LoadRequest) -> Json:
        """Accept any model."""
        concurrency = request.settings["concurrency"]
        if concurrency == 0:
            raise bad_request("concurrency: 0")
        facts = {"in_flight": str(self._in_flight), "finished": str(self._finished)}
        answer = {"sha256": "0" * 64, "size": 0, "layers": 1, "layers_on_device": 1}
        return answer | {"facts": facts, "concurrency": concurrency}

    def generate(self, request: GenerateRequest) -> Json:
        """Do what the prompt asks for."""
        with self._lock:
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
        try:
            self._obey(*request.prompt.split())
        finally:
            with self._lock:
                self._in_flight -= 1
                self._finished += 1
        token = WireToken(0, request.prompt.encode()).to_wire()
        return {
            "prompt": [token],
            "tokens": [token],
            "stop": "length",
            "timing": {"decode_s": 0, "sample_s": 0},
            "notes": ["main" if current_thread() is main_thread() else "worker"],
        }

    def _obey(self, command: str, name: str = "") -> None:
        match command:
            case "set":
                self._event(name).set()
            case "wait":
                assert self._event(name).wait(_PATIENCE_S)
            case "wait_a_moment":
                self._event(name).wait(_MOMENT_S)
            case "refuse":
                raise bad_request("refused")
            case "exit":
                raise SystemExit(0)
            case _:
                pass

    def _event(self, name: str) -> Event:
        with self._lock:
            return self._events[name]


if __name__ == "__main__":
    sys.exit(run(ParallelEngine))
