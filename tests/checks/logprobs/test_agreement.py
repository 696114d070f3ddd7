"""A service that has not changed: few draws, and equivalence only where it was shown."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.checks.logprobs.check import within_variance
from repro_gate.core.logprobs.draw import Draw, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobKind, ProviderKind, ProviderSpec, Tolerance
from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobControl,
    LogprobReport,
    PolicyNoise,
    Spending,
    SuiteTest,
    SuiteVerdict,
)
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Evidence
from repro_gate.ports import DrawRequest, Purpose
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.scoring import (
    MODEL,
    SOURCE,
    NoisyScorer,
    exact,
    gaussian,
    moved_draws,
    policy_of,
    suite_of_logprobs,
    wobbling,
)

IDENTICAL = Agrees(equivalence=Equivalence.IDENTICAL)
PRICED = ProviderSpec(
    name=SOURCE,
    kind=ProviderKind.FIREWORKS,
    base_url="https://api.test/v1",
    usd_per_million_tokens=0.5,
)


def test_a_service_that_repeats_itself_agrees() -> None:
    """Two draws of each cell and one control of the policy are enough."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    totals = [scene.baselines.kept[SOURCE, cell.id].totals for cell in scene.suite.cells]
    report = scene.check()
    # The baseline is rounded, and new draws are not.
    drawn = [cell.totals for cell in report.cells]

    assert drawn == [pytest.approx(kept[:2], abs=1e-4) for kept in totals]
    assert report == LogprobReport(
        suite="hosted",
        tolerance=Tolerance(),
        cells=tuple(
            LogprobCellReport(
                cell=cell,
                verdict=IDENTICAL,
                source=SOURCE,
                center=kept[0],
                band=0.1,
                calibration=kept,
                totals=new,
            )
            for cell, kept, new in zip(scene.suite.cells, totals, drawn, strict=True)
        ),
        suite_test=report.suite_test,
        policies=report.policies,
        weights=(),
        controls=(LogprobControl(policy="base", cell="base--item-0", differed=True),),
        spending=Spending(calls=5, saved=6, reused=0, tokens=5 * 43, usd=0.0),
        sessions=report.sessions,
    )


def test_a_policy_that_repeats_itself_has_no_noise() -> None:
    """Every draw is on the atom."""
    (noise,) = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2)).check().policies

    assert noise.calibration_variance == pytest.approx(0, abs=1e-9)
    assert replace(noise, calibration_variance=0.0) == PolicyNoise(
        policy="base",
        model=MODEL,
        temperature=0.7,
        logprobs=LogprobKind.RAW,
        cells=2,
        calibration_variance=0.0,
        variance=0.0,
        atom=1.0,
        draws=4,
        outliers=0,
    )


def test_a_suite_of_exact_repeats_is_identical() -> None:
    """Rounding of the baseline is not a shift."""
    matrix = recorded_scene(NoisyScorer()).check().suite_test
    none: dict[str, Any] = {"typical_shift": 0.0, "mean_shift": 0.0, "mean_shift_bound": 0.0}
    left = [matrix.typical_shift, matrix.mean_shift, matrix.mean_shift_bound]

    assert left == pytest.approx([0, 0, 0], abs=1e-4)
    assert replace(matrix, **none) == SuiteTest(
        verdict=SuiteVerdict.AGREES,
        cells=3,
        left_out=0,
        p_value=1.0,
        evidence=Evidence.EXACT_REPEATS,
        second_look=False,
        equivalence=Equivalence.IDENTICAL,
        **none,
    )


def test_the_cost_follows_from_the_price() -> None:
    """Prompt and response tokens of every draw, at the price in the matrix."""
    suite = suite_of_logprobs(policies=[policy_of(provider=PRICED)], items=1)
    spending = recorded_scene(NoisyScorer(tokens=7), suite).check().spending

    assert spending == Spending(calls=3, saved=3, reused=0, tokens=30, usd=15e-6)


def test_draws_on_this_machine_cost_nothing() -> None:
    """A local provider has no price, even if the matrix sets one."""
    local = ProviderSpec(name="local", kind=ProviderKind.LOCAL, usd_per_million_tokens=0.5)
    suite = suite_of_logprobs(policies=[policy_of(provider=local)], items=1)

    assert recorded_scene(NoisyScorer(), suite).check().spending.usd == 0.0


def test_every_draw_is_logged() -> None:
    """The log has each draw once, in order of arrival."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    scene.check()

    assert sorted(scene.log.noted) == [
        ("base--item-0", "control", 1),
        ("base--item-0", "first_look", 1),
        ("base--item-0", "first_look", 2),
        ("base--item-1", "first_look", 1),
        ("base--item-1", "first_look", 2),
    ]


def test_progress_accounts_for_every_planned_draw() -> None:
    """Skipped draws are reported too; controls are not planned draws."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    scene.check()

    assert scene.progress.log[0] == ("started", 2, 10)
    assert scene.progress.runs_accounted_for == 10


def test_a_second_look_is_further_work() -> None:
    """A suite that is suspicious is drawn again, which is announced before it is done."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    moved = {("base--item-1", "first_look", number): -3.0 for number in range(1, 6)}
    scene.scorer.shift = moved_draws(moved)
    scene.check()

    assert [event for event in scene.progress.log if event[0] == "started"] == [
        ("started", 2, 10),
        ("started", 2, 10),
    ]
    assert scene.progress.runs_accounted_for == 20


def test_one_draw_that_differs_extends_the_look() -> None:
    """A third draw that repeats is enough; none of them is a finding."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    scene.scorer.shift = moved_draws({("base--item-1", "first_look", 1): -0.5})
    report = scene.check()

    assert scene.scorer.asked_of("base--item-0", Purpose.FIRST_LOOK) == 2
    assert scene.scorer.asked_of("base--item-1", Purpose.FIRST_LOOK) == 3
    assert logprob_verdicts_of(report) == {
        "base--item-0": IDENTICAL,
        "base--item-1": Agrees(equivalence=Equivalence.NOT_SHOWN),
    }
    assert report.spending.saved == 3 + 2
    assert report.policies[0].atom == 4 / 5


def test_a_small_wobble_is_equivalent() -> None:
    """Two one-sided tests place it within the floor; an exact repeat is not claimed."""
    scene = recorded_scene(NoisyScorer(noise=gaussian(0.02)), suite_of_logprobs(items=1))

    assert logprob_verdicts_of(scene.check()) == {
        "base--item-0": Agrees(equivalence=Equivalence.EQUIVALENT)
    }


def test_a_large_wobble_is_not_called_equivalent() -> None:
    """No difference was found, but equivalence was not shown either."""
    scene = recorded_scene(NoisyScorer(noise=gaussian(1.0)), suite_of_logprobs(items=1))

    assert logprob_verdicts_of(scene.check()) == {
        "base--item-0": Agrees(equivalence=Equivalence.NOT_SHOWN)
    }


def test_the_order_of_answers_does_not_matter() -> None:
    """A client sends many requests in parallel, and answers arrive in any order."""
    reports = [
        _wobbling_scene(NoisyScorer(answers_backwards=backwards)).check()
        for backwards in (False, True)
    ]

    assert reports[0] == reports[1]
    assert any(len(cell.totals) > 2 for cell in reports[0].cells)


def _wobbling_scene(scorer: NoisyScorer) -> LogprobScene:
    scene = recorded_scene(scorer, suite_of_logprobs(items=4))
    scorer.shift = wobbling(0.5)
    return scene


def test_a_scorer_that_ignores_the_prompt_fails_the_control() -> None:
    """Its draws agree, but would agree for any prompt."""
    scene = recorded_scene(NoisyScorer())
    # It gives the same values after any prompt.
    scene.scorer.script = {
        (cell.id, "control", 1): Draw(logprobs=scene.baselines.kept[SOURCE, cell.id].draws[0])
        for cell in scene.suite.cells
    }
    report = scene.check()

    assert set(logprob_verdicts_of(report).values()) == {IDENTICAL}
    assert report.controls == (LogprobControl(policy="base", cell="base--item-0", differed=False),)
    assert report.controls[0].failed


def test_each_policy_has_its_own_control() -> None:
    """A policy that passes its control proves nothing about another."""
    suite = suite_of_logprobs(policies=[policy_of("one"), policy_of("two")], items=2)
    report = recorded_scene(NoisyScorer(), suite).check()

    assert [control.cell for control in report.controls] == ["one--item-0", "two--item-0"]


def _asked_and_controls(
    scene: LogprobScene,
) -> tuple[list[DrawRequest], tuple[LogprobControl, ...]]:
    asked: list[DrawRequest] = []

    def shift(request: DrawRequest) -> float:
        asked.append(request)
        return 0.0

    scene.scorer.shift = shift
    return asked, scene.check().controls


@pytest.mark.parametrize(
    ("prompt", "other"),
    [((1, 2, 1, 5), (1, 2, 1, 5) * 2), ((7,), (7, 7)), ((), (9,)), ((1, 2, 3), (2, 1, 3))],
    ids=["palindrome", "one token", "empty", "usual"],
)
def test_a_palindrome_is_doubled(prompt: tuple[int, ...], other: tuple[int, ...]) -> None:
    """The control needs a different prompt; in place of an empty one it uses the response."""
    suite = suite_of_logprobs(items=1)
    encoding = Encoding(
        prompt=tuple(Piece(number, b"p") for number in prompt), response=(Piece(9, b"r"),)
    )
    scene = recorded_scene(NoisyScorer(encodings={suite.cells[0].id: encoding}), suite)
    asked, (control,) = _asked_and_controls(scene)

    (request,) = [one for one in asked if one.purpose is Purpose.CONTROL]
    assert tuple(piece.id for piece in request.encoding.prompt) == other
    assert control.differed


def test_the_control_prompt_is_reversed() -> None:
    """It has the same tokens; the last one stays before the response."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    asked, _ = _asked_and_controls(scene)

    (request,) = [one for one in asked if one.purpose is Purpose.CONTROL]
    assert [piece.id for piece in request.encoding.prompt] == [1, 0, 2]
    assert request.answers_as is None


def test_draws_request_the_model_name_of_the_baseline() -> None:
    """The parser of the answer rejects another model."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    asked, _ = _asked_and_controls(scene)

    assert {one.answers_as for one in asked if one.purpose is Purpose.FIRST_LOOK} == {MODEL}


def test_noise_is_reported_by_policy() -> None:
    """At temperature 0 a service may repeat itself, and at 0.7 it may not."""
    hot, cold = policy_of("hot"), policy_of("cold", temperature=0.0)
    scene = LogprobScene(
        scorer=NoisyScorer(noise=gaussian(0.5), seed=3),
        suite=suite_of_logprobs(policies=[hot, cold], items=4),
        only="hot--*",
    ).record()
    scene.scorer.noise, scene.only = exact, "cold--*"
    scene.record()
    scene.only = None
    wobble = wobbling(0.5)
    scene.scorer.shift = lambda one: wobble(one) if one.cell.policy == hot else 0.0
    found = scene.check().policies

    assert [(one.policy, one.temperature, one.cells) for one in found] == [
        ("hot", 0.7, 4),
        ("cold", 0.0, 4),
    ]
    assert found[0].calibration_variance == pytest.approx(0.25, rel=0.5)
    assert found[0].variance == pytest.approx(0.25, rel=0.7)
    assert [found[1].calibration_variance, found[1].variance] == pytest.approx([0, 0], abs=1e-9)
    assert (found[0].atom, found[1].atom) == (0.0, 1.0)


def test_variance_is_pooled_within_cells() -> None:
    """Differences between cells are not noise, and one draw has no variance."""
    assert within_variance([[1.0, 2.0, 3.0], [-50.0, -54.0], [7.0]]) == (2 + 8) / (2 + 1)
    assert within_variance([[1.0], [2.0]]) == within_variance([]) == 0.0


def test_a_suite_without_comparable_cells_is_not_tested() -> None:
    """There are no draws, and no verdict on the suite."""
    scene = LogprobScene(scorer=NoisyScorer())
    report = scene.check()

    assert scene.scorer.asked == []
    assert report.suite_test.verdict is SuiteVerdict.NOT_TESTED
    assert (report.policies, report.controls, report.measured) == ((), (), False)
