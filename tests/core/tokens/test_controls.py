"""What shows that another seed and another prompt change the output of a model."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.tokens.cell import MAX_SEED, Cell, Factor, Sampler
from repro_gate.core.tokens.controls import (
    HEATS,
    HOT,
    Contrast,
    Control,
    agreeing_seeds,
    applies,
    further,
    is_milder,
    is_settled,
    judge_controls,
    shown_by,
)
from repro_gate.core.tokens.generation import Generation, Stop, output_divergence
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.samplers import Sampling
from tests.fakes.values import (
    GREEDY,
    PENALISED,
    SAMPLED,
    answer_to,
    cell_of,
    contrast_of,
    control_of,
    generation_of,
)

HAIKU, HAIKU_7 = cell_of("haiku"), cell_of("haiku", seed=7)
FOX, FOX_7 = cell_of("fox"), cell_of("fox", seed=7)
ENDED = Stop.END_OF_GENERATION
LOST = Inconclusive(reason="the engine died", remedy=None)


def _seeds(cell: Cell, varied: Cell) -> Contrast:
    return Contrast(factor=Factor.SEED, cell=cell, varied=varied)


def _prompts(cell: Cell, varied: Cell) -> Contrast:
    return Contrast(factor=Factor.PROMPT, cell=cell, varied=varied)


@pytest.mark.parametrize(
    ("factor", "varied"),
    [
        (Factor.SEED, HAIKU),
        (Factor.SEED, replace(HAIKU_7, max_tokens=9)),
        (Factor.SEED, replace(HAIKU_7, sampler=HOT)),
        (Factor.SEED, FOX_7),
        (Factor.SEED, replace(HAIKU_7, model="other")),
        (Factor.PROMPT, HAIKU),
        (Factor.PROMPT, FOX_7),
        (Factor.PROMPT, replace(FOX, sampler=HOT)),
        (Factor.PROMPT, replace(FOX, model="other")),
    ],
)
def test_a_contrast_varies_one_factor_alone(factor: Factor, varied: Cell) -> None:
    """Where two things are changed, neither is shown to matter."""
    with pytest.raises(ValueError, match=f"do not differ by their {factor} alone"):
        Contrast(factor=factor, cell=HAIKU, varied=varied)


def test_cells_that_differ_by_seed_alone_are_evidence() -> None:
    """They cost nothing; one prompt whose seeds agree does not hide another whose seeds differ."""
    observed = {
        HAIKU: generation_of(1, 2),
        HAIKU_7: generation_of(1, 2),
        FOX: generation_of(4, 5),
        FOX_7: generation_of(4, 6),
    }

    assert shown_by(Factor.SEED, observed) == _seeds(FOX, FOX_7)
    assert list(agreeing_seeds(observed)) == [(HAIKU, HAIKU_7)]


def test_the_order_of_the_cells_does_not_decide() -> None:
    """A factual prompt before a story is as good as one after it."""
    observed = {
        FOX: generation_of(4, 5),
        FOX_7: generation_of(4, 6),
        HAIKU: generation_of(1, 2),
        HAIKU_7: generation_of(1, 2),
    }

    assert shown_by(Factor.SEED, observed) == _seeds(FOX, FOX_7)


def test_greedy_cells_are_no_evidence_for_seeds() -> None:
    """At temperature 0 a difference between seeds would be a defect."""
    cells = [replace(cell, sampler=GREEDY) for cell in (HAIKU, HAIKU_7)]

    assert shown_by(Factor.SEED, dict(zip(cells, map(generation_of, (1, 2)), strict=True))) is None
    assert not applies(Factor.SEED, cells)


def test_cells_that_differ_by_prompt_alone_are_evidence() -> None:
    """Also where their lengths differ, as far as both go."""
    longer = replace(FOX, max_tokens=9)
    observed = {HAIKU: generation_of(1, 2), longer: generation_of(1, 3, 4)}

    assert shown_by(Factor.PROMPT, observed) == _prompts(HAIKU, longer)


def test_greedy_cells_are_evidence_for_prompts_whatever_their_seeds() -> None:
    """The seed changes nothing there, so it need not be the same."""
    cell, other = replace(HAIKU, sampler=GREEDY), replace(FOX_7, sampler=GREEDY)

    found = shown_by(Factor.PROMPT, {cell: generation_of(1), other: generation_of(2)})
    assert found == _prompts(cell, other)


@pytest.mark.parametrize(
    "other", [FOX_7, replace(FOX, sampler=GREEDY), replace(FOX, model="copy"), replace(HAIKU)]
)
def test_cells_that_differ_by_more_than_the_prompt_are_no_evidence(other: Cell) -> None:
    """An engine that ignores its prompt may still use seed, temperature and model."""
    observed = {HAIKU: generation_of(1), other: generation_of(2)}

    assert shown_by(Factor.PROMPT, observed) is None


@pytest.mark.parametrize(
    ("first", "second", "is_difference"),
    [
        (generation_of(1, 2), generation_of(1, 2, 3), False),
        (generation_of(1, 2, stop=ENDED), generation_of(1, 2, 3), True),
        (generation_of(1, 2, stop=ENDED), generation_of(1, 2, stop=ENDED), False),
        (generation_of(), generation_of(), False),
        (generation_of(), generation_of(1), True),
        (generation_of(stop=ENDED), generation_of(1), True),
        (generation_of(1, prompt=(1,)), generation_of(1, prompt=(2,)), False),
    ],
)
def test_outputs_are_compared_as_far_as_both_were_let_go(
    first: Generation, second: Generation, *, is_difference: bool
) -> None:
    """To end by itself is an answer; to be cut short is none, and the prompt is no output."""
    assert (output_divergence(first, second) is not None) is is_difference
    assert (output_divergence(second, first) is not None) is is_difference


def test_further_seeds_begin_with_the_hottest_and_longest_cells() -> None:
    """The most likely to differ come first, each prompt once, and each is then run hot."""
    cold = replace(HAIKU, sampler=replace(SAMPLED, temperature=0.1))
    long = replace(FOX, max_tokens=9)
    moon, sea = cell_of("moon", sampler=HOT), cell_of("sea", sampler=GREEDY)
    cells = [cold, replace(cold, seed=43), long, FOX_7, moon, sea]

    tried = [
        each
        for cell in (moon, long, cold)
        for each in (
            cell,
            replace(cell, sampler=HOT, max_tokens=16),
            *(replace(cell, sampler=heat) for heat in HEATS[1:]),
        )
    ]
    assert list(further(Factor.SEED, cells)) == [
        _seeds(cell, replace(cell, seed=44)) for cell in tried
    ]


def test_a_cell_with_further_samplers_is_run_hot_with_them() -> None:
    """The engine may use its seed elsewhere than for plain cells, so those show nothing of it."""
    cell = replace(HAIKU, sampler=PENALISED)

    _, *hot = (each.cell.sampler for each in further(Factor.SEED, [cell]))
    assert [each.temperature for each in hot] == [10.0, 2.0, 1.0]
    assert {each.sampling and each.sampling.samplers for each in hot} == {("temperature",)}
    agreed = _seeds(replace(cell, sampler=hot[0]), replace(HAIKU_7, sampler=hot[0]))
    assert is_milder(_seeds(cell, replace(HAIKU_7, sampler=PENALISED)), agreed)
    assert not is_milder(_seeds(HAIKU, HAIKU_7), agreed)
    assert is_settled([agreed] * 4)


@pytest.mark.parametrize(
    ("draws", "heats"),
    [
        ({"mirostat": {"mirostat_tau": 5, "mirostat_eta": 0.1}}, [1.0]),
        ({"mirostat_v2": {"mirostat_tau": 5, "mirostat_eta": 0.1}}, [10.0, 2.0, 1.0]),
        ({"adaptive_p": {"adaptive_target": 0.5, "adaptive_decay": 0.9}}, [10.0, 2.0, 1.0]),
    ],
)
def test_what_draws_with_its_own_random_numbers_is_run_hot_with_them(
    draws: dict[str, dict[str, float]], heats: list[float]
) -> None:
    """A seed of the temperature alone shows nothing of them."""
    ((name, values),) = draws.items()
    sampling = Sampling.parse({"samplers": [name], **values})
    cell = replace(HAIKU, sampler=replace(HEATS[2], sampling=sampling))

    _, *hot = (each.cell.sampler for each in further(Factor.SEED, [cell]))
    assert [each.temperature for each in hot] == heats
    orders = {each.sampling and each.sampling.order for each in hot}
    assert orders == {("temperature", name)}


@pytest.mark.parametrize(
    ("sampling", "stop"),
    [
        ({"grammar": 'root ::= "yes" | "no"'}, ()),
        ({"json_schema": {"type": "boolean"}}, ()),
        ({"logit_bias": [[7, 100.0]]}, ()),
        ({}, (".",)),
    ],
)
def test_a_bound_cell_is_asked_freely_too(sampling: dict[str, object], stop: tuple[str]) -> None:
    """What binds its answer may leave the same to every prompt; the model alone does not."""
    sampler = replace(SAMPLED, sampling=Sampling.parse(sampling))
    cell = replace(HAIKU, sampler=sampler, stop=stop)

    bound, *free, _, _ = further(Factor.PROMPT, [cell])
    assert bound.cell == cell
    assert [each.varied.prompt for each in free] == ["control-1", "control-2", "control-1"]
    for each in free[:2]:
        sampling_left = each.cell.sampler.sampling
        assert sampling_left is None or sampling_left.samplers == ("temperature",)
        assert (each.cell.sampler.temperature, each.cell.max_tokens, each.cell.stop) == (1, 16, ())
    assert not is_settled([bound] * 4)
    assert is_settled([bound, bound, bound, free[0]])


def test_a_stopped_answer_implies_nothing_of_a_longer_one() -> None:
    """It may have ended before the first difference."""
    stopped = _prompts(*(replace(cell, stop=(".",)) for cell in (HAIKU, FOX)))

    assert not is_milder(_prompts(HAIKU, FOX), stopped)
    assert is_milder(stopped, _prompts(HAIKU, FOX))


def test_a_long_cell_is_run_hot_at_its_own_length() -> None:
    """There is no other length to try, and nothing is tried twice."""
    cell = replace(HAIKU, max_tokens=20)

    tried = [cell, *(replace(cell, sampler=heat) for heat in HEATS)]
    assert [each.cell for each in further(Factor.SEED, [cell])] == tried


_TRIED = _seeds(replace(HAIKU, sampler=HOT), replace(HAIKU_7, sampler=HOT))


@pytest.mark.parametrize(
    ("contrast", "is_implied"),
    [
        (_TRIED, True),
        (_seeds(HAIKU, HAIKU_7), True),
        (_seeds(replace(HAIKU, max_tokens=9), replace(HAIKU_7, max_tokens=9)), False),
        (_seeds(HAIKU, replace(HAIKU, seed=8)), False),
        (_seeds(HAIKU_7, HAIKU), False),
        (_seeds(FOX, FOX_7), False),
        (_prompts(HAIKU, FOX), False),
    ],
)
def test_a_milder_contrast_shows_no_more(contrast: Contrast, is_implied: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    """Cooler or shorter, of the same cells; and nothing follows for others."""
    assert is_milder(contrast, _TRIED) is is_implied


def test_cold_seeds_that_agree_settle_nothing() -> None:
    """A sound model may be certain of every prompt; one hot contrast has to agree, too."""
    cold = _seeds(HAIKU, HAIKU_7)

    assert not is_settled([cold] * 9)
    assert not is_settled([cold, cold, _TRIED])
    assert is_settled([cold, cold, _TRIED, cold])
    assert is_settled([_prompts(HAIKU, FOX)] * 4)


def test_a_further_seed_stays_in_range() -> None:
    """After the last seed comes the first one."""
    cell = cell_of(seed=MAX_SEED)

    assert next(further(Factor.SEED, [cell, replace(cell, seed=1)])).varied.seed == 2


def test_further_prompts_are_those_of_the_plan_and_then_our_own() -> None:
    """They are tried in place of each prompt, with its own seed and sampler, the longest first."""
    long = replace(HAIKU_7, max_tokens=9)
    contrasts = list(further(Factor.PROMPT, [FOX, long, HAIKU, cell_of("moon")]))

    assert [(each.varied.prompt, each.varied.max_tokens) for each in contrasts[:6]] == [
        *(("fox", 9), ("moon", 9), ("control-1", 9)),
        *(("control-1", 16), ("control-2", 16), ("control-2", 9)),
    ]
    assert contrasts[0] == _prompts(long, replace(long, prompt="fox", text=FOX.text))
    prompts = dict.fromkeys(each.cell.prompt for each in contrasts)
    assert list(prompts) == ["haiku", "fox", "moon"]


def test_a_prompt_of_the_plan_that_is_one_of_ours_is_not_tried_twice() -> None:
    """It would show nothing new."""
    *_, ours = further(Factor.PROMPT, [HAIKU])
    cells = [HAIKU, replace(ours.varied, prompt="dear-sir")]

    texts = [e.varied.text for e in further(Factor.PROMPT, cells) if e.cell == HAIKU]
    assert len(set(texts)) == len(texts)


_cells = st.builds(
    Cell,
    model=st.just("tiny"),
    prompt=st.sampled_from(("a", "b")),
    text=st.sampled_from(("x", "y")),
    seed=st.integers(1, 3),
    max_tokens=st.integers(1, 3),
    sampler=st.builds(
        Sampler,
        temperature=st.sampled_from((0.0, 0.7)),
        top_k=st.just(0),
        top_p=st.just(1.0),
        min_p=st.just(0.0),
    ),
)
_answers = st.fixed_dictionaries(
    {
        (text, seed): st.lists(st.integers(0, 1), min_size=3, max_size=3)
        for text in "xy"
        for seed in range(4)
    }
)


@given(st.sets(_cells, max_size=8), _answers, st.sampled_from(Factor))
def test_evidence_is_found_wherever_two_cells_have_it(
    cells: set[Cell], answers: dict[tuple[str, int], list[int]], factor: Factor
) -> None:
    """A model is never doubted of which any two cells differ by the factor alone."""
    observed = {
        cell: generation_of(
            *answers[cell.text, 0 if cell.sampler.is_greedy else cell.seed][: cell.max_tokens]
        )
        for cell in cells
    }

    def is_contrast(cell: Cell, other: Cell) -> bool:
        try:
            Contrast(factor=factor, cell=cell, varied=other)
        except ValueError:
            return False
        return factor is Factor.PROMPT or not cell.sampler.is_greedy

    has_evidence = any(
        is_contrast(cell, other) and output_divergence(observed[cell], observed[other]) is not None
        for cell in observed
        for other in observed
    )

    assert (shown_by(factor, observed) is not None) is has_evidence


def test_a_machine_that_fails_outweighs_one_that_does_not() -> None:
    """Each of several machines has to show that its own outputs can differ."""
    observed = {HAIKU: generation_of(1), HAIKU_7: generation_of(2), FOX: generation_of(3)}
    shown = Control(contrast=_seeds(HAIKU, HAIKU_7))
    lost = Control(contrast=contrast_of(FOX), problem=LOST)
    failed = Control(contrast=contrast_of(FOX), generation=generation_of(3))

    def judged(*controls: Control) -> object:
        return judge_controls(controls, model="tiny", observed=observed)

    assert judged(shown, lost) == (control_of(FOX, problem=LOST),)
    assert judged(shown, lost, failed) == (control_of(FOX),)
    assert judged(failed, lost, shown) == (control_of(FOX),)


def test_what_one_machine_would_have_seen_first_is_reported() -> None:
    """However a plan is divided, the same evidence stands in the report."""
    observed = {HAIKU: generation_of(1), FOX: generation_of(3), HAIKU_7: generation_of(2)}
    alone = Control(
        contrast=contrast_of(FOX), reference=generation_of(3), generation=generation_of(4)
    )
    divergence = output_divergence(generation_of(1), generation_of(2))

    (report,) = judge_controls([alone, alone], model="tiny", observed=observed)
    assert (report.contrast, report.divergence) == (_seeds(HAIKU, HAIKU_7), divergence)
    (report,) = judge_controls([alone], model="tiny", observed={FOX: generation_of(3)})
    assert report.contrast == contrast_of(FOX)


def test_controls_of_other_models_are_theirs() -> None:
    """Two models may well agree, as a model and its copy must."""
    other = replace(HAIKU, model="copy")
    controls = [Control(contrast=contrast_of(other), problem=LOST)]

    assert judge_controls(controls, model="tiny", observed={HAIKU: answer_to(HAIKU)}) == ()
