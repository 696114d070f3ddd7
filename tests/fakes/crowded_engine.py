"""An engine on `repro_gate.engines.serving` that works on several requests at a time.

Its settings are the `concurrency`, and `depends`: `on nothing`, `on neighbours`, whose sampler
state it shares, or `on solitude`: only a request without neighbours gets other tokens. The prompts
`hang`, which leaves a file in the folder of the matrix, `die` and `refuse` do that.
"""

import os
import random
import sys
import time
from pathlib import Path
from threading import Condition

from repro_gate.engines.model_file import read_model
from repro_gate.engines.requests import DescribeRequest, GenerateRequest, LoadRequest
from repro_gate.engines.serving import Engine, run
from repro_gate.protocol import Json, WireToken, bad_request

_FOREVER_S = 600
_MOMENT_S = 0.1
"""How long a request waits for a neighbour."""


class CrowdedEngine(Engine):
    """Draws tokens by prompt and seed, and perhaps by who else draws."""

    def __init__(self) -> None:
        self._depends = ""
        self._in_flight = self._entered = 0
        self._changed = Condition()
        self._shared = random.Random()  # noqa: S311 -- not for secrets

    def describe(self, request: DescribeRequest) -> Json:
        """Return a name and a profile."""
        del request
        return {"engine": "crowded", "profile": "crowded", "facts": {}}

    def load(self, request: LoadRequest) -> Json:
        """Accept any model."""
        self._depends = str(request.settings["depends"])
        return {
            "sha256": read_model(request).sha256,
            "size": 1,
            "layers": 1,
            "layers_on_device": 1,
            "facts": {},
            "concurrency": request.concurrency or request.settings["concurrency"],
            "room_for_another": True,
        }

    def generate(self, request: GenerateRequest) -> Json:
        """Do what the prompt asks for, or draw tokens."""
        match request.prompt:
            case "hang":
                Path(f"hanging-{request.seed}").touch()
                time.sleep(_FOREVER_S)
            case "die":
                os._exit(3)
            case "refuse":
                raise bad_request("refused")
            case _:
                pass
        source = random.Random(f"{request.seed} {request.prompt}")  # noqa: S311 -- not for secrets
        with self._changed:
            self._in_flight += 1
            self._entered += 1
            entered = self._entered
            self._shared.setstate(source.getstate())
            self._changed.notify_all()
            is_crowded = self._changed.wait_for(
                lambda: self._in_flight > 1 or self._entered > entered, _MOMENT_S
            )
            if self._depends == "on neighbours":
                source.setstate(self._shared.getstate())
            if self._depends == "on solitude" and not is_crowded:
                source.seed("alone")
        with self._changed:
            self._in_flight -= 1
        return {
            "prompt": [WireToken(0, request.prompt.encode()).to_wire()],
            "tokens": [
                WireToken(number, f" {number}".encode()).to_wire()
                for number in source.choices(range(100), k=request.max_tokens)
            ],
            "stop": "length",
            "timing": {"decode_s": 0.001, "sample_s": 0.001},
        }


if __name__ == "__main__":
    sys.exit(run(CrowdedEngine))
