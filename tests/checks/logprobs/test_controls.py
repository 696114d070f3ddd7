"""Before baselines are recorded, the echo of each model is compared with generated tokens."""

import pytest

from repro_gate.checks.logprobs.controls import REMEDY
from repro_gate.checks.logprobs.record import Refused
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.draw import MissedDraw
from repro_gate.core.report import Note, NoteOrigin
from tests.fakes.gating import LogprobScene
from tests.fakes.scoring import SOURCE, NoisyScorer, policy_of, suite_of_logprobs

OWN = tuple(-1.0 - (place * 7 % 5) for place in range(24))
SOUND = ScoredTwice(generated=OWN, echoed=OWN)
SHIFTED = ScoredTwice(generated=OWN, echoed=(*OWN[1:], -1.0))
ALIKE = ScoredTwice(generated=(-1.0,) * 24, echoed=(-1.0,) * 24)
SAME = "generated tokens have the same value in the echo, which"
FAILED = MissedDraw(reason="the budget of 3 calls is used up")


def _note(why: str) -> Note:
    message = f"could not verify that {SOURCE} echoes each token's own log-probability: {why}"
    return Note(about=policy_of().model, message=message, origin=NoteOrigin.SERVER)


def _scene(*twice: ScoredTwice | MissedDraw) -> LogprobScene:
    return LogprobScene(scorer=NoisyScorer(twice=twice), suite=suite_of_logprobs(items=2))


@pytest.mark.parametrize(
    ("twice", "asked"),
    [((SOUND,), 1), ((SHIFTED, SOUND), 2), ((ALIKE, SOUND), 2), ((), 1)],
    ids=["sound", "one bad answer", "a text that shows nothing", "a local engine"],
)
def test_a_sound_echo_is_recorded(twice: tuple[ScoredTwice, ...], asked: int) -> None:
    """One comparison is usual; a single bad or empty answer is repeated."""
    scene = _scene(*twice)
    made = scene.calibrate()

    assert (len(made.baselines), made.refused, made.notes) == (2, (), ())
    assert len(scene.scorer.compared) == asked


def test_an_echo_that_is_off_by_one_is_not_recorded() -> None:
    """Two comparisons show it; there is no calibration draw and no finding."""
    scene = _scene(SHIFTED, SHIFTED)
    made = scene.calibrate()
    reason = (
        f"in the echo of {SOURCE}, tokens have the log-probabilities of other tokens: 0 of 48 "
        f"{SAME} typically differs by 2 nats"
    )

    assert made.baselines == ()
    assert made.refused == tuple(
        Refused(cell=cell, reason=reason, is_finding=False, remedy=REMEDY)
        for cell in scene.suite.cells
    )
    assert scene.scorer.asked == []


@pytest.mark.parametrize(
    ("twice", "why"),
    [
        ((FAILED,), FAILED.reason),
        (
            (ALIKE, ALIKE, ALIKE),
            f"72 of 72 {SAME} typically differs by 0 nats",
        ),
    ],
)
def test_an_inconclusive_comparison_is_noted(
    twice: tuple[ScoredTwice | MissedDraw, ...], why: str
) -> None:
    """The baselines are recorded, with a note."""
    made = _scene(*twice).calibrate()

    assert (len(made.baselines), made.notes) == (2, (_note(why),))


def test_a_model_of_several_policies_is_compared_once() -> None:
    """The echo does not depend on the temperature."""
    suite = suite_of_logprobs(policies=[policy_of(), policy_of("cold", temperature=0.0)], items=1)
    scene = LogprobScene(scorer=NoisyScorer(twice=(SOUND,)), suite=suite)

    assert len(scene.calibrate().baselines) == 2
    assert scene.scorer.compared == ["base--item-0"]
