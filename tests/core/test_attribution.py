"""The causes of a divergence that can be tried, and which of them it is."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from repro_gate.core.attribution import (
    AS_RECORDED,
    DEFINITION,
    TOGETHER,
    Attribution,
    Likeness,
    definition_put_back,
    golden_of,
    likeness,
    not_put_back,
    settings_put_back,
)
from repro_gate.core.axes import Effect, Experiment, NotTried, cell_effect
from repro_gate.core.engines import ModelSpec, Setting
from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Choice, Generation, first_divergence
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Drift, FormerGolden, Match, Unrecorded, Verdict
from tests.fakes.setting_engines import SETTINGS, model_of, program_of
from tests.fakes.values import (
    CHAT,
    PENALISED,
    PROFILE,
    SAMPLED,
    cell_of,
    generation_of,
)
from tests.fakes.values import (
    golden_of as committed_of,
)

CELL = cell_of()
GOLDEN = generation_of(7, 8, 9, is_traced=True)
OTHER = generation_of(7, 5, 9, is_traced=True)
MOVED = replace(GOLDEN, trace=(Choice(logprob=-0.6, best=GOLDEN.trace[0].best), *GOLDEN.trace[1:]))


def change_of(name: str, before: str | None, after: str | None) -> FactChange:
    """Return the change of a setting."""
    return FactChange(name=f"setting.{name}", before=before, after=after)


def put_back(model: ModelSpec, *changes: FactChange) -> dict[tuple[str, str], ModelSpec]:
    """Return the models of the experiments that put settings back."""
    found = settings_put_back(changes, model)
    return {(each.axis, each.value): each.model for each in found if isinstance(each, Experiment)}


def effect_of(axis: str, value: str, now: Generation) -> Effect:
    """Return the effect of a change in a run with other tokens than the golden."""
    return Effect(
        experiment=Experiment(axis=axis, value=value, model=model_of()),
        cells=(cell_effect(CELL, OTHER, now, ()),),
    )


def found_of(candidates: Sequence[Effect] = (), axes: Sequence[Effect] = ()) -> Attribution:
    """Return what some experiments show."""
    return Attribution(
        cell=CELL,
        golden=GOLDEN,
        reproduces=True,
        unchanged=Likeness.OTHER,
        is_gone=False,
        machine=(),
        is_repeated=True,
        candidates=tuple(candidates),
        axes=tuple(axes),
    )


def causes_of(found: Attribution) -> list[tuple[str, str]]:
    """Return the axes and values of the causes."""
    experiments = [each.effect.experiment for each in found.causes]
    return [(each.axis, each.value) for each in experiments]


def test_a_changed_setting_is_put_back() -> None:
    """The others stay as they are now."""
    model = model_of(repack=False)
    assert put_back(model, change_of("repack", "true", "false")) == {
        ("repack", "true"): model_of(repack=True)
    }


def test_several_changed_settings_are_put_back_together_too() -> None:
    """One of them alone may not be enough."""
    found = put_back(
        model_of(), change_of("flash_attention", "false", "true"), change_of("threads", "2", "1")
    )
    assert list(found) == [("flash_attention", "false"), ("threads", "2"), (TOGETHER, AS_RECORDED)]
    assert found[TOGETHER, AS_RECORDED] == model_of(flash_attention=False, threads=2)


def test_a_setting_that_follows_another_is_put_back_with_it() -> None:
    """Unless it is given, or had another value."""
    changes = change_of("threads", "2", "1"), change_of("threads_batch", "2", "1")
    other = change_of("threads_batch", "3", "1")
    assert put_back(model_of(), *changes) == {("threads", "2"): model_of(threads=2)}
    assert ("threads_batch", "2") in put_back(model_of(threads_batch=1), *changes)
    assert ("threads_batch", "3") in put_back(model_of(), changes[0], other)


def test_a_type_of_the_cache_is_put_back_for_keys_and_values() -> None:
    """The facts of both are gone with it."""
    pair: dict[str, Setting] = {"kv_type_k": "q8_0", "kv_type_v": "f16"}
    settings = {name: value for name, value in SETTINGS.items() if name != "kv_type"} | pair
    model = replace(model_of(), engine=replace(model_of().engine, settings=settings))
    changes = [
        change_of("kv_type", "f16", None),
        change_of("kv_type_k", None, "q8_0"),
        change_of("kv_type_v", None, "f16"),
    ]
    assert put_back(model, *changes) == {("kv_type", "f16"): model_of()}


def test_what_was_not_set_is_removed() -> None:
    """As are all values of the rope where those of the model were in force."""
    scaled = model_of(rope_scaling="linear", rope_freq_scale=0.5)
    assert put_back(scaled, change_of("rope", "model", None)) == {("rope", "model"): model_of()}
    based = model_of(rope_freq_base=1e6)
    removed = put_back(based, change_of("rope_freq_base", None, "1000000"))
    assert removed == {("rope_freq_base", "not set"): model_of()}


def test_what_an_old_golden_does_not_record_is_not_put_back() -> None:
    """It may not have changed."""
    assert put_back(model_of(), change_of("repack", None, "true")) == {}
    assert put_back(model_of(), change_of("no_host", "true", "false")) == {}
    assert put_back(program_of(model_of()), change_of("repack", "false", "true")) == {}


def test_a_fact_that_is_no_value_is_not_tried() -> None:
    """It may come from another version."""
    (found,) = settings_put_back([change_of("threads", "some", "1")], model_of())
    assert isinstance(found, NotTried)
    assert found.reason.startswith("its fact is no value: expected ")


def test_what_cannot_be_put_back_is_listed() -> None:
    """Consequences, new facts and settings are not."""
    names = ("model.sha256", "memory.kv", "setting.threads", "library.a.sha256")
    changes = [FactChange(name=name, before="a", after="b") for name in names]
    new = FactChange(name="host.libc", before=None, after="b")
    found = [(each.axis, each.value) for each in not_put_back([*changes, new])]
    assert found == [("model", "sha256"), ("library", "a.sha256")]


@pytest.mark.parametrize(
    ("recorded", "value"),
    [
        (replace(CELL, max_tokens=9), "max_tokens 9"),
        (replace(CELL, stop=("x",)), "stop"),
        (replace(CELL, text="", chat=CHAT), "prompt"),
        (replace(CELL, sampler=replace(SAMPLED, temperature=0.9)), "temperature 0.9"),
    ],
)
def test_a_changed_definition_is_put_back(recorded: Cell, value: str) -> None:
    """A single value is the recorded definition."""
    (found,) = definition_put_back(recorded, CELL, model_of())
    assert isinstance(found, Experiment)
    assert (found.axis, found.value, found.cell) == (DEFINITION, value, recorded)


def test_several_values_of_a_definition_are_put_back_together_too() -> None:
    """Not those that have no effect without the others."""
    recorded = replace(CELL, sampler=PENALISED)
    found = list(definition_put_back(recorded, CELL, model_of()))
    values = [each.value for each in found]
    assert values == ["temperature 1.0", "top_k 0", "top_p 1.0", "min_p 0.0", AS_RECORDED]
    last = found[-1]
    assert isinstance(last, Experiment)
    assert last.cell == recorded


def test_a_run_is_like_a_golden_by_tokens_and_log_probabilities() -> None:
    """As far as both are known."""
    assert likeness(GOLDEN, GOLDEN) is Likeness.RECORDING
    assert likeness(GOLDEN, MOVED) is Likeness.TOKENS
    assert likeness(GOLDEN, replace(GOLDEN, trace=())) is Likeness.UNKNOWN
    assert likeness(GOLDEN, OTHER) is Likeness.OTHER


def test_logits_are_compared_where_both_have_them() -> None:
    """The cause of other logits has to give those of the golden."""
    golden, now = (replace(GOLDEN, logits=(one * 16, "b" * 16, "c" * 16)) for one in "ad")
    found = replace(found_of([effect_of("threads", "2", MOVED)]), unchanged=Likeness.TOKENS)
    assert likeness(golden, golden) is Likeness.RECORDING
    assert likeness(golden, now) is Likeness.TOKENS
    assert causes_of(found) == []
    recording = [effect_of("repack", "true", GOLDEN)]
    assert causes_of(replace(found, axes=tuple(recording))) == [("repack", "true")]


def test_the_cause_has_the_log_probabilities_of_the_golden() -> None:
    """Equal tokens alone may be a coincidence."""
    found = found_of([effect_of("threads", "2", MOVED)], [effect_of("repack", "true", GOLDEN)])
    assert causes_of(found) == [("repack", "true")]


def test_what_changed_is_a_cause_before_what_did_not() -> None:
    """One thing before several."""
    settings = effect_of("kv_type", "f16", GOLDEN)
    found = found_of(
        [effect_of(TOGETHER, AS_RECORDED, GOLDEN), settings], [effect_of("kv_type", "f32", GOLDEN)]
    )
    assert causes_of(found) == [("kv_type", "f16")]
    assert [each.is_put_back for each in found.attempts] == [True, True, False]


def test_several_changes_may_be_the_cause_together() -> None:
    """Where none alone is."""
    alone = effect_of("kv_type", "f16", OTHER)
    found = found_of([alone, effect_of(TOGETHER, AS_RECORDED, GOLDEN)])
    assert causes_of(found) == [(TOGETHER, AS_RECORDED)]
    assert causes_of(found_of([alone])) == []


def _report(verdict: Verdict) -> CellReport:
    return CellReport(
        suite="s", cell=CELL, verdict=verdict, runs=2, generation=OTHER, profile=PROFILE
    )


def test_the_golden_of_a_divergence() -> None:
    """Of a drift it is in the report, of another definition in the checkout."""
    golden = committed_of(CELL, GOLDEN)
    divergence = first_divergence(GOLDEN, OTHER)
    assert divergence is not None
    drift = Drift(divergence=divergence, golden=golden, provenance=())
    former = Unrecorded(reason="x", former=FormerGolden(divergence=divergence))
    newer = committed_of(CELL, generation_of(7))
    assert golden_of(_report(drift), None) == golden
    assert golden_of(_report(former), golden) == golden
    assert golden_of(_report(former), newer) is golden_of(_report(former), None) is None
    assert golden_of(_report(Match()), golden) is None
