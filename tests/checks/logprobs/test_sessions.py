"""Add a session to a baseline: which cells get one, and what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest

from repro_gate.checks.logprobs.record import Recording, plan_recordings
from repro_gate.checks.tokens.record import ChangeKind
from repro_gate.core.logprobs.baseline import fit_noise
from repro_gate.core.logprobs.draw import Draw, DrawFacts, InvalidDraw, Piece
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import SuiteVerdict
from repro_gate.core.logprobs.sessions import CalibrationSession, time_of
from repro_gate.ports import Purpose
from tests.fakes.baseline_stores import MemoryDrawLog
from tests.fakes.gating import LogprobScene, recorded_scene
from tests.fakes.scoring import (
    MODEL,
    NOW,
    SOURCE,
    Noise,
    NoisyScorer,
    everywhere,
    exact,
    gaussian,
    policy_of,
    suite_of_logprobs,
)

LATER = "2026-01-03T09:00:00+00:00"
CELL = "base--item-0"
WIDE = gaussian(0.5)


def _recorded(*, draws: int = 6, items: int = 1, noise: Noise = WIDE) -> LogprobScene:
    """Return a scene with a session of each cell, and noise."""
    tolerance = Tolerance(calibration_draws=draws)
    suite = suite_of_logprobs(items=items, tolerance=tolerance)
    return recorded_scene(NoisyScorer(noise=noise), suite)


def _added(scene: LogprobScene, at: str = LATER) -> Recording:
    """Add a session to every baseline that can get one, without writing it."""
    (one,) = plan_recordings(
        [(scene.plan, scene.scorer)], baselines=scene.baselines, again=False, adds_at=at
    )
    one.run(scene.collector, now=lambda: at)
    return one


def _reasons(one: Recording) -> list[tuple[str, str | None]]:
    return [(refused.reason, refused.remedy) for refused in one.refused]


def _scripted(totals: Sequence[float], start: int = 1) -> dict[tuple[str, str, int], Draw]:
    """Return calibration draws whose tokens share a sum."""
    facts = DrawFacts(at=NOW, model=MODEL)
    return {
        (CELL, "calibration", number): Draw(
            logprobs=(total / 40,) * 39 + (total / 40 - 1e-9,), facts=facts
        )
        for number, total in enumerate(totals, start=start)
    }


def test_a_session_is_added_to_the_draws_before() -> None:
    """The noise is that of all draws, and each session has its start."""
    scene = _recorded()
    before = scene.baselines.kept[SOURCE, CELL]

    one = _added(scene)

    (after,) = one.baselines
    assert [wanted.kind for wanted in one.wanted] == [ChangeKind.EXTENDED]
    assert after.draws[:6] == before.draws
    assert (len(after.draws), len(after.facts)) == (12, 12)
    assert after.noise == fit_noise(after.draws)
    assert after.sessions == (
        CalibrationSession(started_at=NOW, draws=6),
        CalibrationSession(started_at=LATER, draws=6),
    )
    assert one.sessions is not None
    assert (one.sessions.sessions, one.sessions.draws) == (2, 6)


def test_what_is_known_of_a_draw_is_kept_beside_it() -> None:
    """Other tokens and a fork of the session before stay with its draws."""
    scene = _recorded(draws=4)
    before = scene.baselines.kept[SOURCE, CELL]
    others = (((Piece(7, b"x"), -1.0),), (), (), ())
    forks = (None, 0, None, None)
    scene.baselines.write(replace(before, others=others, forks=forks))

    (after,) = _added(scene).baselines

    assert after.others == (*others, (), (), (), ())
    assert after.forks == (*forks, None, None, None, None)


def test_a_session_has_as_many_draws_as_the_suite_asks_for_now() -> None:
    """Sessions may differ in their number of draws."""
    scene = _recorded()
    scene.suite = replace(scene.suite, tolerance=Tolerance(calibration_draws=4))
    scene.baselines.write(_added(scene).baselines[0])

    (third,) = _added(scene, "2026-01-05T00:00:00+00:00").baselines

    assert [session.draws for session in third.sessions] == [6, 4, 4]


def test_tokens_are_those_of_the_baseline() -> None:
    """No cell is encoded again: as in a check, an answer in other tokens is invalid."""
    scene = _recorded()
    before = scene.baselines.kept[SOURCE, CELL].encoding
    scene.scorer.encodings = {CELL: InvalidDraw(reason="the tokens changed")}

    (after,) = _added(scene).baselines

    assert after.encoding == before


def test_another_answer_is_refused_with_what_to_do() -> None:
    """Another model or other tokens are no session of the same baseline."""
    scene = _recorded()
    reason = "the model 'm-2' answered in place of 'm-1'"
    scene.scorer.script = {(CELL, "calibration", 3): InvalidDraw(reason=reason)}

    one = _added(scene)

    assert (one.baselines, one.refused[0].is_finding) == ((), True)
    assert _reasons(one) == [
        (reason, "if the service changed for good, record the cell again with --again")
    ]


@pytest.mark.parametrize("at", ["2026-01-02T04:04:04+00:00", NOW, "2026-01-01T00:00:00+00:00"])
def test_draws_within_an_hour_are_no_other_session(at: str) -> None:
    """A clock that was set back does not help either; the refusal has the least time."""
    one = _added(_recorded(), at)

    assert (one.baselines, one.wanted, one.unchanged) == ((), [], 0)
    reason = f"its last session was recorded at {NOW}, and draws within an hour of it are no other"
    remedy = "add one from 2026-01-02T04:04:05+00:00 on; another day is better than another hour"
    assert _reasons(one) == [(f"no session can be added: {reason} session", remedy)]
    assert not one.refused[0].is_finding


def test_an_hour_later_is_another_session() -> None:
    """The least distance is allowed."""
    assert len(_added(_recorded(), "2026-01-02T04:04:05+00:00").baselines) == 1


def test_a_baseline_is_bounded() -> None:
    """More sessions are a matter of a watch."""
    one = _added(_recorded(draws=101))

    reason = "it has 101 draws, and 200 are the most with another session"
    remedy = "compare more nights with repro-gate watch"
    assert _reasons(one) == [(f"no session can be added: {reason}", remedy)]


def test_a_redefined_cell_gets_no_session() -> None:
    """Its earlier draws are of something else."""
    scene = _recorded()
    scene.suite = suite_of_logprobs(
        policies=[policy_of(system="Be brief.")], items=1, tolerance=scene.suite.tolerance
    )

    assert _reasons(_added(scene)) == [
        (
            "no session can be added: its baseline is for another definition: system was ",
            "record the cell without --add",
        )
    ]


def test_without_a_baseline_there_is_nothing_to_add_to() -> None:
    """Neither is there with one that is broken."""
    scene = _recorded(items=2)
    del scene.baselines.kept[SOURCE, CELL]
    scene.baselines.broken.add((SOURCE, "base--item-1"))

    one = _added(scene)

    why = "no session can be added: it has no baseline that can be read"
    assert _reasons(one) == [(why, "record the cell without --add")] * 2


def test_a_time_that_cannot_be_read_is_refused() -> None:
    """Whether an hour has passed is unknown."""
    scene = _recorded()
    scene.baselines.write(replace(scene.baselines.kept[SOURCE, CELL], recorded_at="noon"))

    assert _reasons(_added(scene)) == [
        (
            "no session can be added: the time of its last session cannot be read: 'noon'",
            "record the cell with --again, without --add",
        )
    ]


def test_an_outlier_among_the_earlier_draws_is_refused() -> None:
    """Two of six draws are far from the median of the session before, but not from their own."""
    scene = _recorded(noise=exact)
    center = scene.baselines.kept[SOURCE, CELL].noise.center
    scene.scorer.script = _scripted([center - away for away in (0, 30, 1, 39, 5, 7)])

    one = _added(scene)

    assert one.baselines == ()
    assert "2 of 6 calibration draws are outliers, further than 8 nats" in one.refused[0].reason


def test_a_session_that_is_far_as_a_whole_is_added_and_seen() -> None:
    """It is what sessions are added for; the difference is in the report."""
    scene = _recorded()
    center = scene.baselines.kept[SOURCE, CELL].noise.center
    scene.scorer.script = _scripted([center - 30.0 - place / 10 for place in range(6)])

    one = _added(scene)

    assert one.sessions is not None
    assert one.sessions.p_value is not None
    assert (len(one.baselines), one.sessions.p_value < 0.01) == (1, True)


def test_a_control_that_fails_adds_nothing() -> None:
    """As for a first recording, and the refused draws are those of the session alone."""
    scene = _recorded()
    scene.scorer.heeds_prompt = False
    own = [scene.scorer.asked_of(CELL, purpose) for purpose in Purpose]

    one = _added(scene)

    assert (one.baselines, own) == ((), [0] * len(Purpose))
    assert one.refused[0].reason.startswith("another prompt gave the same log-probabilities")
    assert len(one.refused[0].totals) == 6


def test_what_is_kept_counts_for_the_sessions_of_the_suite() -> None:
    """The claim about a suite is about all of its baselines."""
    scene = _recorded(items=2)
    scene.only = CELL
    scene.baselines.write(_added(scene).baselines[0])
    scene.only = None

    (one,) = plan_recordings([(scene.plan, scene.scorer)], baselines=scene.baselines, again=False)

    assert one.unchanged == 2
    assert one.sessions is not None
    assert (one.sessions.sessions, one.sessions.last) == (1, LATER)


def _with_sessions(*medians: float, items: int = 1, shift: float = 0.0) -> LogprobScene:
    """Return a scene whose baselines have sessions off by `medians`, and draws that are shifted."""
    scene = _recorded(draws=4, items=items, noise=exact)
    scene.suite = replace(scene.suite, tolerance=Tolerance(calibration_draws=4, draws=3))
    starts = [f"2026-01-{day:02}T00:00:00+00:00" for day in range(1, 1 + len(medians))]
    for baseline in list(scene.baselines.kept.values()):
        (repeated, *_) = baseline.draws
        draws = tuple((repeated[0] + off, *repeated[1:]) for off in medians for _ in range(4))
        scene.baselines.write(
            replace(
                baseline,
                draws=draws,
                facts=baseline.facts * len(medians),
                noise=fit_noise(draws),
                sessions=() if len(starts) == 1 else _sessions(starts),
                recorded_at=starts[-1],
            )
        )
    scene.scorer.shift = everywhere(shift)
    return scene


def _sessions(starts: Sequence[str]) -> tuple[CalibrationSession, ...]:
    return tuple(CalibrationSession(started_at=at, draws=4) for at in starts)


_MEDIANS = (-0.1, 0.0, -0.1, 0.0, -0.1)
"""The band is 5.04 times their standard deviation of 0.055."""


@pytest.mark.parametrize(
    ("medians", "shift", "verdict"),
    [
        (_MEDIANS, -0.25, "agrees"),
        (_MEDIANS, -0.45, "drift"),
        (_MEDIANS[:4], -0.25, "drift"),
        ((0.0,) * 5, -0.25, "drift"),
    ],
)
def test_a_shift_within_the_band_of_sessions_is_no_drift(
    medians: tuple[float, ...], shift: float, verdict: str
) -> None:
    """From five sessions on; sessions that do not differ leave the floor as it is."""
    report = _with_sessions(*medians, shift=shift).check()

    assert [cell.verdict.word for cell in report.cells] == [verdict]


def test_a_cell_shows_the_band_of_its_sessions() -> None:
    """It is the one that decides."""
    (cell,) = _with_sessions(*_MEDIANS).check().cells

    assert cell.band == pytest.approx(5.0435 * 0.0547723, rel=1e-4)


@pytest.mark.parametrize(
    ("medians", "shift", "found"),
    [
        (_MEDIANS, 0.05, (SuiteVerdict.CHANGED, True)),
        (_MEDIANS, 0.35, (SuiteVerdict.DRIFT, True)),
        (_MEDIANS[:2], 0.1, (SuiteVerdict.DRIFT, False)),
    ],
)
def test_a_suite_has_a_band_of_its_sessions(
    medians: tuple[float, ...], shift: float, found: tuple[SuiteVerdict, bool]
) -> None:
    """Most items have to move further than they did from session to session."""
    report = _with_sessions(*medians, items=6, shift=shift).check()

    assert (report.suite_test.verdict, report.suite_test.band is not None) == found


@dataclass
class _Waiting:
    """Remembers what was waited for."""

    asked: list[tuple[datetime | None, float]] = field(default_factory=list)
    fails: bool = False

    def __call__(self, since: datetime | None, seconds: float) -> float:
        """Take half a second more, or an interruption."""
        self.asked.append((since, seconds))
        if self.fails:
            raise KeyboardInterrupt
        return seconds + 0.5


def _waiting_scene(shift: float = -4.0) -> tuple[LogprobScene, _Waiting]:
    scene = _recorded(items=3, draws=10, noise=exact)
    scene.suite = replace(scene.suite, tolerance=Tolerance(second_look_after_s=3600))
    scene.scorer.shift = everywhere(shift)
    waiting = scene.wait = _Waiting()
    return scene, waiting


def test_a_second_look_waits_since_the_last_draw_of_the_first() -> None:
    """The deadlines of the providers do not run meanwhile."""
    scene, waiting = _waiting_scene()

    report = scene.check()

    assert {cell.verdict.word for cell in report.cells} == {"drift"}
    assert waiting.asked == [(time_of(NOW), 3600)]
    assert scene.scorer.waited == [3600.5]


def test_without_a_second_look_nothing_waits() -> None:
    """Most checks end with the first."""
    scene, waiting = _waiting_scene(shift=0.0)

    assert {cell.verdict.word for cell in scene.check().cells} == {"agrees"}
    assert (waiting.asked, scene.scorer.waited) == ([], [])


def test_an_interrupted_wait_resumes_with_the_draws_of_the_first_look() -> None:
    """They are in the log, with their time."""
    scene, waiting = _waiting_scene()
    waiting.fails = True
    interrupted = scene.checked()
    waiting.fails = False
    scene.log = MemoryDrawLog(kept=scene.log.noted)
    scene.scorer.asked.clear()

    report = scene.check()

    assert interrupted.interrupted
    assert {cell.verdict.word for cell in report.cells} == {"drift"}
    assert waiting.asked == [(time_of(NOW), 3600)] * 2
    assert scene.scorer.asked_of(CELL, Purpose.FIRST_LOOK) == 0
    assert scene.scorer.asked_of(CELL, Purpose.SECOND_LOOK) == 5


def test_without_a_time_of_the_first_look_it_is_counted_from_now() -> None:
    """An answer may have none."""
    scene, waiting = _waiting_scene()
    without = {
        (cell.id, "first_look", number): Draw(
            logprobs=(-9.0,) * 39 + (-8.0,), facts=DrawFacts(model=MODEL)
        )
        for cell in scene.plan.cells
        for number in range(1, 6)
    }
    scene.scorer.script = without

    scene.check()

    assert waiting.asked == [(None, 3600)]
