"""From what was observed to a verdict."""

import pickle
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import ControlReport
from repro_gate.core.tokens.generation import (
    Divergence,
    Generation,
    Place,
    Token,
    first_divergence,
    output_divergence,
)
from repro_gate.core.tokens.golden import FactChange, Golden, definition_changes
from repro_gate.core.tokens.judge import Repetition, judge
from repro_gate.core.tokens.modes import (
    ALONE,
    RESTART,
    Answer,
    Level,
    Mode,
    ModeKind,
    ModeResult,
    Proof,
)
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    FormerGolden,
    Inconclusive,
    Match,
    Nondeterministic,
    Unrecorded,
    Vacuous,
    Verdict,
)
from tests.fakes.strategies import near_generations
from tests.fakes.values import (
    cell_of,
    control_of,
    generation_of,
    golden_of,
    provenance_of,
    tokens_of,
)

CELL = cell_of()
OUTPUT = generation_of(5, 6, 7)
FIRST_TOKEN_MOVED = Divergence(
    place=Place.OUTPUT, position=0, expected=tokens_of(8)[0], observed=tokens_of(5)[0]
)
UNSTABLE = Nondeterministic(
    run=2,
    in_fresh_process=True,
    divergence=Divergence(
        place=Place.OUTPUT, position=2, expected=tokens_of(7)[0], observed=tokens_of(9)[0]
    ),
)

_later_runs = st.lists(st.tuples(near_generations, st.booleans()), max_size=6)


def _judge(
    repetition: Repetition,
    *,
    golden: Golden | None,
    controls: Sequence[ControlReport] = (),
    cell: Cell = CELL,
    modes: Sequence[ModeResult] = (),
) -> Verdict:
    facts = provenance_of("tiny")
    return judge(repetition, cell=cell, golden=golden, facts=facts, controls=controls, modes=modes)


@given(near_generations, _later_runs)
def test_counting_runs_equals_comparing_each_with_the_first(
    first: Generation, later: list[tuple[Generation, bool]]
) -> None:
    """The first run that differs from run 1 is remembered, as if all of them had been kept."""
    repetition = Repetition(first=first)
    for generation, is_fresh in later:
        repetition = repetition.with_run(generation, in_fresh_process=is_fresh)

    differences = [
        Nondeterministic(run=run, in_fresh_process=is_fresh, divergence=divergence)
        for run, (generation, is_fresh) in enumerate(later, start=2)
        if (divergence := first_divergence(first, generation)) is not None
    ]
    assert repetition == Repetition(
        first=first, runs=1 + len(later), difference=next(iter(differences), None)
    )


@pytest.mark.parametrize("last", [OUTPUT, generation_of(5, 6, 9)])
def test_ten_thousand_runs_are_kept_in_the_room_of_two(last: Generation) -> None:
    """Only the number grows, not what is remembered of the runs."""
    few = Repetition(first=OUTPUT).with_run(last, in_fresh_process=False)
    many = few
    for _ in range(10_000):
        many = many.with_run(replace(last), in_fresh_process=False)

    assert many == replace(few, runs=10_002)
    assert len(pickle.dumps(many)) - len(pickle.dumps(few)) <= 1


def test_runs_that_equal_the_golden_match() -> None:
    """Equal tokens are a match, whatever else the golden recorded."""
    golden = golden_of(CELL, generation_of(5, 6, 7, is_traced=True), provenance={"old": "yes"})

    assert _judge(Repetition(first=OUTPUT), golden=golden) == Match()


def test_runs_that_differ_come_before_the_golden() -> None:
    """Nondeterminism is reported, whatever the golden."""
    repetition = Repetition(first=OUTPUT, runs=2, difference=UNSTABLE)

    for golden in (None, golden_of(CELL, OUTPUT), golden_of(CELL, generation_of(8))):
        assert _judge(repetition, golden=golden, controls=[control_of()]) == UNSTABLE


def test_drift_brings_the_golden_and_the_suspects() -> None:
    """The verdict has the divergence, the golden and the changed facts."""
    golden = golden_of(
        CELL, generation_of(8, 6, 7), provenance={**provenance_of("tiny"), "device.name": "OLD"}
    )

    assert _judge(Repetition(first=OUTPUT), golden=golden) == Drift(
        divergence=FIRST_TOKEN_MOVED,
        golden=golden,
        provenance=(FactChange(name="device.name", before="OLD", after="TEST"),),
    )


def test_other_logits_are_drift_though_all_tokens_agree() -> None:
    """One digest is enough."""
    golden = golden_of(CELL, generation_of(5, 6, 7, logits="abc"))
    verdict = _judge(Repetition(first=generation_of(5, 6, 7, logits="abd")), golden=golden)

    assert isinstance(verdict, Drift)
    assert (verdict.divergence.place, verdict.divergence.position) == (Place.LOGITS, 2)


def test_golden_without_the_logits_is_never_a_match() -> None:
    """Equal tokens are not what the suite compares; other tokens are drift all the same."""
    observed = Repetition(first=generation_of(5, 6, 7, logits="abc"))

    assert _judge(observed, golden=golden_of(CELL, OUTPUT)) == Unrecorded(
        reason="the golden has these tokens, but not the logits to compare"
    )
    assert isinstance(_judge(observed, golden=golden_of(CELL, generation_of(8))), Drift)


def test_golden_with_logits_matches_where_only_tokens_are_compared() -> None:
    """The suite no longer asks for more."""
    golden = golden_of(CELL, generation_of(5, 6, 7, logits="abc"))

    assert _judge(Repetition(first=OUTPUT), golden=golden) == Match()


def test_runs_with_other_logits_are_nondeterministic() -> None:
    """It shows before a token differs."""
    first, other = generation_of(5, 6, 7, logits="abc"), generation_of(5, 6, 7, logits="adc")
    repetition = Repetition(first=first).with_run(other, in_fresh_process=False)

    assert repetition.difference == Nondeterministic(
        run=2,
        in_fresh_process=False,
        divergence=Divergence(
            place=Place.LOGITS,
            position=1,
            expected=Token(1, b"b" * 16),
            observed=Token(1, b"d" * 16),
            logits_from=1,
        ),
    )


def test_drift_comes_before_vacuity() -> None:
    """A difference that was seen beats the suspicion that none could be."""
    golden = golden_of(CELL, generation_of(8, 6, 7))

    assert _judge(Repetition(first=OUTPUT), golden=golden, controls=[control_of()]) == Drift(
        divergence=FIRST_TOKEN_MOVED, golden=golden, provenance=()
    )


@pytest.mark.parametrize("golden", [None, golden_of(CELL, OUTPUT)])
def test_vacuity_comes_before_a_match_and_before_recording(golden: Golden | None) -> None:
    """Agreement that proves nothing neither passes nor becomes a golden."""
    verdict = _judge(Repetition(first=OUTPUT), golden=golden, controls=[control_of()])

    assert verdict == Vacuous(factor=Factor.SEED)


def in_company(answer: Generation, level: Level = Level.TOKENS) -> ModeResult:
    """Return the result of an answer that was generated in company."""
    result = ModeResult(mode=Mode(ModeKind.CONCURRENT, 8), level=level)
    return result.with_answer(OUTPUT, Answer(generation=answer)).judged(Proof.SEEN)


EQUAL, OTHER = in_company(OUTPUT), in_company(generation_of(1))
ABSENT = replace(EQUAL, mode=RESTART).judged(Proof.ABSENT, "it was the same", "restart it")
UNSEEN = replace(EQUAL, mode=ALONE).judged(Proof.UNKNOWN, "it is not shown", "show it")


@pytest.mark.parametrize(
    ("modes", "verdict"),
    [
        ([EQUAL], Match()),
        ([in_company(generation_of(1), Level.ANY)], Match()),
        ([replace(UNSEEN, level=Level.ANY)], Match()),
        ([OTHER], Depends(modes=(OTHER.mode,))),
        ([UNSEEN, ABSENT, OTHER], Depends(modes=(OTHER.mode,))),
        ([UNSEEN, ABSENT, EQUAL], Vacuous(mode=RESTART)),
        ([EQUAL, UNSEEN], Inconclusive(reason="alone: it is not shown", remedy="show it")),
    ],
)
def test_modes_count_where_the_runs_match(modes: list[ModeResult], verdict: Verdict) -> None:
    """A difference beats a missing proof, and what is known to be missing what is unknown."""
    golden = golden_of(CELL, OUTPUT)

    assert _judge(Repetition(first=OUTPUT), golden=golden, modes=modes) == verdict


def test_a_dependence_has_what_changed_since_its_golden() -> None:
    """A golden says nothing of company, so the change may be its cause."""
    golden = golden_of(CELL, OUTPUT)
    older = replace(golden, provenance={**golden.provenance, "server.option.np": "1"})

    assert _judge(Repetition(first=OUTPUT), golden=older, modes=[OTHER]) == Depends(
        modes=(OTHER.mode,),
        provenance=(FactChange(name="server.option.np", before="1", after=None),),
    )


def test_a_difference_in_a_mode_beats_a_failed_control() -> None:
    """It was seen to be able to differ; agreement in modes cannot replace a control."""
    golden, controls = golden_of(CELL, OUTPUT), [control_of()]
    run = Repetition(first=OUTPUT)

    assert _judge(run, golden=golden, controls=controls, modes=[OTHER]) == Depends(
        modes=(OTHER.mode,)
    )
    for modes in ([EQUAL], [ABSENT]):
        vacuous = _judge(run, golden=golden, controls=controls, modes=modes)
        assert vacuous == Vacuous(factor=Factor.SEED)


@pytest.mark.parametrize("modes", [[OTHER], [ABSENT], [UNSEEN]])
def test_modes_do_not_hide_what_is_wrong_alone(modes: list[ModeResult]) -> None:
    """Runs that differ, drift and a missing golden come first."""
    unstable = Repetition(first=OUTPUT, runs=2, difference=UNSTABLE)
    drifted = _judge(
        Repetition(first=OUTPUT), golden=golden_of(CELL, generation_of(8, 6, 7)), modes=modes
    )

    assert _judge(unstable, golden=golden_of(CELL, OUTPUT), modes=modes) == UNSTABLE
    assert isinstance(drifted, Drift)
    assert isinstance(_judge(Repetition(first=OUTPUT), golden=None, modes=modes), Unrecorded)


def test_a_cell_without_a_golden_is_unrecorded() -> None:
    """There is nothing to agree with."""
    assert _judge(Repetition(first=OUTPUT), golden=None) == Unrecorded(
        reason="there is no golden for this profile"
    )


def test_a_golden_of_another_definition_does_not_count() -> None:
    """A cell that was changed on purpose is unrecorded, and never called drift."""
    golden = golden_of(cell_of(max_tokens=9), generation_of(8))
    planned = replace(CELL, text="Shout")

    assert _judge(Repetition(first=OUTPUT), golden=golden, cell=planned) == Unrecorded(
        reason="the golden is for another definition of the cell: "
        "max_tokens was 9; text was Say haiku",
        former=FormerGolden(
            divergence=output_divergence(generation_of(8), OUTPUT),
            changes=definition_changes(golden.cell, planned),
        ),
    )


@pytest.mark.parametrize(
    ("planned", "observed", "expected"),
    [
        (replace(CELL, seed=7), (1, 2, 3), None),
        (replace(CELL, seed=7), (1, 2, 9), ("output", 2)),
        (replace(CELL, max_tokens=2), (1, 2), None),
        (replace(CELL, max_tokens=2), (1, 9), ("output", 1)),
        (replace(CELL, max_tokens=9), (1, 2, 3, 4), None),
    ],
)
def test_a_changed_cell_is_compared_with_its_old_golden(
    planned: Cell, observed: tuple[int, ...], expected: tuple[str, int] | None
) -> None:
    """Whether the tokens changed is known all the same; another limit is no difference."""
    golden = golden_of(CELL, generation_of(1, 2, 3))

    verdict = _judge(Repetition(first=generation_of(*observed)), golden=golden, cell=planned)

    assert isinstance(verdict, Unrecorded)
    assert verdict.former is not None
    divergence = verdict.former.divergence
    assert (divergence and (divergence.place, divergence.position)) == expected


@pytest.mark.parametrize(("text", "place"), [(CELL.text, "prompt"), ("Shout", None)])
def test_other_prompt_tokens_count_for_the_same_text_alone(text: str, place: str | None) -> None:
    """They show that the tokenizer changed, but only for the same text."""
    golden = golden_of(CELL, generation_of(1, prompt=(5,)))
    planned = replace(CELL, text=text, max_tokens=9)

    verdict = _judge(Repetition(first=generation_of(1, prompt=(6,))), golden=golden, cell=planned)

    assert isinstance(verdict, Unrecorded)
    assert verdict.former is not None
    divergence = verdict.former.divergence
    assert (divergence and divergence.place) == place


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("other", [True, False])
def test_a_difference_keeps_the_neighbours_of_both_runs(
    first: bool,  # noqa: FBT001 -- from a table
    other: bool,  # noqa: FBT001 -- from a table
) -> None:
    """They are those of run 1 and of the first run that differs."""
    done = Repetition(first=generation_of(1), first_had_neighbours=first)
    done = done.with_run(generation_of(1), in_fresh_process=False, had_neighbours=not other)
    done = done.with_run(generation_of(2), in_fresh_process=False, had_neighbours=other)
    done = done.with_run(generation_of(3), in_fresh_process=False, had_neighbours=not other)

    assert done.difference is not None
    assert (done.difference.first_had_neighbours, done.difference.had_neighbours) == (first, other)
