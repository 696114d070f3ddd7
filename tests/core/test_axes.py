"""Experiments on a model: which there are, and what they show."""

from dataclasses import replace

import pytest

from repro_gate import protocol
from repro_gate.core.axes import (
    Bounds,
    CellEffect,
    Effect,
    Experiment,
    Impact,
    NotTried,
    alone,
    cell_effect,
    chosen_cells,
    experiments_of,
    setting_to,
)
from repro_gate.core.engines import CPU, ModelSpec
from repro_gate.core.tokens.generation import Choice, Divergence, Generation, Place
from tests.fakes.setting_engines import SETTINGS, model_of, program_of
from tests.fakes.values import (
    cell_of,
    engine_spec_of,
    generation_of,
    tokens_of,
    verification_of,
)

BOUNDS = Bounds(cores=4, prompt=20)
CELL = cell_of()
BEFORE = generation_of(7, 8, 9, is_traced=True)


def values_of(model: ModelSpec, axis: str, bounds: Bounds = BOUNDS) -> list[str]:
    """Return the values of an axis that are tried, and in brackets those that are not."""
    return [
        each.value if isinstance(each, Experiment) else f"({each.value})"
        for each in experiments_of(model, bounds)
        if each.axis == axis
    ]


def reason_of(model: ModelSpec, axis: str, value: str = "", bounds: Bounds = BOUNDS) -> str:
    """Return why a value is not tried."""
    (found,) = [
        each.reason
        for each in experiments_of(model, bounds)
        if isinstance(each, NotTried) and (each.axis, each.value) == (axis, value)
    ]
    return found


def effect_of(*cells: CellEffect) -> Effect:
    """Return the effect of a change."""
    model = model_of()
    return Effect(experiment=Experiment(axis="threads", value="2", model=model), cells=cells)


def test_each_axis_has_every_value_but_the_one_in_force() -> None:
    """On the CPU, with the defaults of settings that are not given."""
    values = {
        axis: values_of(model_of(), axis)
        for axis in ("threads", "flash_attention", "kv_type", "n_batch", "n_ubatch", "repack")
    }

    assert values == {
        "threads": ["2", "4"],
        "flash_attention": ["false"],
        "kv_type": ["f32", "bf16", "q8_0", "q4_0"],
        "n_batch": ["1", "2", "8", "(64)", "(512)"],
        "n_ubatch": ["1", "2", "8", "(64)", "(512)"],
        "repack": ["false"],
    }


def test_a_change_is_of_one_setting() -> None:
    """The other ones stay as they are."""
    (found,) = [each for each in experiments_of(model_of(), BOUNDS) if each.axis == "repack"]

    assert isinstance(found, Experiment)
    assert found.model == model_of(repack=False)
    assert found.facts_to_change(model_of()) == {"setting.repack": "false"}


def test_what_cannot_have_an_effect_is_not_tried() -> None:
    """Each with its reason."""
    one_core = Bounds(cores=1, prompt=20)

    assert reason_of(model_of(), "n_batch", "64") == "no prompt has more than 20 tokens"
    assert reason_of(model_of(), "threads", "2", one_core) == "this machine has 1 usable cores"
    assert reason_of(model_of(), "offload_kqv") == "without effect on the CPU"
    assert reason_of(model_of(), "prefix reuse").startswith("this engine has none")
    assert reason_of(model_of(), "device") == "the engine has only the CPU"


def test_what_the_engine_refuses_is_not_tried() -> None:
    """The reason is that of the engine."""
    model = model_of(flash_attention=False)

    assert values_of(model, "kv_type") == ["f32", "bf16", "(q8_0)", "(q4_0)"]
    assert "or flash_attention = true" in reason_of(model, "kv_type", "q8_0")


def test_flash_attention_off_needs_a_cache_that_allows_it() -> None:
    """Both are changed, and shown."""
    model = model_of(kv_type="q8_0")

    assert values_of(model, "flash_attention") == ["(false)", "false, with kv_type f16"]


def test_different_types_of_keys_and_values_differ_from_all() -> None:
    """They are set together."""
    pair = {"kv_type_k": "q8_0", "kv_type_v": "f16"}
    settings = {name: value for name, value in SETTINGS.items() if name != "kv_type"} | pair
    model = replace(model_of(), engine=replace(engine_spec_of(), settings=settings))

    assert values_of(model, "kv_type") == ["f32", "f16", "bf16", "q8_0", "q4_0"]
    assert setting_to(settings, "kv_type", "f16") == SETTINGS
    assert setting_to(SETTINGS, "kv_type_k", "q8_0") == settings


def test_a_small_batch_has_small_parts() -> None:
    """As in llama.cpp, which would cut them."""
    assert setting_to({"n_batch": 256, "n_ubatch": 64}, "n_batch", 8) == {
        "n_batch": 8,
        "n_ubatch": 8,
    }
    assert setting_to({"n_batch": 256, "n_ubatch": 64}, "n_ubatch", None) == {"n_batch": 256}


def test_a_gpu_has_axes_of_its_own() -> None:
    """Offloading, and the CPU without those settings."""
    model = model_of("cuda", offload_kqv=True)
    (cpu,) = [each for each in experiments_of(model, BOUNDS) if each.axis == "device"]

    assert values_of(model, "offload_kqv") == ["false"]
    assert values_of(model, "op_offload") == ["false"]
    assert isinstance(cpu, Experiment)
    assert cpu.model == model_of("cpu")
    assert CPU == protocol.CPU


def test_other_devices_and_engines_are_tried_where_they_are_known() -> None:
    """An engine need not report the changed settings of another one."""
    bounds = replace(BOUNDS, devices=("cuda",), engines=(engine_spec_of("other"),))
    found = {each.axis: each for each in experiments_of(model_of(), bounds)}

    assert values_of(model_of(), "device", bounds) == ["cuda"]
    assert isinstance(found["engine"], Experiment)
    assert found["engine"].model.engine.name == "other"
    assert found["engine"].facts_to_change(model_of()) == {}


def test_another_program_has_no_known_settings() -> None:
    """Its neighbours are an axis all the same."""
    model = program_of(model_of())
    found = list(experiments_of(model, BOUNDS))

    assert [each.axis for each in found] == ["settings", "prefix reuse", "neighbours"]
    assert isinstance(found[2], Experiment)
    assert found[2].model == alone(model) == model
    assert found[2].facts_to_change(model) == {}


def test_a_few_cells_are_of_different_prompts() -> None:
    """Another seed of a prompt comes after all prompts."""
    one, two, other = cell_of("a", seed=1), cell_of("a", seed=2), cell_of("b")

    assert chosen_cells([one, two, other], limit=2) == (one, other)
    assert chosen_cells([one, two, other]) == (one, other, two)


def test_equal_runs_are_an_invariance() -> None:
    """Of tokens and log-probabilities."""
    found = cell_effect(CELL, BEFORE, BEFORE, ())

    assert (found.is_exact, found.largest_shift, found.distance) == (True, 0.0, 0.0)
    assert effect_of(found).impact is Impact.NONE


def test_one_bit_of_a_log_probability_is_seen() -> None:
    """With the same tokens."""
    best = BEFORE.trace[0].best
    moved = (Choice(logprob=-0.5 + 2**-40, best=best), *BEFORE.trace[1:])
    found = cell_effect(CELL, BEFORE, replace(BEFORE, trace=moved), ())

    assert found.is_exact is False
    assert found.largest_shift == pytest.approx(2**-40)
    assert effect_of(found).impact is Impact.LOGPROBS


def test_one_bit_of_a_logit_is_seen() -> None:
    """Where the log-probabilities that are known do not show it."""
    before, now = (replace(BEFORE, logits=(one * 16, "b" * 16, "c" * 16)) for one in "ad")
    found = cell_effect(CELL, before, now, ())

    assert (found.divergence, found.is_exact, found.largest_shift) == (None, False, 0.0)
    assert effect_of(found).impact is Impact.LOGPROBS
    assert cell_effect(CELL, before, before, ()).is_exact


def test_other_tokens_are_measured_by_the_unchanged_ones() -> None:
    """They are forced through the changed engine."""
    now = generation_of(7, 5, 9, is_traced=True)
    found = cell_effect(CELL, BEFORE, now, verification_of(BEFORE))

    divergence = Divergence(
        place=Place.OUTPUT, position=1, expected=tokens_of(8)[0], observed=tokens_of(5)[0]
    )
    assert (found.divergence, found.largest_shift) == (divergence, 1.0)
    assert found.distance == pytest.approx(0.02)
    assert found.kl_divergence is not None
    assert effect_of(found).impact is Impact.TOKENS


def test_without_a_verification_little_is_known() -> None:
    """Only the shift up to the fork."""
    now = generation_of(5, 8, 9, is_traced=True)
    effect = effect_of(cell_effect(CELL, BEFORE, now, ()), cell_effect(CELL, BEFORE, BEFORE, ()))

    assert (effect.changed, effect.distance, effect.kl_divergence) == (1, None, None)
    assert effect.largest_shift is not None


def test_without_traces_only_tokens_are_compared() -> None:
    """Which is not called an invariance."""
    plain: Generation = replace(BEFORE, trace=())
    effect = effect_of(cell_effect(CELL, plain, plain, ()))

    assert (effect.impact, effect.largest_shift) == (Impact.UNSEEN, None)
