"""Ctrl-C ends the draws: findings stay, and no draw is made twice."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from repro_gate.checks.logprobs.check import unreached
from repro_gate.core.logprobs.draw import DrawOutcome, InvalidDraw
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Invalid, Shifted
from repro_gate.core.tokens.verdicts import STOPPED, Inconclusive, Unrecorded
from repro_gate.ports import DrawRequest, Purpose
from tests.fakes.baseline_stores import MemoryDrawLog
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.scoring import (
    SOURCE,
    DrawKey,
    NoisyScorer,
    moved,
    suite_of_logprobs,
    unmoved,
)
from tests.fakes.watching import RecordingProgress, Tripwire

CELLS = ("base--item-0", "base--item-1", "base--item-2")
DRIFTED = "base--item-1"
INTERRUPTED = Inconclusive(
    reason="the check was interrupted", remedy="repeat the check with --resume"
)
NAN = InvalidDraw(reason="no log-probability", position=0)
QUICK = Tolerance(calibration_draws=6, draws=4, false_alarm_rate=0.05)
"""Few ways to divide the draws, because the same check is run again and again."""


@pytest.fixture(scope="module")
def recorded() -> LogprobScene:
    """Return a scene with three cells and their baselines, to be copied."""
    return recorded_scene(NoisyScorer(), suite_of_logprobs(items=3, tolerance=QUICK))


def _scene(recorded: LogprobScene, *, at: int | None = None) -> tuple[LogprobScene, Tripwire]:
    """Return a check of a service with drift in two of three cells, and a Ctrl-C."""
    wire = Tripwire(at=at)
    scene = LogprobScene(
        scorer=NoisyScorer(shift=moved({DRIFTED: -0.3, CELLS[2]: -0.3})),
        suite=recorded.suite,
        baselines=recorded.baselines,
        progress=RecordingProgress(step=wire),
    )
    return scene, wire


def _interruptions(recorded: LogprobScene) -> Iterator[tuple[LogprobScene, LogprobReport]]:
    """Yield the same check, interrupted at every possible point."""
    whole, wire = _scene(recorded)
    assert not whole.checked().interrupted
    for step in range(1, wire.steps + 1):
        scene, _ = _scene(recorded, at=step)
        checked = scene.checked()
        assert checked.interrupted
        yield scene, checked.report


def test_an_interruption_at_any_point_leaves_a_report(recorded: LogprobScene) -> None:
    """Each cell has the verdict of the whole check, or none."""
    whole = logprob_verdicts_of(_scene(recorded)[0].check())
    reports = [report for _, report in _interruptions(recorded)]

    assert len(reports) > 15
    for report in reports:
        verdicts = logprob_verdicts_of(report)
        assert tuple(verdicts) == CELLS
        for name, verdict in verdicts.items():
            if verdict != INTERRUPTED:
                assert isinstance(verdict, type(whole[name]))


def test_a_resumed_check_gives_the_report_of_an_uninterrupted_one(recorded: LogprobScene) -> None:
    """From any point of interruption, without repeating a draw."""
    whole = _scene(recorded)[0].check()
    for broken, _ in _interruptions(recorded):
        scene, _ = _scene(recorded)
        scene.log = MemoryDrawLog(kept=broken.log.noted)
        report = scene.check()

        assert replace(report, spending=whole.spending) == whole
        assert not set(scene.scorer.asked) & set(broken.log.noted)
        assert report.spending.reused == len(broken.log.noted)
        assert report.spending.calls + report.spending.reused == whole.spending.calls
        assert report.spending.saved == whole.spending.saved


def _interrupted(
    recorded: LogprobScene, key: DrawKey, script: dict[DrawKey, DrawOutcome] | None = None
) -> LogprobReport:
    """Return the report of a check that was interrupted before a certain draw."""
    scene, _ = _scene(recorded)
    scene.scorer.script = {**(script or {}), key: KeyboardInterrupt()}
    checked = scene.checked()
    assert checked.interrupted
    return checked.report


def test_the_first_wave_alone_gives_no_verdict(recorded: LogprobScene) -> None:
    """Neither on a cell nor on the suite."""
    report = _interrupted(recorded, (CELLS[2], "first_look", 1))

    assert set(logprob_verdicts_of(report).values()) == {INTERRUPTED}
    assert report.suite_test.verdict is SuiteVerdict.NOT_TESTED
    assert report.spending.calls == 4


def test_an_invalid_draw_is_kept(recorded: LogprobScene) -> None:
    """It was a finding before the interruption, and the remaining draws do not matter."""
    report = _interrupted(recorded, (CELLS[2], "first_look", 1), {(CELLS[0], "first_look", 1): NAN})

    assert logprob_verdicts_of(report) == {
        CELLS[0]: Invalid(reason=NAN.reason, position=0, count=1),
        CELLS[1]: INTERRUPTED,
        CELLS[2]: INTERRUPTED,
    }


def test_an_invalid_draw_of_the_second_look_is_kept(recorded: LogprobScene) -> None:
    """As in the first look."""
    report = _interrupted(recorded, (DRIFTED, "second_look", 2), {(DRIFTED, "second_look", 1): NAN})

    assert isinstance(logprob_verdicts_of(report)[DRIFTED], Invalid)


def test_between_the_looks_cells_without_suspicion_are_decided(recorded: LogprobScene) -> None:
    """The suspicious cell is neither drift nor agreement."""
    report = _interrupted(recorded, (CELLS[0], "second_look", 1))
    verdicts = logprob_verdicts_of(report)

    assert verdicts[DRIFTED] == INTERRUPTED
    assert isinstance(verdicts[CELLS[0]], Agrees)
    assert report.suite_test.verdict is SuiteVerdict.AGREES
    assert not report.suite_test.second_look


def test_confirmed_drift_is_kept() -> None:
    """The second look is made in batches, and an earlier batch is finished."""
    suite = suite_of_logprobs(items=257, tolerance=replace(QUICK, calibration_draws=10))
    scene = recorded_scene(NoisyScorer(tokens=2), suite)
    scene.scorer.shift = moved({CELLS[0]: -0.3, "base--item-256": -0.3})
    scene.scorer.script = {("base--item-256", "second_look", 2): KeyboardInterrupt()}
    verdicts = logprob_verdicts_of(scene.check())

    assert isinstance(verdicts[CELLS[0]], Shifted)
    assert verdicts["base--item-256"] == INTERRUPTED
    assert isinstance(verdicts[DRIFTED], Agrees)


def test_a_suite_that_was_not_started_is_reported(recorded: LogprobScene) -> None:
    """No request is made for it."""
    scene, _ = _scene(recorded)
    checked = unreached(scene.plan, ports=scene.ports)

    assert checked.interrupted
    assert logprob_verdicts_of(checked.report) == dict.fromkeys(CELLS, INTERRUPTED)
    assert (checked.report.measured, checked.report.suite_test.cells) == (False, 0)
    assert scene.scorer.asked == []


def test_a_suite_that_was_not_started_after_a_finding_is_inconclusive(
    recorded: LogprobScene,
) -> None:
    """With --fail-fast it was stopped, not interrupted."""
    scene, _ = _scene(recorded)
    checked = unreached(scene.plan, ports=scene.ports, because=STOPPED)

    assert not checked.interrupted
    assert logprob_verdicts_of(checked.report) == dict.fromkeys(CELLS, STOPPED)
    assert scene.scorer.asked == []


def test_verdicts_of_the_preflight_stay(recorded: LogprobScene) -> None:
    """A cell without a baseline is unrecorded, even if nothing was drawn."""
    scene, _ = _scene(recorded)
    scene.suite = suite_of_logprobs(items=4, tolerance=QUICK)
    scene.scorer.script = {(CELLS[0], "first_look", 1): KeyboardInterrupt()}
    verdicts = logprob_verdicts_of(scene.check())

    assert verdicts["base--item-3"] == Unrecorded(reason="there is no baseline")
    assert verdicts[CELLS[0]] == INTERRUPTED


def test_an_invalid_draw_is_not_repeated(recorded: LogprobScene) -> None:
    """The log has it, and so has the verdict."""
    scene, _ = _scene(recorded)
    scene.log = MemoryDrawLog(kept={(CELLS[0], "first_look", 1): NAN})
    report = scene.check()

    assert (CELLS[0], "first_look", 1) not in scene.scorer.asked
    assert isinstance(logprob_verdicts_of(report)[CELLS[0]], Invalid)


def test_a_control_is_not_repeated(recorded: LogprobScene) -> None:
    """Resumed or not, the control is the same."""
    first, _ = _scene(recorded)
    first.scorer.shift = unmoved
    before = first.check()
    again, _ = _scene(recorded)
    again.scorer.shift = unmoved
    again.log = MemoryDrawLog(kept=first.log.noted)

    assert again.check().controls == before.controls
    assert again.scorer.asked == []


def test_a_resumed_check_reuses_the_replacements_of_outliers() -> None:
    """Draw numbers continue, so a resumed check requests the same ones."""

    def first_is_far(request: DrawRequest) -> float:
        return -100.0 if (request.purpose, request.number) == (Purpose.FIRST_LOOK, 1) else 0.0

    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    scene.scorer.shift = first_is_far
    whole = scene.check()
    again = LogprobScene(
        scorer=NoisyScorer(shift=first_is_far),
        suite=scene.suite,
        baselines=scene.baselines,
        log=MemoryDrawLog(kept=scene.log.noted),
    )

    assert replace(again.check(), spending=whole.spending) == whole
    assert again.scorer.asked == []
    assert whole.cells[0].source == SOURCE
