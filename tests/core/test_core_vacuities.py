"""Agreement proves nothing where nothing could have differed."""

from dataclasses import replace

from repro_gate.core.judgement import vacuities
from repro_gate.core.tokens import Stop
from tests.fakes.values import GREEDY, answer_to, cell_of, generation_of

HAIKU, HAIKU_7 = cell_of("haiku"), cell_of("haiku", seed=7)
FOX, FOX_7 = cell_of("fox"), cell_of("fox", seed=7)
ENDED = Stop.END_OF_GENERATION


def test_a_model_that_heeds_prompt_and_seed_is_not_vacuous() -> None:
    """Different answers to different questions raise no suspicion."""
    assert vacuities({cell: answer_to(cell) for cell in (HAIKU, HAIKU_7, FOX, FOX_7)}) == {}


def test_one_token_over_and_over_is_vacuous() -> None:
    """A model that is stuck would match its golden for ever."""
    observed = {HAIKU: generation_of(9, 9, 9), FOX: generation_of(1, 2, 3)}

    assert vacuities(observed) == {HAIKU: "token 9 is repeated throughout"}


def test_a_single_token_is_no_repetition() -> None:
    """A generation of one token repeats nothing."""
    assert vacuities({HAIKU: generation_of(9)}) == {}


def test_the_same_answer_to_every_seed_is_vacuous() -> None:
    """A sampler that ignores the seed is found, for the prompts where it does."""
    observed = {
        HAIKU: generation_of(1, 2, 3),
        HAIKU_7: generation_of(1, 2, 3),
        FOX: generation_of(4, 5, 6),
        FOX_7: generation_of(4, 5, 7),
    }

    reason = "all 2 seeds of this prompt give the same tokens"
    assert vacuities(observed) == {HAIKU: reason, HAIKU_7: reason}


def test_a_greedy_prompt_may_answer_every_seed_alike() -> None:
    """At temperature 0 the seed must not change anything."""
    cells = [cell_of(seed=seed, sampler=GREEDY) for seed in (1, 2, 3)]

    assert vacuities({cell: generation_of(1, 2, 3) for cell in cells}) == {}


def test_the_same_answer_to_every_prompt_is_vacuous() -> None:
    """A model that ignores its prompt is found, for the seeds at which it does."""
    observed = {
        HAIKU: generation_of(1, 2, 3),
        FOX: generation_of(1, 2, 3),
        HAIKU_7: generation_of(4, 5, 6),
        FOX_7: generation_of(4, 5, 7),
    }

    reason = "all 2 prompts give the same tokens at this seed"
    assert vacuities(observed) == {HAIKU: reason, FOX: reason}


def test_a_greedy_model_that_ignores_its_prompt_is_vacuous() -> None:
    """Without sampling the prompt is all that could make a difference."""
    cells = [cell_of(prompt, sampler=GREEDY) for prompt in ("haiku", "fox")]

    reason = "all 2 prompts give the same tokens at this seed"
    assert vacuities({cell: generation_of(1, 2) for cell in cells}) == dict.fromkeys(cells, reason)


def test_a_shorter_limit_does_not_hide_the_same_answer() -> None:
    """Answers that were cut short are compared as far as both go."""
    observed = {HAIKU: generation_of(1, 2), FOX: generation_of(1, 2, 3)}

    assert set(vacuities(observed)) == {HAIKU, FOX}


def test_to_end_early_is_an_answer() -> None:
    """A model that stops by itself where another answer goes on has heeded the difference."""
    observed = {HAIKU: generation_of(1, 2, stop=ENDED), HAIKU_7: generation_of(1, 2, 3)}

    assert vacuities(observed) == {}


def test_silence_on_every_question_is_vacuous() -> None:
    """An engine that never says anything would pass for ever."""
    for stop in Stop:
        observed = dict.fromkeys((HAIKU, HAIKU_7, FOX), generation_of(stop=stop))
        assert set(vacuities(observed)) == {HAIKU, HAIKU_7, FOX}


def test_silence_on_one_question_is_an_answer() -> None:
    """One prompt to which the model ends at once says nothing about the others."""
    for stop in Stop:
        assert vacuities({HAIKU: generation_of(stop=stop), FOX: generation_of(1, 2)}) == {}


def test_one_text_under_two_names_may_begin_alike() -> None:
    """The same question with another limit is not another question."""
    longer = replace(HAIKU, prompt="long-haiku", max_tokens=9)
    observed = {HAIKU: generation_of(1, 2), longer: generation_of(1, 2, 3)}

    assert vacuities(observed) == {}


def test_models_are_not_compared_with_each_other() -> None:
    """Two models may well agree, as a model and its copy must."""
    other = cell_of("fox", model="copy")

    assert vacuities({HAIKU: generation_of(1, 2), other: generation_of(1, 2)}) == {}


def test_the_plainest_reason_is_given() -> None:
    """A stuck model also ignores prompts and seeds; that it is stuck says more."""
    observed = dict.fromkeys((HAIKU, HAIKU_7, FOX, FOX_7), generation_of(9, 9))

    assert vacuities(observed) == dict.fromkeys(observed, "token 9 is repeated throughout")


def test_nothing_observed_is_not_vacuous() -> None:
    """Nothing is suspected of cells that were never run."""
    assert vacuities({}) == {}
