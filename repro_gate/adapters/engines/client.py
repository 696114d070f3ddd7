"""Engines as the checks need them: protocol v1 spoken to a child process."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, assert_never

from repro_gate.adapters.engines import answers
from repro_gate.adapters.engines.environment import minimal_environment, python_module_argv
from repro_gate.adapters.engines.process import FAULTY_ENGINE, EngineProcess
from repro_gate.adapters.files.models import sha256_of
from repro_gate.adapters.files.parsing import ANSWER_LIMITS, TooManyValues, lenient_json_of
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec, another_file
from repro_gate.core.report import EngineReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.cell import Cell
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.ports import (
    Engine,
    LoadedModel,
    ModelFile,
    Scored,
    ScoreRequest,
    TimedGeneration,
)
from repro_gate.protocol import PROTOCOL, Method, Refusal, request
from repro_gate.strict_json import table

T = TypeVar("T")

_BUILT_IN = "repro_gate.engines.llama_cpp"
_MAX_SHOWN = 120

_ENV_SET = {
    # With a debugger installed, an abort would print a backtrace for seconds.
    "GGML_NO_BACKTRACE": "1",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "PYTHONUNBUFFERED": "1",
}

_UNKNOWN_REFUSAL: Final = (
    "see the engine's documentation: repro-gate does not know this kind of error"
)
_REMEDIES: Final[Mapping[str, str]] = {
    Refusal.BAD_REQUEST: "change the setting or value that the engine names, in the matrix",
    Refusal.MODEL_INVALID: "name a GGUF file in the matrix that this engine can run; "
    "repro-gate models verify shows whether the file is the pinned one",
    Refusal.DIGEST_MISMATCH: "restore the pinned file; repro-gate models verify shows the digests",
    Refusal.DEVICE_UNAVAILABLE: "repro-gate doctor shows the devices of this machine; free memory "
    "on the device, or choose another --device",
    Refusal.OUT_OF_CONTEXT: "raise n_ctx and n_batch of the engine, or lower max_tokens",
    Refusal.NOT_FINITE: "choose another kv_type or flash_attention, or another file of the model: "
    "its numbers overflow",
    Refusal.INTERNAL: "repro-gate doctor shows whether the engine works; if it does, report the "
    "message to its authors",
}
"""By the kind of refusal."""


class EngineProcesses:
    """Starts engines as child processes, in the folder of the matrix file."""

    def __init__(self, folder: Path = Path()) -> None:
        self._folder = folder
        self._early: list[tuple[EngineSpec, Engine]] = []

    def start(self, spec: EngineSpec) -> Engine:
        """Start a fresh process without waiting for it; a failure shows at the first request."""
        for index, (early, engine) in enumerate(self._early):
            if early == spec:
                del self._early[index]
                return engine
        return self._started(spec)

    def start_early(self, spec: EngineSpec) -> None:
        """Start a process that a later `start` of the same engine returns."""
        self._early.append((spec, self._started(spec)))

    def close(self) -> None:
        """End the processes that were started early and not used."""
        while self._early:
            self._early.pop()[1].close()

    def _started(self, spec: EngineSpec) -> Engine:
        argv = _argv(spec)
        env = minimal_environment(os.environ, spec.pass_env) | _ENV_SET
        process = EngineProcess(argv, env=env, timeout_s=spec.timeout_s, folder=self._folder)
        return ProtocolEngine(spec, process)


def _argv(spec: EngineSpec) -> Sequence[str]:
    match spec.kind:
        case EngineKind.LLAMA_CPP:
            return python_module_argv(_BUILT_IN)
        case EngineKind.COMMAND:
            return spec.command
        case _:
            assert_never(spec.kind)


class _Refused(MeasurementUnavailable):
    """The engine is alive, and answered with a typed error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}", remedy=_REMEDIES.get(kind, _UNKNOWN_REFUSAL))
        self.kind = kind


class ProtocolEngine:
    """One engine process, asked through protocol v1."""

    def __init__(self, spec: EngineSpec, process: EngineProcess) -> None:
        self._spec = spec
        self._process = process
        self._number = 0

    def describe(self) -> EngineReport:
        """Return what the engine is and the profile that its results belong to."""

        def read(answer: Mapping[str, Any]) -> EngineReport:
            return EngineReport(
                name=self._spec.name,
                profile=answers.profile_of(answer),
                facts={"engine": answers.text(answer["engine"]), **answers.facts_of(answer)},
            )

        return self._ask(Method.DESCRIBE, {"device": self._spec.device}, read)

    def load(self, model: ModelSpec, file: ModelFile) -> LoadedModel:
        """Load a model; it is unavailable unless every layer is on the requested device."""
        params = {
            "model": model.name,
            "path": str(file.path.absolute()),
            "sha256": file.sha256,
            "device": self._spec.device,
            "settings": dict(self._spec.settings),
        }

        def read(answer: Mapping[str, Any]) -> tuple[LoadedModel, int, int]:
            return answers.loaded_model(answer), *answers.layers_of(answer)

        try:
            loaded, layers, on_device = self._ask(Method.LOAD, params, read)
        except _Refused as error:
            if error.kind != Refusal.DIGEST_MISMATCH or file.sha256 is None:
                raise
            found = sha256_of(file.path)
            remedy = another_file(model, expected=file.sha256, found=found).remedy
            raise MeasurementUnavailable(error.reason, remedy=remedy) from error
        if on_device != layers:
            raise MeasurementUnavailable(
                f"{self._spec.device} was asked for, but only {on_device} of {layers} layers of "
                f"{model.name} are on it",
                remedy="free memory on the device, or lower n_ctx; repro-gate doctor shows it",
            )
        return loaded

    def generate(self, cell: Cell, *, trace: bool) -> TimedGeneration:
        """Run the cell once, cold, on the loaded model."""
        params = {
            "prompt": cell.text,
            "seed": cell.seed,
            "max_tokens": cell.max_tokens,
            **asdict(cell.sampler),
            "trace": trace,
        }
        read = partial(answers.timed_generation, max_tokens=cell.max_tokens)
        return self._ask(Method.GENERATE, params, read)

    def score(self, asked: ScoreRequest) -> Scored:
        """Return how likely the loaded model holds a response to be, cold."""
        params = {name: value for name, value in asdict(asked).items() if value is not None}
        return self._ask(Method.SCORE, params, partial(answers.scored, asked=asked))

    def abort(self) -> None:
        """End the process while another thread may be waiting for its answer."""
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _ask(
        self, method: Method, params: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]
    ) -> T:
        """Return what `read` makes of the result, or raise `_Refused` or `EngineFailed`."""
        self._number += 1
        line = json.dumps(request(self._number, method, params)).encode()
        answer = self._process.exchange(line, doing=method.value)
        try:
            message = table(lenient_json_of(answer, ANSWER_LIMITS))
            if message["protocol"] != PROTOCOL or message["id"] != self._number:
                raise ValueError("another protocol or another id")
            refusal = message.get("error")
            if refusal is not None:
                kind, reason = (answers.text(table(refusal)[key]) for key in ("kind", "message"))
                raise _Refused(kind, reason)
            result = table(message["result"])
        except TooManyValues as error:
            raise self._failed(f"the engine answered {method.value!r} with {error}") from error
        except answers.INVALID as error:
            shown = escape_text(answer[:_MAX_SHOWN].decode("utf-8", errors="replace"))
            raise self._failed(
                f"the engine answered {method.value!r} with something that is not protocol v1: "
                f"{shown}"
            ) from error
        try:
            return read(result)
        except answers.INVALID as error:
            fault = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise self._failed(
                f"the engine's answer to {method.value!r} breaks protocol v1: {answers.text(fault)}"
            ) from error

    def _failed(self, reason: str) -> EngineFailed:
        """Kill the engine, and return the error."""
        self._process.kill()
        return EngineFailed(reason, remedy=FAULTY_ENGINE)
