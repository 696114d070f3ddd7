"""Measure one plan on several devices in parallel; each has its own engines and cells."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Event, Lock

from repro_gate.checks.tokens.runner import CheckPorts, MatrixRunner, Watch
from repro_gate.core.engines import EngineSpec
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.matrix import Plan
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.measurement import Measurement, joined
from repro_gate.core.tokens.verdicts import Finding
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import Engine, EngineStarter, Progress


class ParallelRunner:
    """Measures the parts of a plan in parallel, with the interface of one `MatrixRunner`."""

    def __init__(self, plans: Sequence[Plan], ports: CheckPorts) -> None:
        self._plans = plans
        self._guard = _Guard(ports.starter, ports.progress)
        guarded = replace(ports, starter=self._guard, progress=self._guard)
        self._runners = [MatrixRunner(plan, guarded) for plan in plans]
        # The same threads to the end: an engine dies with the thread that started it.
        self._pool = ThreadPoolExecutor(len(plans))

    @property
    def measured(self) -> Measurement:
        """Everything measured so far."""
        return joined(runner.measured for runner in self._runners)

    def describe(self) -> None:
        """Describe every engine.

        Raises:
            MeasurementUnavailable: the devices have different profiles.
        """
        self._each(MatrixRunner.describe)
        profiles = _by_name(
            (name, device, profile)
            for device, runner in self._by_device()
            for name, profile in runner.measured.profiles.items()
        )
        for values in profiles.values():
            if len({profile for _, profile in values}) > 1:
                raise MeasurementUnavailable(
                    f"the devices have different profiles: {_listed(values)}",
                    remedy="check each class of device separately, with --device",
                )

    def measure(self, watch: Watch) -> None:
        """Run every cell; an interruption stops all devices.

        Raises:
            MeasurementUnavailable: the file of a model changed, and the devices loaded two.
        """
        self._each(lambda runner: runner.measure(watch))
        files = _by_name(
            (file.key, device, runner.measured.models[model.name].get(file.sha256_fact, "unknown"))
            for plan, (device, runner) in zip(self._plans, self._by_device(), strict=True)
            for model in plan.models.values()
            if model.name in runner.measured.models
            for file in model.files
        )
        for model, values in files.items():
            if len({digest for _, digest in values}) > 1:
                raise MeasurementUnavailable(
                    f"the devices loaded different files of model {model}: {_listed(values)}",
                    remedy="check again, and do not change the file meanwhile",
                )

    def close(self) -> None:
        """Stop every engine."""
        for runner in self._runners:
            runner.close()
        self._pool.shutdown()

    def _by_device(self) -> Iterator[tuple[str, MatrixRunner]]:
        for plan, runner in zip(self._plans, self._runners, strict=True):
            # All models of a part are on its device.
            device = next(model.engine.device for model in plan.models.values())
            yield device, runner

    def _each(self, step: Callable[[MatrixRunner], None]) -> None:
        futures: list[Future[None]] = []
        try:
            # In the reach of an interruption too: the first device may work before the last one.
            futures.extend(self._pool.submit(step, runner) for runner in self._runners)
            wait(futures)
        except KeyboardInterrupt:
            self._guard.stop()
            wait(futures)
            raise
        _raise_first(futures)


def _by_name(
    facts: Iterable[tuple[str, str, str]],
) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return (device, value) by name; a device may occur twice."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, device, value in facts:
        found[name].append((device, value))
    return found


def _listed(values: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{device} is {value}" for device, value in values)


def _raise_first(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()


class _Guard:
    """Serializes the engines and the progress that the threads share, and stops the threads."""

    def __init__(self, starter: EngineStarter, progress: Progress) -> None:
        self._starter = starter
        self._progress = progress
        self._lock = Lock()
        self._stopped = Event()
        self._engines: list[Engine] = []

    def stop(self) -> None:
        """Stop the engines now, and every thread at its next step."""
        self._stopped.set()
        with self._lock:
            for engine in self._engines:
                engine.abort()

    def start(self, spec: EngineSpec) -> Engine:
        """Start an engine, unless stopped."""
        with self._lock:
            self._require_running()
            engine = self._starter.start(spec)
            self._engines.append(engine)
        return engine

    def started(self, runs: Iterable[tuple[Cell | LogprobCell, int]]) -> None:
        """Forward to the shared progress."""
        with self._lock:
            self._progress.started(runs)

    def began(self, cell: Cell | LogprobCell) -> None:
        """Forward to the shared progress."""
        with self._lock:
            self._require_running()
            self._progress.began(cell)

    def ran(self, cell: Cell | LogprobCell, *, tokens: int) -> None:
        """Forward to the shared progress."""
        with self._lock:
            self._require_running()
            self._progress.ran(cell, tokens=tokens)

    def skipped(self, cell: Cell | LogprobCell, *, runs: int) -> None:
        """Forward to the shared progress."""
        with self._lock:
            self._require_running()
            self._progress.skipped(cell, runs=runs)

    def found(self, cell: Cell, finding: Finding) -> None:
        """Forward to the shared progress."""
        with self._lock:
            self._require_running()
            self._progress.found(cell, finding)

    def _require_running(self) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
