"""What cannot be measured is inconclusive, and an invalid answer is a finding."""

import pytest

from repro_gate.core.logprobs.draw import InvalidDraw, MissedDraw
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Invalid
from repro_gate.core.report import Note, NoteOrigin
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.ports import Purpose
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.scoring import NoisyScorer, everywhere, policy_of, suite_of_logprobs

IDENTICAL = Agrees(equivalence=Equivalence.IDENTICAL)
CELL, OTHER = "base--item-0", "base--item-1"
NAN = InvalidDraw(reason='the log-probability nan for 3 " Paris"', position=3)
AWAY = MissedDraw(reason="503 from the service", remedy="try again later")
NOT_MEASURED = Inconclusive(reason="503 from the service", remedy="try again later")


def _scene(*keys: tuple[str, int], outcome: InvalidDraw | MissedDraw) -> LogprobScene:
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    scene.scorer.script = {(CELL, purpose, number): outcome for purpose, number in keys}
    return scene


def test_an_invalid_draw_is_a_finding_that_names_the_token() -> None:
    """The cell gets no more draws, and the others are measured."""
    scene = _scene(("first_look", 2), outcome=NAN)
    report = scene.check()

    assert logprob_verdicts_of(report) == {
        CELL: Invalid(reason=NAN.reason, position=3, count=1),
        OTHER: IDENTICAL,
    }
    assert scene.scorer.asked_of(CELL, Purpose.FIRST_LOOK) == 2
    assert report.suite_test.cells == 1


def test_invalid_draws_are_counted() -> None:
    """The first is reported; those requested at the same time count too."""
    report = _scene(("first_look", 1), ("first_look", 2), outcome=NAN).check()

    assert logprob_verdicts_of(report)[CELL] == Invalid(reason=NAN.reason, position=3, count=2)
    assert report.cells[0].totals == ()
    assert (report.cells[0].band, report.cells[0].center) == (None, report.cells[0].calibration[0])


def test_invalid_draws_are_paid_for_and_missed_ones_are_not() -> None:
    """An answer is a call."""
    invalid = _scene(("first_look", 1), outcome=NAN).check().spending
    missed = _scene(("first_look", 1), outcome=AWAY).check().spending

    assert (invalid.calls, missed.calls) == (5, 4)
    assert (invalid.saved, missed.saved) == (3, 3)


def test_a_missed_draw_is_inconclusive_with_its_remedy() -> None:
    """A cell with a missing draw is not judged by the others."""
    scene = _scene(("first_look", 1), outcome=AWAY)

    assert logprob_verdicts_of(scene.check()) == {CELL: NOT_MEASURED, OTHER: IDENTICAL}
    assert scene.scorer.asked_of(CELL, Purpose.FIRST_LOOK) == 2


def test_an_invalid_draw_beats_a_missed_one() -> None:
    """A finding beats the unknown."""
    scene = _scene(("first_look", 1), outcome=AWAY)
    scene.scorer.script = {**scene.scorer.script, (CELL, "first_look", 2): NAN}

    assert isinstance(logprob_verdicts_of(scene.check())[CELL], Invalid)


def test_a_fault_in_the_second_look_leaves_no_statistical_verdict() -> None:
    """The suspicion was neither confirmed nor refuted."""
    scene = _scene(("second_look", 3), outcome=AWAY)
    scene.scorer.shift = everywhere(-0.5)
    verdicts = logprob_verdicts_of(scene.check())

    assert verdicts[CELL] == NOT_MEASURED
    assert verdicts[OTHER] != NOT_MEASURED


def test_a_failed_cell_has_no_second_look() -> None:
    """Even when every other cell has one."""
    scene = recorded_scene(NoisyScorer(tokens=2), suite_of_logprobs(items=4))
    scene.scorer.script = {(CELL, "first_look", 1): NAN}
    scene.scorer.shift = everywhere(-0.01)
    report = scene.check()

    assert (report.suite_test.second_look, report.suite_test.cells) == (True, 3)
    assert scene.scorer.asked_of(CELL, Purpose.SECOND_LOOK) == 0


def test_a_missed_draw_after_the_first_wave_counts() -> None:
    """An extended look can still fail."""
    scene = _scene(("first_look", 4), outcome=AWAY)
    scene.scorer.shift = everywhere(-0.5)

    assert logprob_verdicts_of(scene.check())[CELL] == NOT_MEASURED


def test_an_unknown_source_costs_only_its_policy() -> None:
    """Its cells are not drawn, and carry the reason."""
    suite = suite_of_logprobs(policies=[policy_of("gone"), policy_of("here")], items=2)
    scene = recorded_scene(NoisyScorer(), suite)
    scene.scorer.missing = {"gone": "FIREWORKS_API_KEY is not set"}
    report = scene.check()

    unset = Inconclusive(reason="FIREWORKS_API_KEY is not set", remedy="set it")
    assert logprob_verdicts_of(report) == {
        "gone--item-0": unset,
        "gone--item-1": unset,
        "here--item-0": IDENTICAL,
        "here--item-1": IDENTICAL,
    }
    assert not [key for key in scene.scorer.asked if key[0].startswith("gone")]
    assert [cell.source for cell in report.cells] == [None, None, "test-provider", "test-provider"]


@pytest.mark.parametrize("outcome", [AWAY, NAN], ids=["missed", "invalid"])
def test_a_missed_control_is_tried_with_another_cell(
    outcome: InvalidDraw | MissedDraw,
) -> None:
    """An unmeasured control has neither failed nor passed."""
    scene = _scene(("control", 1), outcome=outcome)

    (control,) = scene.check().controls
    assert (control.cell, control.differed) == (OTHER, True)


def test_a_policy_without_a_control_is_named() -> None:
    """Nothing shows that its check can fail, and a note has the reason."""
    scene = _scene(("control", 1), outcome=AWAY)
    scene.scorer.script = {(name, "control", 1): AWAY for name in (CELL, OTHER)}
    checked = scene.checked()

    assert (checked.report.controls, checked.report.uncontrolled) == ((), ("base",))
    message = f"its control could not be measured: {AWAY.reason}"
    assert checked.notes == (Note(about="base", message=message, origin=NoteOrigin.SERVER),)


def test_a_policy_whose_cells_all_failed_has_no_control() -> None:
    """There is no cell to draw it from."""
    scene = _scene(("first_look", 1), outcome=AWAY)
    scene.scorer.script = {(name, "first_look", 1): AWAY for name in (CELL, OTHER)}
    report = scene.check()

    assert scene.scorer.asked_of(CELL, Purpose.CONTROL) == 0
    assert (report.controls, report.policies[0].draws) == ((), 2)
