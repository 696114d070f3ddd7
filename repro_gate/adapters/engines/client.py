"""Engines as the checks need them: protocol v1 spoken to a child process."""

import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, assert_never

from repro_gate.adapters.engines import answers
from repro_gate.adapters.engines.environment import minimal_environment, python_module_argv
from repro_gate.adapters.engines.process import FAULTY_ENGINE, EngineProcess
from repro_gate.adapters.files.parsing import ANSWER_LIMITS, TooManyValues, lenient_json_of
from repro_gate.adapters.models.files import sha256_of, size_of_several
from repro_gate.core.engines import Ability, EngineKind, EngineSpec, ModelSpec, another_file
from repro_gate.core.report import EngineReport
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.cell import Cell
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.model_files import parts_of, states_to_wire
from repro_gate.ports import (
    CellRun,
    Engine,
    LoadedModel,
    ModelFile,
    Outcome,
    Scored,
    ScoreRequest,
    TimedGeneration,
    Verified,
    VerifyRequest,
)
from repro_gate.protocol import PROTOCOL, Method, Refusal, request
from repro_gate.strict_json import integer, table

T = TypeVar("T")
Reader: TypeAlias = Callable[[Mapping[str, Any]], T]
"""Returns a result as a value, or raises one of `answers.INVALID`, or that it lacks a part."""

_ENGINES: Final = "repro_gate.engines"
_SERVER_GRACE_S: Final = 15.0
"""More than an engine waits for the end of its server."""
_WINDOW = 4
"""Requests without a delivered outcome, per request that the engine works on."""
_MAX_SHOWN = 120
_BEST = 5
"""Likeliest tokens at each place of a verification, as in a trace."""

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
    "on the device, lower contexts, or choose another --device",
    Refusal.OUT_OF_CONTEXT: "raise the context (n_ctx; -c of llama-server, --max-model-len of "
    "vLLM), or lower max_tokens",
    Refusal.NOT_FINITE: "choose another kv_type or flash_attention, or another file of the model: "
    "its numbers overflow",
    Refusal.SERVER_UNAVAILABLE: "correct serve, base_url, dialect, served_as or source in the "
    "matrix, or the key, or raise ready_timeout_s; what a started server printed is in "
    "serve-NAME.log in the report folder",
    Refusal.INTERNAL: "repro-gate doctor shows whether the engine works; if it does, report the "
    "message to its authors",
}
"""By the kind of refusal."""


class EngineProcesses:
    """Starts engines as child processes, in the folder of the matrix file."""

    def __init__(self, folder: Path = Path(), logs: Path | None = None) -> None:
        """Start nothing yet.

        Args:
            folder: that of the matrix file.
            logs: where the output of servers is kept; None to keep none.
        """
        self._folder = folder
        self._logs = logs
        self._logged: set[Path] = set()
        self._early: list[tuple[EngineSpec, Engine]] = []
        self._abilities: dict[str, frozenset[Ability]] = {}
        """By the name of the engine: only its first process is asked to describe itself."""

    def start(self, spec: EngineSpec) -> Engine:
        """Start a fresh process without waiting for it; a failure shows at the first request."""
        for index, (early, engine) in enumerate(self._early):
            if early == spec:
                del self._early[index]
                return engine
        return self._started(spec)

    def start_early(self, spec: EngineSpec) -> None:
        """Start a process that a later `start` of the same engine returns, unless one waits."""
        if all(early != spec for early, _ in self._early):
            self._early.append((spec, self._started(spec)))

    def close(self) -> None:
        """End the processes that were started early and not used."""
        while self._early:
            self._early.pop()[1].close()

    def _started(self, spec: EngineSpec) -> Engine:
        argv, grace_s = self._command(spec)
        env = minimal_environment(os.environ, spec.pass_env) | _ENV_SET
        process = EngineProcess(
            argv, env=env, timeout_s=spec.timeout_s, folder=self._folder, grace_s=grace_s
        )
        return ProtocolEngine(spec, process, self._abilities)

    def _command(self, spec: EngineSpec) -> tuple[Sequence[str], float]:
        """Return how an engine is started, and how long it may take to end."""
        match spec.kind:
            case EngineKind.LLAMA_CPP:
                return python_module_argv(f"{_ENGINES}.llama_cpp"), 0.0
            case EngineKind.SERVED:
                argv = python_module_argv(f"{_ENGINES}.served")
                return (*argv, *self._log_of(spec)), _SERVER_GRACE_S
            case EngineKind.COMMAND:
                return spec.command, 0.0
            case _:
                assert_never(spec.kind)

    def _log_of(self, spec: EngineSpec) -> tuple[str, ...]:
        """Return the file for the output of the servers of an engine, new for this gate."""
        if self._logs is None:
            return ()
        device = "" if spec.is_cpu else f"-{spec.device.replace(':', '-')}"
        file = self._logs.absolute() / f"serve-{spec.name}{device}.log"
        if file not in self._logged:
            self._logged.add(file)
            with suppress(OSError):
                file.unlink(missing_ok=True)
        return (str(file),)


class _Refused(MeasurementUnavailable):
    """The engine is alive, and answered with a typed error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}", remedy=_REMEDIES.get(kind, _UNKNOWN_REFUSAL))
        self.kind = kind


@dataclass(slots=True, kw_only=True)
class _Request:
    """A request that has no answer yet."""

    method: Method
    read: Reader[Any]
    deadline: float
    more_s: float
    """How much longer than usual it may take."""
    had_neighbours: bool


class ProtocolEngine:
    """One engine process, asked through protocol v1."""

    def __init__(
        self,
        spec: EngineSpec,
        process: EngineProcess,
        abilities: dict[str, frozenset[Ability]] | None = None,
    ) -> None:
        self._spec = spec
        self._process = process
        self._abilities = {} if abilities is None else abilities
        self._number = 0
        self._in_flight: dict[int, _Request] = {}
        """By id, in the order in which they were sent."""
        self._concurrency = 1

    def describe(self) -> EngineReport:
        """Return what the engine is and the profile that its results belong to."""

        def read(answer: Mapping[str, Any]) -> EngineReport:
            return EngineReport(
                name=self._spec.name,
                profile=answers.profile_of(answer),
                facts={"engine": answers.text(answer["engine"]), **answers.facts_of(answer)},
                can=answers.abilities_of(answer),
            )

        params: dict[str, Any] = {"device": self._spec.device}
        if self._spec.kind.is_own:
            # Other engines may refuse what the first ones did not know.
            params["settings"] = dict(self._spec.settings)
        report = self._ask(Method.DESCRIBE, params, read)
        self._abilities[self._spec.name] = report.can
        return report

    def load(
        self, model: ModelSpec, file: ModelFile, *, concurrency: int | None = None
    ) -> LoadedModel:
        """Load a model; it is unavailable unless the requested layers are on the device."""
        if not self._in_flight:
            self.begin_load(model, file, concurrency=concurrency)
        try:
            answer: tuple[LoadedModel, tuple[int, int] | None] = self._receive()[1].answer()
        except _Refused as error:
            other = _another_file(model, file) if error.kind == Refusal.DIGEST_MISMATCH else None
            if other is None:
                raise
            raise MeasurementUnavailable(error.reason, remedy=other.remedy) from error
        loaded, layers = answer
        if layers is not None:
            self._require_placed(model, *layers)
        self._concurrency = min(loaded.concurrency, concurrency or loaded.concurrency)
        return loaded

    def _can(self, ability: Ability) -> bool:
        return ability in self._abilities.get(self._spec.name, ())

    def _require_placed(self, model: ModelSpec, layers: int, on_device: int) -> None:
        wanted = self._spec.gpu_layers or layers
        if on_device != wanted:
            raise MeasurementUnavailable(
                f"{self._spec.device} was asked for, but {on_device} layers of {model.name} are "
                f"on it, not {wanted}",
                remedy="free memory on the device, or lower n_ctx; repro-gate doctor shows it",
            )

    def begin_load(
        self, model: ModelSpec, file: ModelFile, *, concurrency: int | None = None
    ) -> None:
        """Send a load; the same `load` returns its answer."""
        params: dict[str, Any] = {
            "model": model.name_at_engine,
            **_path_params(file),
            "sha256": file.sha256,
            "device": self._spec.device,
            "settings": dict(self._spec.settings),
        }
        if file.states:
            params["file"] = states_to_wire(file.states)
        if model.lora:
            params["lora"] = [
                {**_path_params(one), "sha256": one.sha256, "scale": spec.scale}
                for spec, one in zip(model.lora, file.lora, strict=True)
            ]
        if concurrency is not None:
            params["concurrency"] = concurrency
        is_remote = self._can(Ability.REMOTE)
        has_server = is_remote or self._can(Ability.RESTART)

        def read(answer: Mapping[str, Any]) -> tuple[LoadedModel, tuple[int, int] | None]:
            expected = None if file.path is None else size_of_several(file.path)
            if expected is not None and (not is_remote or "size" in answer):
                answers.require_size(answer, expected)
            loaded = answers.loaded_model(answer, is_remote=is_remote)
            return loaded, answers.layers_of(answer, has_server=has_server)

        self._send(Method.LOAD, params, read)

    def generate(self, runs: Iterable[CellRun]) -> Generator[Outcome[TimedGeneration]]:
        """Make runs on the loaded model, and yield their outcomes in order."""

        def params(run: CellRun) -> Mapping[str, Any]:
            cell, chat = run.cell, run.cell.chat
            return {
                **({"prompt": cell.text} if chat is None else {"chat": chat.to_data()}),
                "max_tokens": cell.max_tokens,
                "trace": run.trace,
                # Not every engine knows it.
                **({"logits": True} if run.logits else {}),
                **({"cache": "keep"} if run.keep_cache else {}),
                **_sampler_params(cell),
                **({"stop": list(cell.stop)} if cell.stop else {}),
            }

        def reader(run: CellRun) -> Reader[TimedGeneration]:
            return partial(
                answers.timed_generation,
                max_tokens=run.cell.max_tokens,
                is_chat=run.cell.chat is not None,
                wants_logits=run.logits,
                may_lack_bytes=self._can(Ability.NO_BYTES),
            )

        return self._stream(Method.GENERATE, ((params(run), reader(run)) for run in runs))

    def score(self, requests: Iterable[ScoreRequest]) -> Generator[Outcome[Scored]]:
        """Score responses with the loaded model, each cold, and yield the outcomes in order."""

        def params(asked: ScoreRequest) -> Mapping[str, Any]:
            return {name: value for name, value in asdict(asked).items() if value is not None}

        def reader(asked: ScoreRequest) -> Reader[Scored]:
            return partial(answers.scored, asked=asked)

        return self._stream(Method.SCORE, ((params(each), reader(each)) for each in requests))

    def verify(self, requests: Iterable[VerifyRequest]) -> Generator[Outcome[Verified]]:
        """Verify tokens with the loaded model, each cold, and yield the outcomes in order."""

        def params(asked: VerifyRequest) -> Mapping[str, Any]:
            return {
                "prompt": asked.prompt,
                "tokens": asked.tokens,
                "best": _BEST,
                **_sampler_params(asked.cell),
            }

        def reader(asked: VerifyRequest) -> Reader[Verified]:
            return partial(answers.verified, asked=asked)

        return self._stream(Method.VERIFY, ((params(each), reader(each)) for each in requests))

    def abort(self) -> None:
        """End the process while another thread may be waiting for its answer."""
        self._process.kill()

    def begin_close(self) -> None:
        """End the process without waiting until it has ended."""
        self._process.begin_close()

    def close(self) -> None:
        """End the process."""
        if self._in_flight:
            # It would finish them first.
            self._process.kill()
        self._process.close()

    def _stream(
        self, method: Method, requests: Iterable[tuple[Mapping[str, Any], Reader[T]]]
    ) -> Generator[Outcome[T]]:
        source = iter(requests)
        undelivered: deque[int] = deque()
        finished: dict[int, Outcome[T]] = {}
        try:
            while True:
                while undelivered and undelivered[0] in finished:
                    yield finished.pop(undelivered.popleft())
                for params, read in islice(source, self._free(undelivered=len(undelivered))):
                    undelivered.append(self._send(method, params, read))
                if not undelivered:
                    return
                outcome: Outcome[T]
                try:
                    number, outcome = self._receive()
                except EngineFailed as error:
                    if len(self._in_flight) > 1:
                        raise
                    number, request = self._in_flight.popitem()
                    outcome = Outcome(value=error, had_neighbours=request.had_neighbours)
                    source = iter(())
                finished[number] = outcome
        finally:
            if self._in_flight:
                self._process.kill()

    def _free(self, *, undelivered: int) -> int:
        """Return how many requests may be sent now."""
        in_window = _WINDOW * self._concurrency - undelivered
        return min(self._concurrency - len(self._in_flight), in_window)

    def _ask(self, method: Method, params: Mapping[str, Any], read: Reader[T]) -> T:
        """Return what `read` makes of the result, or raise `_Refused` or `EngineFailed`."""
        self._send(method, params, read)
        answer: T = self._receive()[1].answer()
        return answer

    def _send(self, method: Method, params: Mapping[str, Any], read: Reader[Any]) -> int:
        """Send a request, and return its id."""
        self._number += 1
        line = json.dumps(request(self._number, method, params)).encode()
        for other in self._in_flight.values():
            other.had_neighbours = True
        more_s = self._spec.loading_s if method is Method.LOAD else 0.0
        self._in_flight[self._number] = _Request(
            method=method,
            read=read,
            deadline=self._process.send(line, more_s=more_s),
            more_s=more_s,
            had_neighbours=bool(self._in_flight),
        )
        return self._number

    def _receive(self) -> tuple[int, Outcome[Any]]:
        """Return the id and the outcome of the next request that is answered, or raise."""
        oldest = next(iter(self._in_flight.values()))
        doing = oldest.method.value
        line = self._process.receive(deadline=oldest.deadline, doing=doing, more_s=oldest.more_s)
        try:
            message = table(lenient_json_of(line, ANSWER_LIMITS))
            number = integer(message["id"])
            asked = self._in_flight.get(number)
            if message["protocol"] != PROTOCOL or asked is None:
                raise ValueError("another protocol or another id")
            refusal = message.get("error")
            result = table(message["result"]) if refusal is None else _refusal_of(refusal)
        except TooManyValues as error:
            raise self._failed(f"the engine answered {doing!r} with {error}") from error
        except answers.INVALID as error:
            shown = escape_text(line[:_MAX_SHOWN].decode("utf-8", errors="replace"))
            raise self._failed(
                f"the engine answered {doing!r} with something that is not protocol v1: {shown}"
            ) from error
        value = result if isinstance(result, _Refused) else self._read(asked, result)
        del self._in_flight[number]
        return number, Outcome(value=value, had_neighbours=asked.had_neighbours)

    def _read(self, asked: _Request, result: Mapping[str, Any]) -> object:
        try:
            return asked.read(result)
        except MeasurementUnavailable as error:
            return error
        except answers.INVALID as error:
            fault = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise self._failed(
                f"the engine's answer to {asked.method.value!r} breaks protocol v1: "
                f"{answers.text(fault)}"
            ) from error

    def _failed(self, reason: str) -> EngineFailed:
        """Kill the engine, and return the error."""
        self._process.kill()
        return EngineFailed(reason, remedy=FAULTY_ENGINE)


def _another_file(model: ModelSpec, file: ModelFile) -> MeasurementUnavailable | None:
    """Return the error for the first file that is not the expected one."""
    for spec, one in zip(model.files, file.files, strict=True):
        if one.path is None or one.sha256 is None:
            continue
        if (found := sha256_of(one.path)) != one.sha256:
            return another_file(spec, expected=one.sha256, found=found)
    return None


def _path_params(file: ModelFile) -> Mapping[str, Any]:
    """Return where the files are; nothing for a model of which the matrix names no file."""
    if file.path is None:
        return {}
    paths = [str(part.absolute()) for part in parts_of(file.path)]
    return {"path": paths[0], **({"parts": paths} if paths[1:] else {})}


def _sampler_params(cell: Cell) -> Mapping[str, Any]:
    """Return every value that a draw depends on besides the logits."""
    sampler = cell.sampler
    return {
        "seed": cell.seed,
        # Not by `asdict`, which takes as long as the rest of a request.
        "temperature": sampler.temperature,
        "top_k": sampler.top_k,
        "top_p": sampler.top_p,
        "min_p": sampler.min_p,
        **({} if sampler.sampling is None else {"sampling": sampler.sampling.to_data()}),
    }


def _refusal_of(error: object) -> _Refused:
    kind, reason = (answers.text(table(error)[key]) for key in ("kind", "message"))
    return _Refused(kind, reason)
