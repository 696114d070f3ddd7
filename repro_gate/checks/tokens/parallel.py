"""Several devices at work on one plan: each has engines and cells of its own."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Event, Lock

from repro_gate.checks.tokens.runner import CheckPorts, MatrixRunner, Watch
from repro_gate.core.cells import Cell
from repro_gate.core.goldens import MODEL_SHA256
from repro_gate.core.matrix import Plan
from repro_gate.core.measurement import Measurement, joined
from repro_gate.core.models import EngineSpec
from repro_gate.core.policies import LogprobCell
from repro_gate.core.verdicts import Drift, Nondeterministic, Unrecorded
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import Engine, EngineStarter, Progress


class ParallelRunner:
    """Measures the parts of a plan in parallel, with the interface of one `MatrixRunner`."""

    def __init__(self, plans: Sequence[Plan], ports: CheckPorts) -> None:
        self._plans = plans
        self._guard = _Guard(ports.starter, ports.progress)
        guarded = replace(ports, starter=self._guard, progress=self._guard)
        self._runners = [MatrixRunner(plan, guarded) for plan in plans]

    @property
    def seen(self) -> Measurement:
        """Everything that was seen by now."""
        return joined(runner.seen for runner in self._runners)

    def describe(self) -> None:
        """Ask every engine what it is.

        Raises:
            MeasurementUnavailable: the devices are not of one class.
        """
        self._each(MatrixRunner.describe)
        profiles = _by_name(
            (name, device, profile)
            for device, runner in self._lanes()
            for name, profile in runner.seen.profiles.items()
        )
        for said in profiles.values():
            if len({profile for _, profile in said}) > 1:
                raise MeasurementUnavailable(
                    f"the devices are not of one class: {_told(said)}",
                    remedy="Check each class of device by itself, with --device.",
                )

    def measure(self, watch: Watch) -> None:
        """Run every cell; an interruption stops all of them.

        Raises:
            MeasurementUnavailable: the file of a model was changed, and the devices loaded two.
        """
        self._each(lambda runner: runner.measure(watch))
        files = _by_name(
            (model, device, facts[MODEL_SHA256])
            for device, runner in self._lanes()
            for model, facts in runner.seen.models.items()
        )
        for model, said in files.items():
            if len({digest for _, digest in said}) > 1:
                raise MeasurementUnavailable(
                    f"the devices did not load one file of model {model}: {_told(said)}",
                    remedy="Check again, and leave the file alone meanwhile.",
                )

    def close(self) -> None:
        """End every engine."""
        for runner in self._runners:
            runner.close()

    def _lanes(self) -> Iterator[tuple[str, MatrixRunner]]:
        for plan, runner in zip(self._plans, self._runners, strict=True):
            # All models of a lane are on its device.
            device = next(model.engine.device for model in plan.models.values())
            yield device, runner

    def _each(self, step: Callable[[MatrixRunner], None]) -> None:
        with ThreadPoolExecutor(len(self._runners)) as pool:
            futures = [pool.submit(step, runner) for runner in self._runners]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._guard.stop()
                raise
        _raise_first(futures)


def _by_name(
    said: Iterable[tuple[str, str, str]],
) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return (device, what it said) by what it is about; one device may be named twice."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, device, value in said:
        found[name].append((device, value))
    return found


def _told(said: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{device} is {value}" for device, value in said)


def _raise_first(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()


class _Guard:
    """Stands between the threads and what they share, and ends them when the check is stopped."""

    def __init__(self, starter: EngineStarter, progress: Progress) -> None:
        self._starter = starter
        self._progress = progress
        self._lock = Lock()
        self._stopped = Event()
        self._engines: list[Engine] = []
        self._cells = 0
        self._runs = 0

    def stop(self) -> None:
        """Let every thread end at its next step, and the engines at once."""
        self._stopped.set()
        with self._lock:
            for engine in self._engines:
                engine.abort()

    def start(self, spec: EngineSpec) -> Engine:
        """Start an engine; after the end there is none to start."""
        with self._lock:
            self._require_going()
            engine = self._starter.start(spec)
            self._engines.append(engine)
        return engine

    def started(self, *, cells: int, runs: int) -> None:
        """Tell how much there is to do in all parts that have begun."""
        with self._lock:
            self._cells += cells
            self._runs += runs
            self._progress.started(cells=self._cells, runs=self._runs)

    def ran(self, cell: Cell | LogprobCell, *, tokens: int) -> None:
        """Pass it on."""
        with self._lock:
            self._require_going()
            self._progress.ran(cell, tokens=tokens)

    def skipped(self, cell: Cell | LogprobCell, *, runs: int) -> None:
        """Pass it on."""
        with self._lock:
            self._require_going()
            self._progress.skipped(cell, runs=runs)

    def found(self, cell: Cell, finding: Drift | Nondeterministic | Unrecorded) -> None:
        """Pass it on."""
        with self._lock:
            self._require_going()
            self._progress.found(cell, finding)

    def _require_going(self) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
