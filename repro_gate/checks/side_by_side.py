"""Several devices at work on one plan: each has engines and cells of its own."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event, Lock

from repro_gate.checks.measuring import Measurer
from repro_gate.core.cells import Cell
from repro_gate.core.matrix import Plan
from repro_gate.core.measurement import Measurement, joined
from repro_gate.core.models import EngineSpec
from repro_gate.core.policies import LogprobCell
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import Engine, EngineStarter, ModelFiles, Progress


class SideBySide:
    """Measures several parts of a plan at the same time; outside it looks like one `Measurer`."""

    def __init__(
        self,
        plans: Sequence[Plan],
        *,
        starter: EngineStarter,
        files: ModelFiles,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self._plans = plans
        self._guard = _Guard(starter, progress)
        self._measurers = [
            Measurer(plan, starter=self._guard, files=files, progress=self._guard, clock=clock)
            for plan in plans
        ]

    @property
    def seen(self) -> Measurement:
        """Everything that was seen by now."""
        return joined(measurer.seen for measurer in self._measurers)

    def describe(self) -> None:
        """Ask every engine what it is.

        Raises:
            MeasurementUnavailable: the devices are not of one class.
        """
        self._each(Measurer.describe)
        profiles: dict[str, dict[str, str]] = {}
        for plan, measurer in zip(self._plans, self._measurers, strict=True):
            devices = {m.engine.name: m.engine.device for m in plan.models.values()}
            for name, engine in measurer.seen.engines.items():
                profiles.setdefault(name, {})[devices[name]] = engine.profile
        for of_devices in profiles.values():
            _require_one_profile(of_devices)

    def measure(self) -> None:
        """Run every cell; an interruption stops all of them."""
        self._each(Measurer.measure)

    def close(self) -> None:
        """End every engine."""
        for measurer in self._measurers:
            measurer.close()

    def _each(self, step: Callable[[Measurer], None]) -> None:
        with ThreadPoolExecutor(len(self._measurers)) as pool:
            futures = [pool.submit(step, measurer) for measurer in self._measurers]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._guard.stop()
                raise
        _raise_first(futures)


def _require_one_profile(profiles: Mapping[str, str]) -> None:
    if len(set(profiles.values())) > 1:
        said = ", ".join(f"{device} is {profile}" for device, profile in profiles.items())
        raise MeasurementUnavailable(
            f"the devices are not of one class: {said}",
            remedy="Check each class of device by itself, with --device.",
        )


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

    def _require_going(self) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
