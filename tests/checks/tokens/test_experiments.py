"""Experiments with scripted engines whose outputs depend on a setting."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from repro_gate.checks.tokens.experiments import AxesPlan, ExperimentPorts, measure_axes
from repro_gate.core.axes import AxesReport, Impact
from repro_gate.core.engines import EngineSpec, ModelSpec
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from tests.fakes.engines import DEAD, REFUSED, Fault
from tests.fakes.setting_engines import SettingEngines, model_of, program_of
from tests.fakes.stores import MemoryModelFiles
from tests.fakes.values import CHAT, answer_to, cell_of, engine_spec_of, generation_of
from tests.fakes.watching import RecordingProgress

FOX, OWL = cell_of("fox"), cell_of("owl")
OTHER = generation_of(1, 2, 3, 4, prompt=(3, 3))


def measured(
    engines: SettingEngines,
    *,
    cells: Sequence[Cell] = (FOX, OWL),
    model: ModelSpec | None = None,
    devices: tuple[str, ...] = ("cuda",),
) -> AxesReport:
    """Measure the axes of a model on a machine with two cores."""
    planned = AxesPlan(
        model=model or model_of(),
        cells=tuple(cells),
        all_cells=5,
        cores=2,
        devices=devices,
        engines=(engine_spec_of("other"),),
    )
    ports = ExperimentPorts(
        starter=engines,
        files=MemoryModelFiles(),
        progress=RecordingProgress(),
        clock=lambda: 0.0,
    )
    return measure_axes(planned, ports=ports, started_at="now")


def without_flash_attention(spec: EngineSpec, cell: Cell) -> Generation:
    """Answer otherwise without flash attention."""
    return answer_to(cell) if spec.settings.get("flash_attention", True) else OTHER


def no_cuda(spec: EngineSpec) -> Sequence[Fault]:
    """Return the fault of a device that is not there."""
    return [Fault(what="describe", about=spec.name, error=REFUSED)] if spec.device != "cpu" else []


def impacts_of(report: AxesReport) -> dict[tuple[str, str], Impact]:
    """Return the impact of each experiment."""
    return {(each.experiment.axis, each.experiment.value): each.impact for each in report.effects}


def reasons_of(report: AxesReport) -> Mapping[tuple[str, str], str]:
    """Return why the rest was not tried."""
    return {(each.axis, each.value): each.reason for each in report.not_tried}


def test_the_setting_that_changes_tokens_is_found() -> None:
    """All others are invariant."""
    engines = SettingEngines(voice=without_flash_attention, faults=no_cuda)
    report = measured(engines)
    impacts = impacts_of(report)

    assert impacts.pop(("flash_attention", "false")) is Impact.TOKENS
    assert set(impacts.values()) == {Impact.NONE}
    assert {axis for axis, _ in impacts} == {
        *("threads", "kv_type", "n_batch", "n_ubatch", "repack", "neighbours", "engine")
    }
    assert all(engine.is_closed for engine in engines.engines)


def test_the_report_has_the_circumstances() -> None:
    """Of the unchanged run."""
    report = measured(SettingEngines(faults=no_cuda))

    assert (report.cells, report.all_cells, report.tokens) == ((FOX, OWL), 5, 8)
    assert report.facts["setting.flash_attention"] == "true"
    assert report.again is not None
    assert (report.again.impact, report.is_reproducible) == (Impact.NONE, True)
    assert reasons_of(report)["device", ""] == "the engine has only the CPU"


def test_a_device_that_the_engine_has_is_tried() -> None:
    """With its own settings."""
    assert ("device", "cuda") in impacts_of(measured(SettingEngines()))


def test_tokens_that_change_are_verified() -> None:
    """Where the engine can; otherwise less is known."""
    voice = without_flash_attention
    (found,) = [
        each
        for each in measured(SettingEngines(voice=voice)).effects
        if each.impact is Impact.TOKENS
    ]
    (less,) = [
        each
        for each in measured(SettingEngines(voice=voice, verifies=False)).effects
        if each.impact is Impact.TOKENS
    ]

    assert found.distance == pytest.approx(0.02)
    assert less.distance is None


def test_another_prompt_is_not_verified() -> None:
    """Its tokens are no claim."""

    def other_prompt(spec: EngineSpec, cell: Cell) -> Generation:
        usual = answer_to(cell)
        return usual if spec.name != "other" else replace(usual, prompt=usual.prompt[:1])

    report = measured(SettingEngines(voice=other_prompt))

    (found,) = [each for each in report.effects if each.impact is Impact.TOKENS]
    assert (found.experiment.axis, found.distance) == ("engine", None)


def test_neighbours_that_change_a_run_are_found() -> None:
    """It is run several times, side by side."""
    report = measured(SettingEngines(crowded=lambda _: OTHER), cells=[FOX])

    assert impacts_of(report)["neighbours", "up to 4 runs at a time"] is Impact.TOKENS


def test_one_run_that_its_neighbours_change_is_enough() -> None:
    """The others agree with the unchanged run."""
    answers = iter([answer_to(FOX), OTHER])

    def sometimes(cell: Cell) -> Generation:
        return next(answers, answer_to(cell))

    report = measured(SettingEngines(crowded=sometimes), cells=[FOX])

    assert impacts_of(report)["neighbours", "up to 4 runs at a time"] is Impact.TOKENS


def test_an_engine_without_neighbours_is_not_called_invariant() -> None:
    """Nothing was tried."""
    report = measured(SettingEngines(), model=program_of(model_of()), devices=())

    reason = reasons_of(report)["neighbours", "up to 4 runs at a time"]
    assert reason == "the engine makes one run at a time"


def test_a_setting_that_is_not_in_force_is_not_called_invariant() -> None:
    """The engine reports the same as before."""

    def stuck(spec: EngineSpec) -> Mapping[str, str]:
        del spec
        return {"setting.repack": "true"}

    report = measured(SettingEngines(reported=stuck))

    reason = reasons_of(report)["repack", "false"]
    assert reason == "the engine reports setting.repack = true, not false"


@pytest.mark.parametrize("error", [DEAD, REFUSED])
def test_what_cannot_be_run_is_no_finding(error: MeasurementUnavailable) -> None:
    """The others are made all the same."""

    def fails(spec: EngineSpec) -> Sequence[Fault]:
        is_meant = spec.settings.get("kv_type") == "q4_0"
        return [Fault(what="load", about="tiny", error=error)] if is_meant else []

    report = measured(SettingEngines(faults=fails))

    assert reasons_of(report)["kv_type", "q4_0"] == str(error)
    assert ("kv_type", "q8_0") in impacts_of(report)


def test_without_an_unchanged_run_there_is_no_report() -> None:
    """Whoever asked learns why."""
    engines = SettingEngines(faults=lambda _: [Fault(what="generate", about=OWL.id)])

    with pytest.raises(EngineFailed, match="SIGKILL"):
        measured(engines)
    assert all(engine.is_closed for engine in engines.engines)


def test_a_run_that_does_not_repeat_itself_ends_the_measurement() -> None:
    """No axis could be judged."""
    answers = iter([answer_to(FOX), OTHER])
    report = measured(SettingEngines(voice=lambda *_: next(answers)), cells=[FOX])

    assert (report.is_reproducible, report.findings) == (False, ())


def test_an_interruption_keeps_what_was_found() -> None:
    """Every process is closed."""

    def interrupted(spec: EngineSpec) -> Sequence[Fault]:
        is_meant = spec.settings.get("kv_type") == "bf16"
        return [Fault(what="load", about="tiny", error=KeyboardInterrupt())] if is_meant else []

    engines = SettingEngines(faults=interrupted)
    report = measured(engines)

    assert report.interrupted
    assert list(impacts_of(report))[-1] == ("kv_type", "f32")
    assert all(engine.is_closed for engine in engines.engines)


def test_chats_have_the_facts_of_their_template() -> None:
    """Texts have not."""
    chat = replace(FOX, text="", chat=CHAT)

    def reported(spec: EngineSpec) -> Mapping[str, str]:
        del spec
        return {"chat.sha256": "0"}

    assert "chat.sha256" in measured(SettingEngines(reported=reported), cells=[chat]).facts
    assert "chat.sha256" not in measured(SettingEngines(reported=reported), cells=[FOX]).facts
