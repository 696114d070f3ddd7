"""What is measured, and how often."""

import re
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.engines import EngineKind
from repro_gate.core.matrix import (
    Evidence,
    Plan,
    PromptSpec,
    Suite,
    Variant,
    build_cells,
    level_alone,
    plan,
)
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.core.tokens.modes import ALONE, RESTART, Level, in_order, mode_of
from repro_gate.errors import UsageInvalid
from tests.fakes.counting import calls_in
from tests.fakes.scoring import suite_of_logprobs
from tests.fakes.values import (
    CHAT,
    GREEDY,
    SAMPLED,
    cell_of,
    engine_spec_of,
    matrix_of,
    reference_of,
    suite_of,
)

HAIKU, FOX = cell_of("haiku"), cell_of("fox")
OTHER = cell_of("haiku", model="other")


def test_cells_are_models_by_prompts_by_seeds() -> None:
    """Each model is asked its own prompts at every seed, in that order."""
    prompts = {
        "haiku": PromptSpec(text="Say haiku", max_tokens=4, sampler=SAMPLED),
        "fox": PromptSpec(text="Say fox", max_tokens=9, sampler=GREEDY),
    }
    cells = build_cells(
        prompts_of={"tiny": ["haiku", "fox"], "other": ["haiku"]}, prompts=prompts, seeds=[7, 1]
    )

    assert cells == (
        cell_of("haiku", seed=7),
        cell_of("haiku", seed=1),
        cell_of("fox", seed=7, max_tokens=9, sampler=GREEDY),
        cell_of("fox", seed=1, max_tokens=9, sampler=GREEDY),
        cell_of("haiku", seed=7, model="other"),
        cell_of("haiku", seed=1, model="other"),
    )


def test_the_default_suites_are_planned() -> None:
    """Without a wish, what the matrix calls its default is measured, and all of it is claimed."""
    quick, release = suite_of(HAIKU, FOX), suite_of(OTHER, name="release")
    matrix = matrix_of(quick, release)

    assert plan(matrix) == Plan(
        suites={HAIKU: quick, FOX: quick},
        models={"tiny": matrix.models["tiny"]},
        claimed=frozenset({HAIKU.id, FOX.id, OTHER.id}),
    )


def test_named_suites_are_planned_in_their_order() -> None:
    """Asking for suites leaves the default ones out."""
    matrix = matrix_of(
        suite_of(HAIKU), suite_of(OTHER, name="release"), suite_of(FOX, name="extra")
    )

    assert plan(matrix, suites=["extra", "release"]).cells == (FOX, OTHER)


def test_a_plan_knows_its_cells() -> None:
    """The model and the number of runs of each cell can be asked for."""
    matrix = matrix_of(suite_of(HAIKU, OTHER, runs=5))
    planned = plan(matrix)

    assert planned.cells == (HAIKU, OTHER)
    assert planned.model_of(OTHER) == matrix.models["other"]
    assert planned.runs_of(OTHER) == 5


@pytest.mark.parametrize(
    ("only", "cells"),
    [
        (None, (HAIKU, FOX, OTHER)),
        ("*", (HAIKU, FOX, OTHER)),
        ("tiny--*", (HAIKU, FOX)),
        ("*--haiku--*", (HAIKU, OTHER)),
        ("TINY--*", ()),
        ("tiny", ()),
    ],
)
def test_a_pattern_cuts_the_plan_but_not_what_is_claimed(
    only: str | None, cells: tuple[object, ...]
) -> None:
    """A pattern is for whole ids in their own case, and a golden outside it is no orphan."""
    planned = plan(matrix_of(suite_of(HAIKU, FOX, OTHER)), only=only)

    assert planned.cells == cells
    assert planned.claimed == {HAIKU.id, FOX.id, OTHER.id}


def test_only_the_models_of_planned_cells_are_planned() -> None:
    """No engine is started for a model without selected cells."""
    assert set(plan(matrix_of(suite_of(HAIKU, OTHER)), only="other--*").models) == {"other"}


@pytest.mark.parametrize(("runs", "fresh_runs"), [(1, 0), (2, 1), (3, 2), (10, 2)])
def test_the_number_of_runs_can_be_overridden(runs: int, fresh_runs: int) -> None:
    """Fresh runs stay fresh, as long as one run is left to come before them."""
    quick = suite_of(HAIKU, runs=5, fresh_runs=2)

    assert plan(matrix_of(quick), runs=runs).suites == {
        HAIKU: replace(quick, runs=runs, fresh_runs=fresh_runs)
    }


def test_a_shared_cell_is_measured_once_as_often_as_any_suite_asks() -> None:
    """Of two suites the more demanding one decides, whichever comes first."""
    quick, deep = suite_of(HAIKU, FOX, runs=2), suite_of(FOX, name="deep", runs=10)
    matrix = matrix_of(quick, deep)

    for names in (["quick", "deep"], ["deep", "quick"]):
        assert plan(matrix, suites=names).suites == {HAIKU: quick, FOX: deep}


def test_the_first_of_equal_suites_keeps_a_shared_cell() -> None:
    """Of suites with equal numbers of runs, the first is used."""
    quick, twin = suite_of(HAIKU), suite_of(HAIKU, name="twin")

    assert plan(matrix_of(quick, twin), suites=["quick", "twin"]).suites == {HAIKU: quick}


@pytest.mark.parametrize("against", [None, "cpu-other"])
def test_suites_that_judge_a_shared_cell_differently_are_refused(against: str | None) -> None:
    """Its one verdict would be strict or mild by the number of runs."""
    strict = suite_of(HAIKU, FOX)
    mild = replace(
        suite_of(FOX, name="mild", runs=9),
        fail_on=FailingDrift.BEYOND_ROUNDING,
        against=against,
    )

    with pytest.raises(UsageInvalid, match="suites quick and mild judge tiny--fox--seed42 diff"):
        plan(matrix_of(strict, mild), suites=["quick", "mild"])
    assert plan(matrix_of(strict, mild), suites=["mild"]).suites == {FOX: mild}


def test_a_shared_cell_is_compared_by_the_strictest_evidence() -> None:
    """Whichever of its suites has more runs, and whichever comes first."""
    quick = suite_of(HAIKU, FOX, runs=10)
    strict = replace(suite_of(FOX, name="strict", runs=2), evidence=Evidence.LOGITS)
    matrix = matrix_of(quick, strict)

    for names in (["quick", "strict"], ["strict", "quick"]):
        found = plan(matrix, suites=names)
        assert found.suites[FOX] == replace(quick, evidence=Evidence.LOGITS)
        assert (found.compares_logits(FOX), found.compares_logits(HAIKU)) == (True, False)


def in_modes(suite: Suite, **levels: str) -> Suite:
    """Return a suite with modes, given with underscores."""
    alone = level_alone(suite.evidence)
    modes = {mode_of(name.replace("_", "-")): Level(level) for name, level in levels.items()}
    return replace(suite, modes=in_order({ALONE: alone, **modes}))


def test_a_shared_cell_has_the_modes_of_all_its_suites_at_the_strictest_level() -> None:
    """As many runs are alone as the suite with the most of them asks for."""
    quick = in_modes(suite_of(HAIKU, runs=10), repeat="any", concurrent_4="tokens")
    exact = replace(suite_of(HAIKU, name="exact", runs=4), evidence=Evidence.LOGITS)
    other = in_modes(exact, repeat="bits", restart="tokens")
    matrix = matrix_of(quick, other)

    for names in (["quick", "exact"], ["exact", "quick"]):
        found = plan(matrix, suites=names).suites[HAIKU]
        assert {str(mode): level.value for mode, level in found.modes.items()} == {
            "alone": "bits",
            "concurrent-4": "tokens",
            "repeat": "bits",
            # The fresh run of the first suite has to equal the others.
            "restart": "bits",
        }
        assert (found.repeated, found.restarts, found.runs) == (10, 1, 11)


def test_modes_are_kept_beside_a_suite_without_any() -> None:
    """A longer suite without modes does not remove them, and leaves two runs alone."""
    served = in_modes(suite_of(HAIKU, name="served"), repeat="tokens")
    fresh = suite_of(HAIKU, runs=4, fresh_runs=3)
    found = plan(matrix_of(fresh, served), suites=["quick", "served"])

    assert found.modes_of(HAIKU) == served.modes
    assert (found.suites[HAIKU].runs, found.suites[HAIKU].fresh_runs) == (5, 3)
    assert found.alone.modes_of(HAIKU) == {}


def test_restarts_of_two_suites_are_the_larger_number() -> None:
    """Where both have the mode, no fresh run is one of a cell's own."""
    one = in_modes(suite_of(HAIKU, runs=5, fresh_runs=2), restart="any")
    two = in_modes(suite_of(HAIKU, name="two", runs=6), restart="any")
    found = plan(matrix_of(one, two), suites=["quick", "two"]).suites[HAIKU]

    assert (found.repeated, found.restarts) == (5, 2)
    assert found.modes[RESTART] is Level.ANY


@pytest.mark.parametrize(("mode", "least"), [("repeat", 2), ("restart", 3)])
def test_fewer_runs_than_modes_need_are_refused(mode: str, least: int) -> None:
    """With `--runs` as many as possible stay in a fresh process."""
    matrix = matrix_of(in_modes(suite_of(HAIKU, runs=9, fresh_runs=4), **{mode: "any"}))

    with pytest.raises(UsageInvalid, match=f"at least {least} runs, not --runs {least - 1}"):
        plan(matrix, runs=least - 1)
    suite = plan(matrix, runs=least).suites[HAIKU]
    assert (suite.runs, suite.fresh_runs) == (least, least - 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"modes": {RESTART: Level.ANY}},
        {"modes": {ALONE: Level.ANY}},
        {"modes": {ALONE: Level.BITS}},
        {"modes": {ALONE: Level.TOKENS, RESTART: Level.BITS}},
        {"modes": {ALONE: Level.TOKENS}, "runs": 1, "fresh_runs": 0},
        {"modes": {ALONE: Level.TOKENS}, "runs": 3, "fresh_runs": 2},
        {"modes": {ALONE: Level.TOKENS, RESTART: Level.ANY}, "fresh_runs": 0},
        {
            "modes": {ALONE: Level.TOKENS},
            "fail_on": FailingDrift.BEYOND_ROUNDING,
            "against": "gpu",
        },
    ],
)
def test_modes_that_cannot_be_judged_are_refused(changes: dict[str, Any]) -> None:
    """Without two runs alone, or with another level than the evidence has."""
    with pytest.raises(ValueError, match=r"\S"):
        replace(suite_of(HAIKU), **changes)


def test_logits_of_another_profile_are_not_compared() -> None:
    """They always differ."""
    mild = replace(suite_of(HAIKU), fail_on=FailingDrift.BEYOND_ROUNDING, against="gpu")
    with pytest.raises(ValueError, match="between profiles the logits always differ"):
        replace(mild, evidence=Evidence.LOGITS)


def test_any_drift_from_another_profile_is_no_finding() -> None:
    """Rounding differs between profiles."""
    with pytest.raises(ValueError, match="only a drift beyond rounding can fail"):
        replace(suite_of(HAIKU), against="gpu")


def test_an_unknown_suite_is_refused() -> None:
    """The message names it and the suites that there are."""
    matrix = matrix_of(suite_of(HAIKU), suite_of(FOX, name="release"))
    message = "there is no suite 'nightly' in the matrix; it has: quick, release"
    with pytest.raises(UsageInvalid, match=re.escape(message)):
        plan(matrix, suites=["quick", "nightly"])


def test_suites_of_log_probabilities_have_no_part_in_a_plan_of_tokens() -> None:
    """Their names are known, by default and by name, and add no cell."""
    quick = suite_of(HAIKU)
    hosted = suite_of_logprobs()
    both = replace(
        matrix_of(quick),
        logprob_suites={hosted.name: hosted},
        default_suites=(quick.name, hosted.name),
    )

    assert plan(both).cells == plan(both, suites=["hosted", "quick"]).cells == (HAIKU,)
    assert plan(both, suites=["hosted"]).cells == ()
    message = "there is no suite 'host' in the matrix; it has: quick, hosted"
    with pytest.raises(UsageInvalid, match=re.escape(message)):
        plan(both, suites=["host"])


def test_two_cells_of_one_id_are_refused() -> None:
    """A golden could speak for only one of them."""
    with pytest.raises(ValueError, match=f"two different cells share the id {HAIKU.id}"):
        matrix_of(suite_of(HAIKU), suite_of(replace(HAIKU, text="Shout"), name="loud"))


def test_suites_may_share_a_cell() -> None:
    """The same cell twice is one cell."""
    assert list(matrix_of(suite_of(HAIKU), suite_of(HAIKU, name="twin")).cells()) == [HAIKU, HAIKU]


@pytest.mark.parametrize(
    ("runs", "fresh_runs", "message"),
    [
        (0, 0, "runs must be at least 1, got 0"),
        (3, 3, "fresh_runs must lie between 0 and 2, got 3"),
        (3, -1, "fresh_runs must lie between 0 and 2, got -1"),
    ],
)
def test_a_suite_without_a_first_run_is_refused(runs: int, fresh_runs: int, message: str) -> None:
    """Fresh runs are compared with a run before them, so there must be one."""
    with pytest.raises(ValueError, match=message):
        suite_of(HAIKU, runs=runs, fresh_runs=fresh_runs)


def test_planning_takes_as_many_steps_as_there_are_cells() -> None:
    """Ten times the cells are ten times the work, not a hundred times."""

    def calls_for(cells: int) -> int:
        suite = suite_of(*(cell_of(seed=seed) for seed in range(1, cells + 1)))
        return calls_in(lambda: plan(matrix_of(suite), only="*seed1*"))

    assert calls_for(10_000) <= 10.5 * calls_for(1_000)


def test_a_prompt_is_a_text_or_a_chat() -> None:
    """One without both asks nothing."""
    assert PromptSpec(text="", chat=CHAT, max_tokens=1, sampler=GREEDY).chat == CHAT
    with pytest.raises(ValueError, match="text"):
        PromptSpec(text="", max_tokens=1, sampler=GREEDY)


def test_a_variant_changes_settings_or_the_engine() -> None:
    """Of each model; it may have all of it already."""
    model = matrix_of(suite_of(HAIKU)).models["tiny"]
    other = replace(engine_spec_of("other"), settings={"threads": 2})
    two, swap = (
        Variant(name="two", settings={"threads": 2}),
        Variant(name="swap", engine=other),
    )

    assert two.of(model).engine == replace(model.engine, settings={"threads": 2})
    assert swap.of(model).engine == other
    assert [each.changes(model) for each in (two, swap)] == [True, True]
    same = Variant(name="same", settings={"threads": 1, "threads_batch": 1})
    assert not same.changes(model)
    assert not Variant(name="twin", engine=engine_spec_of("twin")).changes(model)


def test_a_variant_of_a_program_has_its_own_settings() -> None:
    """And its command."""
    program = replace(
        engine_spec_of(), kind=EngineKind.COMMAND, command=("./e", "-x"), settings={"depth": 1}
    )
    model = replace(matrix_of(suite_of(HAIKU)).models["tiny"], engine=program)
    deep = Variant(name="deep", settings={"depth": 2, "mode": "a", "shares": [1, 2]})

    assert deep.changes(model)
    assert not Variant(name="same", settings={"depth": 1}).changes(model)
    assert deep.of(model).engine.settings == {"depth": 2, "mode": "a", "shares": [1, 2]}
    assert deep.change == {
        "setting.depth": "2",
        "setting.mode": "a",
        "setting.shares": "[1, 2]",
    }
    assert Variant(name="e", engine=program).change == {
        "engine": "scripted",
        "command": "./e -x",
        "setting.depth": "1",
    }


def test_a_matrix_names_the_references_that_count() -> None:
    """Those of its variants as they are, and those of machines."""
    two = Variant(name="two", settings={"threads": 2})
    matrix = replace(matrix_of(suite_of(HAIKU)), variants={"two": two})
    recorded = replace(reference_of(variant="two"), change=two.change)

    assert matrix.names(recorded)
    assert matrix.names(reference_of(variant="h200"))
    assert not matrix.names(replace(recorded, change={"setting.threads": "4"}))
    assert not matrix.names(replace(recorded, variant="three"))
    assert not matrix.names(reference_of(variant="two"))
