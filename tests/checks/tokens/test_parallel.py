"""Several devices share a plan, and the report is that of one device."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event, Thread, current_thread

import pytest

from repro_gate.checks.tokens.check import check_tokens
from repro_gate.checks.tokens.record import observed_goldens
from repro_gate.checks.tokens.runner import CheckPorts
from repro_gate.core.engines import Ability, EngineSpec, ModelSpec
from repro_gate.core.matrix import Plan, plan
from repro_gate.core.report import EngineReport, GateReport
from repro_gate.core.shards.split import lanes_of
from repro_gate.core.tokens.golden import FactChange, Facts
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import LoadedModel, ModelFile
from tests.fakes.checking import STARTED_AT, recorded_for, report_on, verdicts_of
from tests.fakes.engines import DEAD, Fault, ScriptedEngine, ScriptedStarter
from tests.fakes.stores import MemoryGoldens, MemoryModelFiles
from tests.fakes.values import (
    ENGINE_FACTS,
    PROFILE,
    cell_of,
    digest_of,
    generation_of,
    lora_of,
    matrix_of,
    suite_of,
)
from tests.fakes.watching import FakeClock, RecordingProgress

CELLS = tuple(cell_of(prompt) for prompt in ("haiku", "fox", "moon", "sea"))
PLAN = plan(matrix_of(suite_of(*CELLS, runs=3)))
DEVICES = ("cuda:0", "cuda:1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts of an engine about its machine."""

    profile: str = PROFILE
    facts: Facts = field(default_factory=lambda: ENGINE_FACTS)
    digest: str = "a" * 64
    adapter: str = "c" * 64


class DeviceStarter(ScriptedStarter):
    """Gives each engine its machine, by device and number."""

    machine_of: Callable[[str, int], Machine]

    def start(self, spec: EngineSpec) -> ScriptedEngine:
        """Start an engine that reports its device."""
        engine = ScriptedStarter.start(self, spec)
        machine = self.machine_of(spec.device, engine.number)
        self.engines[-1] = _OnMachine(machine, spec, number=engine.number, starter=self)
        return self.engines[-1]


class _OnMachine(ScriptedEngine):
    """An engine on a machine of its own."""

    def __init__(
        self, machine: Machine, spec: EngineSpec, *, number: int, starter: ScriptedStarter
    ) -> None:
        super().__init__(spec, number=number, starter=starter)
        self._machine = machine

    def describe(self) -> EngineReport:
        """Return what the device is."""
        machine = self._machine
        return replace(super().describe(), profile=machine.profile, facts=machine.facts)

    def load(
        self, model: ModelSpec, file: ModelFile, *, concurrency: int | None = None
    ) -> LoadedModel:
        """Hold the file that this device has."""
        facts = super().load(model, file, concurrency=concurrency).facts
        digest = self._machine.digest
        adapters = {
            name: value
            for spec in model.lora
            for name, value in (
                (spec.sha256_fact, self._machine.adapter),
                (spec.scale_fact, str(spec.scale)),
            )
        }
        return LoadedModel(sha256=digest, facts={**facts, "model.sha256": digest, **adapters})


def _on_machines(machine_of: Callable[[str, int], Machine]) -> DeviceStarter:
    starter = DeviceStarter()
    starter.machine_of = machine_of
    return starter


def _starter(**changes: object) -> ScriptedStarter:
    return replace(ScriptedStarter(), **changes)  # type: ignore[arg-type]


def _check(
    starter: ScriptedStarter,
    *,
    lanes: tuple[Plan, ...] | None = None,
    progress: RecordingProgress | None = None,
) -> GateReport:
    ports = CheckPorts(
        starter=starter,
        files=MemoryModelFiles(),
        goldens=MemoryGoldens(recorded_for(*CELLS)),
        progress=progress or RecordingProgress(),
        clock=FakeClock(),
    )
    shared = lanes_of(PLAN, DEVICES) if lanes is None else lanes
    return check_tokens(
        PLAN, ports=ports, started=100.0, started_at=STARTED_AT, device_plans=shared
    )


def test_two_devices_give_the_report_of_one() -> None:
    """Cells, verdicts, controls and provenance are the same; each device ran the control."""
    one, two = _check(ScriptedStarter(), lanes=()), _check(ScriptedStarter())

    assert two.cells == one.cells
    assert (two.engines, two.models, two.interrupted) == (one.engines, one.models, False)
    assert two.controls == one.controls
    # The second device had to run the first cell as well.
    assert two.timing.generated_tokens == one.timing.generated_tokens + 8


def test_a_drift_on_the_second_device_is_found() -> None:
    """A different output of one device is drift, as on a single one."""
    report = _check(_starter(script={CELLS[3]: [generation_of(9)]}))

    assert isinstance(verdicts_of(report)[CELLS[3].id], Drift)
    assert [verdicts_of(report)[cell.id] for cell in CELLS[:3]] == [Match()] * 3


def test_both_devices_work_at_the_same_time() -> None:
    """Each waits in its first run until the other one has started."""
    begun = {cell.id: Event() for cell in (CELLS[0], CELLS[2])}

    class Meeting(ScriptedStarter):
        def note(self, asked: object) -> int:
            about = getattr(asked, "about", "")
            if getattr(asked, "what", "") == "generate" and about in begun:
                begun[about].set()
                assert all(event.wait(20) for event in begun.values()), "one worked alone"
            return ScriptedStarter.note(self, asked)  # type: ignore[arg-type]

    assert set(verdicts_of(_check(Meeting())).values()) == {Match()}


def test_devices_of_two_classes_are_refused() -> None:
    """A golden holds for one class of machine, and so does a check."""
    profiles = {"cuda:0": "cuda-sm90", "cuda:1": "cuda-sm100"}
    starter = _on_machines(lambda device, _: Machine(profile=profiles[device]))

    with pytest.raises(
        MeasurementUnavailable,
        match="the devices have different profiles: cuda:0 is cuda-sm90, cuda:1 is cuda-sm100",
    ):
        _check(starter)
    assert starter.are_all_closed


def test_each_cell_has_the_provenance_of_its_device() -> None:
    """Devices of one profile may differ in some facts, and a drift names its device."""
    drivers = {
        device: {**ENGINE_FACTS, "device.driver": driver}
        for device, driver in zip(DEVICES, ("560", "999"), strict=True)
    }
    starter = _on_machines(
        lambda device, _: Machine(facts=drivers[device], digest=digest_of("tiny"))
    )
    starter.script = {CELLS[3]: [generation_of(9)]}

    report = _check(starter)

    drift = verdicts_of(report)[CELLS[3].id]
    assert isinstance(drift, Drift)
    assert drift.provenance == (FactChange(name="device.driver", before=None, after="999"),)
    observed = {golden.cell: golden.provenance for golden in observed_goldens(report)}
    assert [observed[cell]["device.driver"] for cell in CELLS] == ["560", "560", "999", "999"]
    assert [engine.facts for engine in report.engines] == list(drivers.values())


def test_one_device_named_twice_has_one_class() -> None:
    """A variable of the runner, for instance, can give the second engine another profile."""
    starter = _on_machines(lambda _, number: Machine(profile=f"cpu-{number}"))

    with pytest.raises(
        MeasurementUnavailable,
        match=r"the devices have different profiles: cpu is cpu-[12], cpu is cpu-[12]$",
    ):
        _check(starter, lanes=lanes_of(PLAN, ("cpu", "cpu")))


def test_devices_that_loaded_two_files_are_refused() -> None:
    """It would be unknown which weights the report is about."""
    files = {"cuda:0": "a" * 64, "cuda:1": "b" * 64}

    with pytest.raises(
        MeasurementUnavailable,
        match=r"the devices loaded different files of model tiny: "
        rf"cuda:0 is {'a' * 64}, cuda:1 is {'b' * 64}$",
    ):
        _check(_on_machines(lambda device, _: Machine(digest=files[device])))


def test_devices_may_have_models_of_unknown_digests() -> None:
    """Nothing shows that they are two, nor that they are one."""
    starter = ScriptedStarter(digest=lambda _: None, can=frozenset({Ability.REMOTE}))

    assert set(verdicts_of(_check(starter)).values()) == {Match()}


def test_devices_that_loaded_two_adapters_are_refused() -> None:
    """They change the weights as much as the file of the model."""
    matrix = matrix_of(suite_of(*CELLS, runs=3))
    adapted = {name: replace(model, lora=(lora_of(name),)) for name, model in matrix.models.items()}
    lanes = lanes_of(plan(replace(matrix, models=adapted)), DEVICES)
    files = {"cuda:0": "a" * 64, "cuda:1": "b" * 64}

    with pytest.raises(
        MeasurementUnavailable,
        match=r"the devices loaded different files of model tiny/lora/1: "
        rf"cuda:0 is {'a' * 64}, cuda:1 is {'b' * 64}$",
    ):
        _check(_on_machines(lambda device, _: Machine(adapter=files[device])), lanes=lanes)


def test_a_device_that_fails_costs_only_its_own_cells() -> None:
    """The other one continues."""
    faults = [Fault(what="generate", about=cell.id, error=DEAD) for cell in CELLS[2:]]
    verdicts = verdicts_of(_check(_starter(faults=faults)))

    assert [verdicts[cell.id] for cell in CELLS[:2]] == [Match(), Match()]
    assert all(isinstance(verdicts[cell.id], Inconclusive) for cell in CELLS[2:])


def test_an_interruption_ends_every_device() -> None:
    """Ctrl-C, seen by one, leaves what was measured and no process."""
    starter = _starter(
        faults=[Fault(what="generate", about=CELLS[2].id, error=KeyboardInterrupt(), time=2)]
    )
    report = _check(starter)

    assert report.interrupted
    assert starter.are_all_closed
    assert report_on(report, CELLS[2]).runs == 1


def test_ctrl_c_in_the_main_thread_ends_every_device() -> None:
    """The signal comes while the threads wait for their engines, which are ended at once."""

    class Slow(ScriptedStarter):
        def note(self, asked: object) -> int:
            number = ScriptedStarter.note(self, asked)  # type: ignore[arg-type]
            if (getattr(asked, "what", ""), getattr(asked, "about", "")) == (
                "generate",
                CELLS[3].id,
            ):
                os.kill(os.getpid(), signal.SIGINT)
                _wait_for(lambda: any(engine.was_aborted for engine in self.engines))
                raise DEAD
            return number

    starter = Slow()
    report = _check(starter)

    assert report.interrupted
    assert starter.are_all_closed
    assert report_on(report, CELLS[3]).runs == 0


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


def test_progress_covers_the_work_of_all_devices_once() -> None:
    """The total is announced in sum, and every run is counted."""
    progress = RecordingProgress()
    _check(ScriptedStarter(), progress=progress)

    announced = [event[1:] for event in progress.log if event[0] == "started"]
    assert announced == [(2, 6), (2, 6)]
    assert progress.runs_accounted_for == 12
    assert len(progress.begun) == 12


@dataclass(slots=True, kw_only=True)
class _ThreadKeeper(ScriptedStarter):
    """Remembers which thread started each process."""

    threads: list[Thread] = field(default_factory=list)

    def start(self, spec: EngineSpec) -> ScriptedEngine:
        """Start an engine."""
        self.threads.append(current_thread())
        return ScriptedStarter.start(self, spec)


def test_the_threads_that_started_engines_live_until_the_end() -> None:
    """Linux ends an engine with the thread that started it, as if the gate had ended."""
    starter = _ThreadKeeper()
    are_alive: list[bool] = []
    starter.spend = lambda _: are_alive.extend(thread.is_alive() for thread in starter.threads)

    _check(starter)

    assert are_alive
    assert all(are_alive)
    assert not any(thread.is_alive() for thread in starter.threads)
