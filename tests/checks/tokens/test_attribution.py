"""The cause of a divergence is found by experiments with scripted engines."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from repro_gate.checks.tokens.attribution import AttributionPlan, attribute
from repro_gate.checks.tokens.experiments import ExperimentPorts
from repro_gate.core.attribution import Attribution, Likeness
from repro_gate.core.engines import EngineSpec
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, first_divergence
from repro_gate.core.tokens.golden import Facts, Golden
from repro_gate.core.tokens.verdicts import Drift, FormerGolden, Unrecorded
from repro_gate.errors import EngineFailed
from tests.fakes.engines import Fault
from tests.fakes.setting_engines import SETTINGS, SettingEngines, model_of, setting_facts
from tests.fakes.stores import MemoryModelFiles
from tests.fakes.values import (
    PROFILE,
    SAMPLED,
    cell_of,
    engine_spec_of,
    generation_of,
    golden_of,
    provenance_of,
)
from tests.fakes.watching import RecordingProgress

CELL = cell_of()
RECORDED = replace(CELL, sampler=replace(SAMPLED, temperature=0.9))
GOLDEN, OBSERVED, THIRD = (generation_of(*ids, is_traced=True) for ids in ((7, 8), (7, 5), (6, 6)))
FACTS: Facts = {**provenance_of("tiny"), **setting_facts(SETTINGS)}


def plan_of(
    golden: Golden, *, observed: Generation = OBSERVED, engines: tuple[EngineSpec, ...] = ()
) -> AttributionPlan:
    """Return a plan to attribute a divergence from a golden."""
    divergence = first_divergence(golden.generation, observed)
    assert divergence is not None
    verdict = (
        Drift(divergence=divergence, golden=golden, provenance=())
        if golden.cell == CELL
        else Unrecorded(reason="x", former=FormerGolden(divergence=divergence))
    )
    report = CellReport(
        suite="s", cell=CELL, verdict=verdict, runs=2, generation=observed, profile=PROFILE
    )
    return AttributionPlan(
        report=report, facts=FACTS, golden=golden, model=model_of(), cores=2, engines=engines
    )


def attributed(engines: SettingEngines, plan: AttributionPlan) -> Attribution:
    """Return what experiments show."""
    ports = ExperimentPorts(
        starter=engines,
        files=MemoryModelFiles(),
        progress=RecordingProgress(),
        clock=lambda: 0.0,
    )
    found = attribute(plan, ports=ports)
    assert all(engine.is_closed for engine in engines.engines)
    return found


def causes_of(found: Attribution) -> list[tuple[str, str]]:
    """Return the axes and values of the causes."""
    experiments = [each.effect.experiment for each in found.causes]
    return [(each.axis, each.value) for each in experiments]


def recorded_with(**facts: str) -> Golden:
    """Return a golden that was recorded with other settings."""
    settings = {f"setting.{name}": value for name, value in facts.items()}
    return golden_of(CELL, GOLDEN, provenance={**FACTS, **settings})


def by_flash_attention(spec: EngineSpec, cell: Cell) -> Generation:
    """Return the golden without flash attention."""
    del cell
    return OBSERVED if spec.settings["flash_attention"] else GOLDEN


def test_the_changed_setting_is_the_cause() -> None:
    """It is tried before everything else, and only once."""
    golden = recorded_with(flash_attention="false", threads="2", threads_batch="2")
    found = attributed(SettingEngines(voice=by_flash_attention), plan_of(golden))

    assert (found.reproduces, found.unchanged, found.machine) == (True, Likeness.OTHER, ())
    assert causes_of(found) == [("flash_attention", "false")]
    tried = [each.effect.experiment.axis for each in found.attempts]
    assert tried[:3] == ["flash_attention", "threads", "all changed settings"]
    assert (tried.count("flash_attention"), tried.count("threads")) == (1, 1)
    assert {"repack", "neighbours", "kv_type"} <= set(tried)
    assert "prefix reuse" in {each.axis for each in found.not_tried}


def test_a_cause_that_no_fact_shows_is_found() -> None:
    """By the table of axes."""
    found = attributed(SettingEngines(voice=by_flash_attention), plan_of(recorded_with()))

    assert causes_of(found) == [("flash_attention", "false")]


def test_two_changes_may_be_needed() -> None:
    """Neither alone has the golden's tokens."""

    def both(spec: EngineSpec, cell: Cell) -> Generation:
        is_old = not spec.settings["flash_attention"] and spec.settings["kv_type"] == "f32"
        return GOLDEN if is_old else THIRD if cell == RECORDED else OBSERVED

    golden = recorded_with(flash_attention="false", kv_type="f32")
    found = attributed(SettingEngines(voice=both), plan_of(golden))

    assert causes_of(found) == [("all changed settings", "as recorded")]


def test_the_definition_may_be_the_cause() -> None:
    """Settings are tried with the definition of the golden."""

    def by_definition(spec: EngineSpec, cell: Cell) -> Generation:
        del spec
        return GOLDEN if cell.sampler.temperature == 0.9 else OBSERVED

    golden = replace(recorded_with(), cell=RECORDED)
    found = attributed(SettingEngines(voice=by_definition), plan_of(golden))

    assert causes_of(found) == [("definition", "temperature 0.9")]
    later = [each.effect.experiment.cell for each in found.attempts[1:]]
    assert set(later) == {RECORDED}


def test_a_setting_may_be_the_cause_with_the_definition() -> None:
    """Neither alone gives the golden's tokens."""

    def by_both(spec: EngineSpec, cell: Cell) -> Generation:
        is_old = cell == RECORDED and not spec.settings["flash_attention"]
        return GOLDEN if is_old else OBSERVED

    golden = replace(recorded_with(flash_attention="false"), cell=RECORDED)
    found = attributed(SettingEngines(voice=by_both), plan_of(golden))

    assert causes_of(found) == [("flash_attention", "false")]
    assert found.causes[0].is_joint


def test_another_engine_may_be_the_cause() -> None:
    """If it is named."""

    def by_engine(spec: EngineSpec, cell: Cell) -> Generation:
        del cell
        return GOLDEN if spec.name == "other" else OBSERVED

    plan = plan_of(recorded_with(), engines=(engine_spec_of("other"),))

    assert causes_of(attributed(SettingEngines(voice=by_engine), plan)) == [("engine", "other")]


def test_no_setting_changes_a_prompt() -> None:
    """Only another engine may."""
    observed = replace(OBSERVED, prompt=GOLDEN.prompt[:1])
    plan = plan_of(recorded_with(), observed=observed, engines=(engine_spec_of("other"),))
    found = attributed(SettingEngines(voice=lambda *_: observed), plan)

    assert [each.effect.experiment.axis for each in found.attempts] == ["engine"]
    assert found.causes == ()


def test_a_machine_that_has_the_golden_s_tokens_needs_no_experiment() -> None:
    """What differs from the report is shown."""
    plan = replace(plan_of(recorded_with()), facts={**FACTS, "host.cpu": "x"})
    found = attributed(SettingEngines(voice=lambda *_: GOLDEN), plan)

    assert (found.reproduces, found.unchanged) == (False, Likeness.RECORDING)
    assert (found.attempts, found.not_tried) == ((), ())
    assert [change.name for change in found.machine] == ["host.cpu"]


def test_another_machine_is_searched_all_the_same() -> None:
    """A change that gives the golden's tokens there is one."""

    def elsewhere(spec: EngineSpec, cell: Cell) -> Generation:
        del cell
        return THIRD if spec.settings["flash_attention"] else GOLDEN

    found = attributed(SettingEngines(voice=elsewhere), plan_of(recorded_with()))

    assert not found.reproduces
    assert causes_of(found) == [("flash_attention", "false")]


def test_runs_that_differ_are_not_attributed() -> None:
    """Nothing could be concluded."""
    answers = iter([OBSERVED, THIRD])
    found = attributed(SettingEngines(voice=lambda *_: next(answers)), plan_of(recorded_with()))

    assert (found.is_repeated, found.attempts) == (False, ())


def test_without_an_engine_there_is_no_attribution() -> None:
    """Whoever asked learns why."""
    engines = SettingEngines(faults=lambda _: [Fault(what="load", about="tiny")])

    with pytest.raises(EngineFailed):
        attributed(engines, plan_of(recorded_with()))


def test_an_interruption_keeps_what_was_found() -> None:
    """The experiments before it."""

    def interrupted(spec: EngineSpec) -> Sequence[Fault]:
        is_meant = spec.settings["kv_type"] == "bf16"
        return [Fault(what="load", about="tiny", error=KeyboardInterrupt())] if is_meant else []

    engines = SettingEngines(voice=by_flash_attention, faults=interrupted)
    found = attributed(engines, plan_of(recorded_with(flash_attention="false")))

    assert found.interrupted
    assert causes_of(found) == [("flash_attention", "false")]
