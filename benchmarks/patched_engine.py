"""The built-in engine with one fault, as a `command` engine: the program and a JSON object.

Its keys are parameters of a request that the engine replaces, and of `FAULTS` those to plant.
"""

import ctypes
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from repro_gate.engines.llama_cpp import native, session
from repro_gate.engines.llama_cpp.engine import LlamaCppEngine
from repro_gate.engines.llama_cpp.inference import decode
from repro_gate.engines.requests import GenerateRequest, VerifyRequest
from repro_gate.engines.serving import run
from repro_gate.protocol import Json, bad_request
from repro_gate.samplers import Sampling

_CANDIDATE_BYTES: Final = 12
"""A token, its logit and its probability."""
_Request = TypeVar("_Request", GenerateRequest, VerifyRequest)


class PatchedEngine(LlamaCppEngine):
    """The engine that draws with other parameters than it is asked for."""

    def __init__(self, other: Mapping[str, Any]) -> None:
        super().__init__()
        self._other = other

    def generate(self, request: GenerateRequest) -> Json:
        """Run a cell with other parameters."""
        return super().generate(self._changed(request))

    def verify(self, request: VerifyRequest) -> Json:
        """Verify tokens with other parameters, or refuse to."""
        if not self._other.get("verify", True):
            raise bad_request("this engine does not verify tokens")
        return super().verify(self._changed(request))

    def _changed(self, request: _Request) -> _Request:
        faults = {*FAULTS, "verify"}
        known = {name: value for name, value in self._other.items() if name not in faults}
        hotter = known.pop("hotter", 0.0)
        if "sampling" in known:
            known["sampling"] = Sampling.parse(known["sampling"], "fault")
        return replace(request, temperature=request.temperature + hotter, **known)


def skip_a_random_number() -> None:
    """Let every sampler that draws tokens use up one random number first."""
    make = native.dist

    def used(seed: int) -> native.Sampler:
        sampler = make(seed)
        # From one candidate it draws too.
        candidate = ctypes.create_string_buffer(_CANDIDATE_BYTES)
        array = native.candidate_array(ctypes.addressof(candidate))
        array.size = 1
        native.apply(sampler, array)
        return sampler

    native.dist = used


def decode_two_sequences() -> None:
    """Decode every batch with a second sequence of the same tokens in it."""
    make = native.new_context

    def wider(model: native.Model, params: native.Struct) -> native.Context | None:
        params.n_seq_max, params.n_ctx, params.n_batch = 2, 2 * params.n_ctx, 2 * params.n_batch
        params.n_ubatch *= 2
        return make(model, params)

    native.new_context = wider
    vars(session)["Decoder"] = _TwoSequences


class _TwoSequences(decode.Decoder):
    def __init__(self, context: native.Context, **known: Any) -> None:
        super().__init__(context, **known)
        self._capacity //= 2

    def _compute(
        self, name: str, compute: Callable[[native.Context, native.Struct], int], count: int
    ) -> None:
        batch = self._batch
        for index in range(count):
            other = count + index
            batch.token[other], batch.pos[other] = batch.token[index], batch.pos[index]
            batch.logits[other] = batch.logits[index]
            batch.seq_id[index][0], batch.seq_id[other][0] = 1, 0
        super()._compute(name, compute, 2 * count)


FAULTS: Final[Mapping[str, Callable[[], None]]] = {
    "skip_a_random_number": skip_a_random_number,
    "decode_two_sequences": decode_two_sequences,
}


def main() -> int:
    """Answer requests until stdin ends."""
    other: Mapping[str, Any] = json.loads(sys.argv[1])
    for name, plant in FAULTS.items():
        if other.get(name):
            plant()
    return run(lambda: PatchedEngine(other))


if __name__ == "__main__":
    sys.exit(main())
