"""Policies that generate tokens: what of a change shows, and what does not."""

import pytest

from repro_gate.core.logprobs.draw import Draw, Encoding
from repro_gate.core.logprobs.policy import PolicyKind
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Equivalence,
    Invalid,
    Shifted,
)
from repro_gate.core.report import Note, NoteOrigin
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.generating import Change, GeneratingScorer, generating_policy, token_moved
from tests.fakes.scoring import suite_of_logprobs

FIRST, GENERATED = PolicyKind.FIRST_TOKEN, PolicyKind.GENERATED
BOTH = pytest.mark.parametrize("kind", [FIRST, GENERATED])
CELL = "base--item-0"
IDENTICAL = Agrees(equivalence=Equivalence.IDENTICAL)


def scene_of(kind: PolicyKind, **scorer: object) -> LogprobScene:
    """Return a scene of one policy, with baselines of its own service."""
    suite = suite_of_logprobs(policies=[generating_policy(kind)])
    return recorded_scene(GeneratingScorer(**scorer), suite)  # type: ignore[arg-type]


def changed(scene: LogprobScene, change: Change) -> LogprobReport:
    """Return the report after a change of the model."""
    assert isinstance(scene.scorer, GeneratingScorer)
    scene.scorer.change = change
    return scene.check()


def ranked(scene: LogprobScene, *tokens: int) -> list[int]:
    """Return the tokens of the first cell's model after some tokens, most likely first."""
    assert isinstance(scene.scorer, GeneratingScorer)
    found = scene.scorer.logprobs(scene.plan.cells[0], tokens, lambda logits, _: logits)
    return sorted(range(len(found)), key=lambda token: -found[token])


def shifted(report: LogprobReport) -> Shifted:
    """Return the drift of the first cell."""
    verdict = logprob_verdicts_of(report)[CELL]
    assert isinstance(verdict, Shifted)
    return verdict


@BOTH
def test_an_unchanged_service_agrees(kind: PolicyKind) -> None:
    """An exact one repeats every draw."""
    assert set(logprob_verdicts_of(scene_of(kind).check()).values()) == {IDENTICAL}


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_a_noisy_service_agrees(kind: PolicyKind, seed: int) -> None:
    """Its lists have other last tokens in every draw, and its answers may fork."""
    report = scene_of(kind, sd=0.1, seed=seed).check()

    assert {cell.verdict.word for cell in report.cells} == {"agrees"}


@BOTH
def test_a_changed_first_token_is_drift(kind: PolicyKind) -> None:
    """The report names the token, and what it was and is."""
    scene = scene_of(kind, sd=0.05)
    best = ranked(scene)[0]
    token = shifted(changed(scene, token_moved(best, -0.5))).effect.tokens[0]

    assert (token.position, token.piece.id) == (0, best)
    assert token.shift < -0.2


def test_a_token_that_enters_the_list_is_drift() -> None:
    """It is no token of the reference, and its value before was at most the least one."""
    scene = scene_of(FIRST, sd=0.01)
    last = ranked(scene)[30]
    found = shifted(changed(scene, token_moved(last, 6.0))).effect
    moved = {token.piece.id: token for token in found.tokens}

    assert moved[last].position >= 20
    assert moved[last].shift > 1.0


def test_first_tokens_do_not_show_a_later_change() -> None:
    """A greedy answer does."""
    first, generated = scene_of(FIRST), scene_of(GENERATED)
    opening = ranked(generated)[:1]
    second = ranked(generated, *opening)[0]
    change = token_moved(second, -0.5, position=1)

    assert logprob_verdicts_of(changed(first, change))[CELL] == IDENTICAL
    assert shifted(changed(generated, change)).effect.tokens[0].position == 1


def test_what_comes_after_a_fork_is_not_compared() -> None:
    """Only the token at the fork has moved."""
    scene = scene_of(GENERATED)
    second = ranked(scene)[1]
    found = shifted(changed(scene, token_moved(second, 8.0))).effect

    assert [token.position for token in found.tokens] == [0]


@BOTH
def test_a_service_that_ignores_the_prompt_is_not_recorded(kind: PolicyKind) -> None:
    """Another prompt has to give another answer."""
    suite = suite_of_logprobs(policies=[generating_policy(kind)], items=1)
    scene = LogprobScene(scorer=GeneratingScorer(heeds_prompt=False), suite=suite)
    made = scene.calibrate()

    assert made.baselines == ()
    (refused,) = made.refused
    assert refused.reason.startswith("another prompt gave the same log-probabilities")


@BOTH
def test_the_control_asks_with_another_prompt(kind: PolicyKind) -> None:
    """A recorded service passes it in each check, without an echo to compare."""
    scene = scene_of(kind)
    report = scene.check()

    assert [(found.policy, found.differed) for found in report.controls] == [("base", True)]
    assert scene.scorer.compared == []


def test_a_server_that_lists_few_tokens_is_compared_on_those() -> None:
    """Fireworks lists 5; a note counts them."""
    suite = suite_of_logprobs(policies=[generating_policy(FIRST)], items=1)
    made = LogprobScene(scorer=GeneratingScorer(cap=5), suite=suite).calibrate()
    (baseline,) = made.baselines

    assert len(baseline.encoding.response) == 5
    message = "the server lists 5 likely tokens, not 20, so 5 are compared"
    assert made.notes == (Note(about="base", message=message, origin=NoteOrigin.SERVER),)


def test_a_server_that_lists_fewer_tokens_than_before_is_invalid() -> None:
    """Values that stand for missing tokens would mean something else."""
    scene = scene_of(FIRST)
    assert isinstance(scene.scorer, GeneratingScorer)
    scene.scorer.cap = 5

    verdict = logprob_verdicts_of(scene.check())[CELL]

    assert isinstance(verdict, Invalid)
    assert verdict.reason == "5 alternatives of the first token, where 20 were recorded"


def test_tokens_without_ids_are_compared_by_their_texts() -> None:
    """As chat servers list them."""
    scene = scene_of(FIRST, has_ids=False, sd=0.05)
    best = ranked(scene)[0]
    token = shifted(changed(scene, token_moved(best, -0.5))).effect.deciding.token

    assert token is not None
    assert token.piece.data == f" t{best}".encode()


def test_first_tokens_are_drawn_in_full() -> None:
    """No bound is known for the distance over all tokens, so no look stops early."""
    report = scene_of(FIRST).check()

    assert [len(cell.totals) for cell in report.cells] == [5, 5, 5]
    assert report.spending.saved == 0


@BOTH
def test_generated_tokens_are_counted(kind: PolicyKind) -> None:
    """Where no tokens of the prompt are known, they are estimated by its length."""
    report = scene_of(kind).check()
    each = len("Say item-0") // 4 + {FIRST: 1, GENERATED: 8}[kind]
    control = len("item-0 Say") // 4 + {FIRST: 1, GENERATED: 8}[kind]

    assert report.spending.tokens == (report.spending.calls - 1) * each + control


def test_an_answer_that_begins_alike_by_chance_is_no_failed_control() -> None:
    """Another cell is tried, and one difference shows that the prompt counts."""
    suite = suite_of_logprobs(policies=[generating_policy(GENERATED)], items=2)
    scorer = GeneratingScorer()
    scene = LogprobScene(scorer=scorer, suite=suite)
    (first, *_) = scorer.encode(scene.plan.cells)
    assert isinstance(first, Encoding)
    assert first.logprobs is not None
    scorer.script = {(CELL, "control", 1): Draw(logprobs=first.logprobs)}

    assert len(scene.calibrate().baselines) == 2
    assert [key[0] for key in scorer.asked if key[1] == "control"] == [CELL, "base--item-1"]
