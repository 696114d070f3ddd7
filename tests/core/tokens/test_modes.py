"""Modes, and what their answers show."""

from dataclasses import replace

import pytest

from repro_gate.core.tokens.generation import Place
from repro_gate.core.tokens.modes import (
    ALONE,
    MAX_SEQUENCES,
    RESTART,
    Answer,
    Level,
    Mode,
    ModeKind,
    ModeResult,
    Proof,
    mode_of,
)
from tests.fakes.values import generation_of, with_logits

FIRST = generation_of(7, 8, 9, is_traced=True)
COMPANY = Mode(ModeKind.CONCURRENT, 8)


def result_of(level: Level = Level.TOKENS, mode: Mode = COMPANY) -> ModeResult:
    """Return a result without answers."""
    return ModeResult(mode=mode, level=level)


@pytest.mark.parametrize(
    "name", ["alone", "concurrent-2", "mixed-1024", "after-prefix", "repeat", "restart"]
)
def test_a_mode_has_the_name_that_the_matrix_gives_it(name: str) -> None:
    """A name is read and written as the same text."""
    assert str(mode_of(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "alone-2",
        "repeat-1-2",
        "concurrent",
        "concurrent-",
        "concurrent-0",
        "concurrent-1",
        "concurrent-02",
        "concurrent--8",
        f"mixed-{MAX_SEQUENCES + 1}",
        "mixed-99999999999",
        "Concurrent-8",
        "concurrent-8\n",
        "concurrent-٨",
        "crowded-8",
    ],
)
def test_another_name_is_no_mode(name: str) -> None:
    """A mode that is not known, or an impossible number of sequences, is refused."""
    with pytest.raises(ValueError, match=r"\S"):
        mode_of(name)


def test_equal_answers_reach_every_level() -> None:
    """Answers that are equal to the bit reach `bits`, without digests only `tokens`."""
    first = with_logits(FIRST)
    exact = result_of(Level.BITS).with_answer(first, Answer(generation=first))
    plain = result_of().with_answer(FIRST, Answer(generation=FIRST))

    assert (exact.reached, exact.other_bits) == (Level.BITS, 0)
    assert (plain.reached, plain.other_bits) == (Level.TOKENS, None)
    assert not exact.falls_short
    assert not plain.falls_short


def test_differences_are_counted_by_what_differs() -> None:
    """Answers with other tokens have other bits too; the earliest divergence in tokens is kept."""
    first, other = with_logits(FIRST), with_logits(generation_of(7, 8, 1, is_traced=True))
    shifted = replace(first, logits=("f" * 16, *first.logits[1:]))
    result = result_of()
    for answer in (shifted, other, first):
        result = result.with_answer(first, Answer(generation=answer))

    assert (result.answers, result.tokens) == (3, 9)
    assert (result.other_tokens, result.other_bits) == (1, 2)
    assert result.divergence is not None
    assert (result.divergence.place, result.divergence.position) == (Place.OUTPUT, 2)
    assert result.margin == FIRST.trace[2].margin
    assert result.falls_short


@pytest.mark.parametrize(("level", "short"), [("any", []), ("tokens", []), ("bits", [COMPANY])])
def test_other_bits_fall_short_of_bits_alone(level: str, short: list[Mode]) -> None:
    """Answers with the same tokens and other log-probabilities reach `tokens`."""
    first = with_logits(FIRST)
    shifted = replace(first, logits=("f" * 16, *first.logits[1:]))
    result = result_of(Level(level)).with_answer(first, Answer(generation=shifted))

    assert result.reached is Level.TOKENS
    assert [each.mode for each in (result,) if each.falls_short] == short


def test_answers_without_logits_fall_short_of_bits() -> None:
    """What was not compared does not agree; without answers nothing falls short."""
    answered = result_of(Level.BITS).with_answer(FIRST, Answer(generation=FIRST))

    assert answered.falls_short
    assert not result_of(Level.BITS).falls_short


def test_a_divergence_in_the_prompt_has_no_margin() -> None:
    """What precedes the output has no log-probabilities, nor has the end of run 1."""
    asked = generation_of(7, 8, 9, prompt=(1, 3))
    longer = generation_of(7, 8, 9, 10)

    for answer in (asked, longer):
        result = result_of().with_answer(FIRST, Answer(generation=answer))
        assert (result.other_tokens, result.margin) == (1, None)


def test_the_extremes_of_the_circumstances_are_kept() -> None:
    """The largest shift, the most sequences at once and the fewest cached tokens count."""
    result = result_of()
    for shift, running, cached in ((0.1, 8, 5), (0.2, 7, 3), (None, None, None)):
        answer = Answer(generation=FIRST, shift=shift, running=running, cached=cached)
        result = result.with_answer(FIRST, answer)

    assert (result.shift, result.running, result.cached) == (0.2, 8, 3)


def test_agreement_without_proof_is_in_doubt_where_it_is_required() -> None:
    """A required level needs the proof; `any` does not."""
    agreeing = result_of().with_answer(FIRST, Answer(generation=FIRST))

    assert agreeing.is_in_doubt
    assert agreeing.judged(Proof.ABSENT, "they were queued").is_in_doubt
    assert not agreeing.judged(Proof.SEEN).is_in_doubt
    assert not replace(agreeing, level=Level.ANY).is_in_doubt


@pytest.mark.parametrize(
    "changes",
    [
        {"answers": 0, "proof": Proof.SEEN, "reason": None},
        {"proof": Proof.ABSENT, "reason": None},
        {"proof": Proof.SEEN},
        {"answers": 1, "other_tokens": 1},
        {"answers": 1, "other_tokens": 2},
        {"answers": 1, "other_bits": 2},
    ],
)
def test_an_inconsistent_result_is_refused(changes: dict[str, object]) -> None:
    """Counts, divergence, proof and reason fit together."""
    with pytest.raises(ValueError, match=r"\S"):
        replace(result_of(), **changes)  # type: ignore[arg-type]


def test_modes_without_company_are_of_one_sequence() -> None:
    """The constants are what their names are."""
    assert (mode_of("alone"), mode_of("restart")) == (ALONE, RESTART)


def answered(mode: str, *, running: int | None = None, cached: int | None = None) -> ModeResult:
    """Return the result of one answer in a mode."""
    answer = Answer(generation=FIRST, running=running, cached=cached)
    return result_of(mode=mode_of(mode)).with_answer(FIRST, answer)


@pytest.mark.parametrize(
    ("result", "instances", "proof"),
    [
        (answered("alone"), (None, None), Proof.SEEN),
        (answered("concurrent-8", running=8), (None, None), Proof.SEEN),
        (answered("concurrent-8", running=7), (None, None), Proof.ABSENT),
        (answered("mixed-2", running=9), (None, None), Proof.SEEN),
        (answered("mixed-2"), (None, None), Proof.UNKNOWN),
        (answered("after-prefix", cached=1), (None, None), Proof.SEEN),
        (answered("repeat", cached=0), (None, None), Proof.ABSENT),
        (answered("repeat"), (None, None), Proof.UNKNOWN),
        (answered("restart"), ("a", "b"), Proof.SEEN),
        (answered("restart"), ("a", "a"), Proof.ABSENT),
        (answered("restart"), (None, "a"), Proof.UNKNOWN),
        (answered("restart"), ("a", None), Proof.UNKNOWN),
    ],
)
def test_each_mode_has_a_proof_of_its_own(
    result: ModeResult, instances: tuple[str | None, str | None], proof: Proof
) -> None:
    """What is seen needs no reason, and everything else has one with a remedy."""
    proven = result.proven(instances=instances)

    assert proven.proof is proof
    assert (proven.reason is None, proven.remedy is None) == ((proof is Proof.SEEN,) * 2)
