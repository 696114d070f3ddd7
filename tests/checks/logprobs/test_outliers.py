"""Outliers: replaced, counted, reported, and excluded from everything else."""

import math
from dataclasses import replace

import numpy as np
import pytest

from repro_gate.core.logprobs.draw import Draw, DrawFacts, MissedDraw
from repro_gate.core.logprobs.policy import Tolerance, WeightPlan
from repro_gate.core.logprobs.report import OutlierDraw
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Outlying, Shifted, TokenShift
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.ports import DrawRequest, Purpose
from repro_gate.statistics.permutation import Floats
from tests.fakes.baseline_stores import MemoryBaselines
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.scoring import (
    MODEL,
    SOURCE,
    DrawKey,
    NoisyScorer,
    baseline_of,
    encoding_of,
    moved_draws,
    policy_of,
    suite_of_logprobs,
    tokens_moved,
)

IDENTICAL = Agrees(equivalence=Equivalence.IDENTICAL)
CELL = "base--item-0"
FAR = tokens_moved({4: -100.0, 11: -14.0})
LOOKS = ("first_look", "second_look")


def _outlying(items: int, *, draws: tuple[int, ...] = (2,)) -> LogprobScene:
    """Return a scene in which some draws of the first cell are outliers."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=items))
    scene.scorer.shift = moved_draws({(CELL, "first_look", number): FAR for number in draws})
    return scene


def test_an_outlier_is_replaced_and_reported() -> None:
    """With the tokens that caused it and its request id; it is in no sum."""
    scene = _outlying(items=10)
    report = scene.check()
    cell = report.cells[0]
    center = cell.calibration[0]
    (outlier,) = cell.outliers
    piece = encoding_of(scene.suite.cells[0]).response

    assert logprob_verdicts_of(report)[CELL] == IDENTICAL
    assert scene.scorer.asked_of(CELL, Purpose.FIRST_LOOK) == 3
    assert cell.totals == pytest.approx([center] * 2, abs=1e-4)
    assert outlier.total == pytest.approx(center - 114, abs=1e-4)
    assert (outlier.center, outlier.bound) == (center, 8.0)
    assert outlier.request_id == "base--item-0/first_look/2"
    assert [(found.position, found.piece) for found in outlier.tokens] == [
        (4, piece[4]),
        (11, piece[11]),
    ]
    assert [found.shift for found in outlier.tokens] == pytest.approx([-100, -14], abs=1e-4)


def test_outliers_are_counted_for_their_policy() -> None:
    """They are not among its draws, and do not add to its noise."""
    (noise,) = _outlying(items=10).check().policies

    assert (noise.outliers, noise.draws) == (1, 20)
    assert noise.variance == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("items", [1, 2, 3, 4])
def test_one_outlier_is_not_a_finding_in_a_small_suite(items: int) -> None:
    """One of seven draws exceeds one of twenty, but may be chance."""
    report = _outlying(items=items).check()

    assert set(logprob_verdicts_of(report).values()) == {IDENTICAL}
    assert len(report.cells[0].outliers) == 1


def test_too_many_outliers_are_a_finding_in_their_cells() -> None:
    """With one outlier in twenty, 7 of 27 occur in less than one of 1,000 checks."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=10))
    strange = [f"base--item-{number}" for number in range(7)]
    scene.scorer.shift = moved_draws({(name, "first_look", 2): FAR for name in strange})
    verdicts = logprob_verdicts_of(scene.check())
    finding = Outlying(count=7, draws=27, most=6, allowed=0.05)

    assert verdicts == dict.fromkeys(verdicts, IDENTICAL) | dict.fromkeys(strange, finding)
    assert finding.rate == 7 / 27


def test_as_many_outliers_as_chance_explains_are_allowed() -> None:
    """Six of 26 are the limit."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=10))
    strange = [f"base--item-{number}" for number in range(6)]
    scene.scorer.shift = moved_draws({(name, "first_look", 2): FAR for name in strange})

    assert set(logprob_verdicts_of(scene.check()).values()) == {IDENTICAL}


def test_mostly_distant_draws_are_drift() -> None:
    """When nearly all draws are distant, the cell has shifted, and nothing is replaced."""
    scene = _outlying(items=3, draws=(1, 2, 3, 4, 5))
    shift = scene.scorer.shift

    def in_both_looks(request: DrawRequest) -> Floats | float:
        second = (request.cell.id, request.purpose) == (CELL, Purpose.SECOND_LOOK)
        return FAR if second else shift(request)

    scene.scorer.shift = in_both_looks
    report = scene.check()

    assert isinstance(logprob_verdicts_of(report)[CELL], Shifted)
    assert report.cells[0].outliers == ()
    assert scene.scorer.asked_of(CELL, Purpose.FIRST_LOOK) == 5


def test_the_suite_test_uses_two_draws_of_each_cell_in_the_first_look() -> None:
    """Also of a cell with three, because the third showed that the first was not an outlier."""
    scene = _outlying(items=1, draws=(1, 3))
    matrix = scene.check().suite_test

    assert not matrix.second_look
    assert matrix.mean_shift == pytest.approx(-114 / 2, abs=1e-3)


def test_the_suite_test_uses_equally_many_draws_in_the_second_look() -> None:
    """The first ones requested, whatever the later ones show."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=4))
    far = {(CELL, "second_look", number): FAR for number in (1, 2, 6, 7)}

    def shift(request: DrawRequest) -> Floats | float:
        return far.get(request.key, -0.3 if request.purpose is Purpose.FIRST_LOOK else 0.0)

    scene.scorer.shift = shift
    matrix = scene.check().suite_test

    assert scene.scorer.asked_of(CELL, Purpose.SECOND_LOOK) == 7
    assert matrix.second_look
    assert matrix.mean_shift == pytest.approx(-114 * 2 / 5 / 4, abs=1e-3)


def test_drift_beats_outliers() -> None:
    """A cell that has shifted and has outliers has drifted."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=3))

    def shift(request: DrawRequest) -> Floats | float:
        if request.key in {(CELL, "second_look", 1), (CELL, "second_look", 2)}:
            return FAR
        return -0.3 if request.cell.id == CELL else 0.0

    scene.scorer.shift = shift
    report = scene.check()

    made = sum(len(cell.totals) for cell in report.cells) + 2

    assert isinstance(logprob_verdicts_of(report)[CELL], Shifted)
    assert len(report.cells[0].outliers) == 2
    assert 2 / made > report.tolerance.max_outlier_rate


def test_an_outlier_is_no_evidence_of_drift() -> None:
    """Its cell is decided by the replacement draws."""
    scene = _outlying(items=10, draws=(1,))
    report = scene.check()

    assert len(report.cells[0].totals) == 2
    assert report.spending.saved == 30
    assert report.spending.calls == 22


BASE = (-40.8, -41.5, -42.0, -42.7, -43.5)
CLONE = (-39.6, -40.0, -40.3, -40.9, -41.4)
ANOMALY = -156.5


def _of_the_finding() -> LogprobScene:
    """Return the scene of the original bug report: five draws, and an anomaly."""
    policies = [policy_of("base"), policy_of("clone", system="the same")]
    suite = suite_of_logprobs(
        policies=policies,
        items=1,
        tolerance=Tolerance(calibration_draws=5, draws=2),
        weights=WeightPlan(base="base", clones=("clone",)),
    )
    base, clone = suite.cells
    drawn = {
        (base.id, 1): ANOMALY,
        (base.id, 2): -42.2,
        (base.id, 3): -41.9,
        (clone.id, 1): -40.3,
        (clone.id, 2): -40.5,
    }
    kept = [
        baseline_of(cell, [(total,) for total in totals])
        for cell, totals in ((base, BASE), (clone, CLONE))
    ]
    return LogprobScene(
        scorer=NoisyScorer(
            tokens=1,
            script={
                (name, "first_look", number): Draw(
                    logprobs=(total,), facts=DrawFacts(model=MODEL, request_id=f"req-{total}")
                )
                for (name, number), total in drawn.items()
            },
        ),
        suite=suite,
        baselines=MemoryBaselines(kept={(SOURCE, one.id): one for one in kept}),
    )


def test_the_anomaly_of_the_bug_report_is_caught_and_replaced() -> None:
    """-156.5 among -40.8 to -43.5, with the token and the request behind it."""
    scene = _of_the_finding()
    cell = scene.check().cells[0]

    assert cell.totals == (-42.2, -41.9)
    assert cell.outliers == (
        OutlierDraw(
            total=ANOMALY,
            center=-42.0,
            bound=scene.baselines.kept[SOURCE, cell.id].noise.outlier_bound(20),
            tokens=(
                TokenShift(
                    position=0,
                    piece=encoding_of(scene.suite.cells[0], 1).response[0],
                    expected=-42.0,
                    observed=ANOMALY,
                ),
            ),
            request_id="req--156.5",
        ),
    )


def test_the_weight_of_the_bug_report_is_no_longer_astronomical() -> None:
    """Base and clone are about 2 nats apart, not 116.2."""
    (weights,) = _of_the_finding().check().weights

    assert weights.mean_log_ratio == pytest.approx(1.7, abs=0.3)
    assert weights.mean_weight == pytest.approx(math.exp(weights.mean_log_ratio))
    assert weights.mean_weight < 10


AWAY = MissedDraw(reason="503 from the service", remedy="wait")


def _every_other(*, lost: DrawKey | None = None) -> LogprobScene:
    """Return a scene in which every other draw of the first cell is distant."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    scene.scorer.shift = moved_draws(
        {(CELL, purpose, number): FAR for purpose in LOOKS for number in range(1, 99, 2)}
    )
    scene.scorer.script = {} if lost is None else {lost: AWAY}
    return scene


def test_distant_draws_without_drift_are_outliers() -> None:
    """Four of seven are distant: they might be drift, but are not."""
    report = _every_other().check()
    (cell,) = report.cells

    assert cell.verdict == Outlying(count=4, draws=7, most=3, allowed=0.05)
    assert [one.total for one in cell.outliers] == pytest.approx([cell.calibration[0] - 114] * 4)
    assert cell.totals == pytest.approx([cell.calibration[0]] * 3, abs=1e-4)


def test_an_outlier_that_repeats_a_calibration_draw_is_none_of_the_repeats() -> None:
    """A baseline has distant draws when `outlier_factor` was lowered since it was recorded."""
    scene = _every_other()
    baseline = scene.baselines.read(SOURCE, CELL)
    distant = tuple(tuple(map(float, np.add(draw, FAR))) for draw in baseline.draws[:4])
    scene.baselines.write(replace(baseline, draws=(*distant, *baseline.draws[4:])))
    report = scene.check()
    (noise,) = report.policies

    assert (len(report.cells[0].outliers), len(report.cells[0].totals)) == (
        noise.outliers,
        noise.draws,
    )
    assert (noise.outliers > 0, noise.atom) == (True, 1.0)


def test_outliers_stay_a_finding_when_the_service_fails_later() -> None:
    """The report has them, and the reason why there are no more draws."""
    report = _every_other(lost=(CELL, "first_look", 8)).check()
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    scene.scorer.shift = lambda _: FAR
    scene.scorer.script = {(CELL, "second_look", 1): AWAY}
    (cell,) = scene.check().cells

    assert isinstance(report.cells[0].verdict, Outlying)
    assert cell.verdict == Outlying(
        count=9,
        draws=9,
        most=3,
        allowed=0.05,
        unfinished=Inconclusive(reason=AWAY.reason, remedy=AWAY.remedy),
    )
    assert cell.totals == ()


def test_a_few_outliers_before_a_failure_are_not_a_finding() -> None:
    """One of three may be chance, so the cell was not measured."""
    scene = _outlying(items=1, draws=(2,))
    scene.scorer.script = {(CELL, "first_look", 3): AWAY}

    assert isinstance(scene.check().cells[0].verdict, Inconclusive)


def test_a_service_with_half_its_draws_distant_is_a_finding() -> None:
    """In every one of a few sessions: as outliers or as drift."""
    for seed in range(5):
        scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=12))
        generator = np.random.default_rng(seed)

        def shift(_: DrawRequest, generator: np.random.Generator = generator) -> Floats | float:
            return FAR if generator.random() < 0.5 else 0.0

        scene.scorer.shift = shift
        found = logprob_verdicts_of(scene.check()).values()

        assert any(isinstance(verdict, Outlying | Shifted) for verdict in found)
