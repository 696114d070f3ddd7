"""Importance weights between policies, and the control that those of a clone are 1."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from repro_gate.checks.logprobs.importance_weights import expected_doubts, importance_weights
from repro_gate.core.logprobs.draw import Draw, MissedDraw
from repro_gate.core.logprobs.error_rates import MIN_WEIGHTS, max_noise
from repro_gate.core.logprobs.policy import LogprobSuite, Tolerance, WeightPlan
from repro_gate.core.logprobs.report import Usability, WeightReport
from repro_gate.ports import DrawRequest, Purpose
from repro_gate.statistics.permutation import Floats
from tests.fakes.gating import LogprobScene, recorded_scene
from tests.fakes.scoring import (
    Mixture,
    NoisyScorer,
    gaussian,
    policy_of,
    suite_of_logprobs,
)

BASE, CLONE, UNHELPFUL = "base", "clone", "unhelpful"


def _suite(
    *names: str, items: int = 8, plan: WeightPlan | None = None, clone_model: str | None = None
) -> LogprobSuite:
    """Return policies of the same model, but for the unhelpful one, and how they are compared."""
    usual = policy_of().model
    models = {UNHELPFUL: "another", CLONE: clone_model or usual}
    policies = [policy_of(name, model=models.get(name, usual)) for name in names]
    plan = plan or WeightPlan(base=BASE, clones=(CLONE,) if CLONE in names else ())
    return suite_of_logprobs(policies=policies, items=items, weights=plan)


def test_a_suite_without_a_plan_has_no_weights() -> None:
    """The matrix asks for none."""
    suite = replace(_suite(BASE, CLONE), weights=None)

    assert recorded_scene(NoisyScorer(), suite).check().weights == ()


def test_a_clone_that_is_the_base_is_centred() -> None:
    """Every weight is 1."""
    (found,) = recorded_scene(NoisyScorer(), _suite(BASE, CLONE)).check().weights

    assert (found.base, found.target, found.items) == (BASE, CLONE, 8)
    assert (found.is_control, found.must_be_usable) == (True, False)
    assert found.mean_log_ratio == pytest.approx(0.0)
    assert found.effective_size == pytest.approx(8)
    assert found.mean_weight == pytest.approx(1.0)
    assert found.control_p == 1.0
    assert (found.problems, found.failed) == ((), False)


@pytest.mark.parametrize("seed", range(3))
def test_a_noisy_clone_is_centred_too(seed: int) -> None:
    """Its log-ratios are off, some by more than a nat, and no more than by chance."""
    suite = _suite(BASE, CLONE, items=12)
    (found,) = recorded_scene(NoisyScorer(noise=gaussian(1.0), seed=seed), suite).check().weights

    assert found.control_p is not None
    assert found.control_p > 0.001
    assert not found.failed


def _away_by(nats: float, *, noise: Mixture) -> LogprobScene:
    """Return a scene whose clone is off in calibration and check alike."""
    return recorded_scene(_ShiftedClone(noise=noise, seed=2, nats=nats), _suite(BASE, CLONE))


class _ShiftedClone(NoisyScorer):
    """A service whose clone is another model, if only a little."""

    def __init__(self, *, noise: Mixture, seed: int, nats: float) -> None:
        super().__init__(noise=noise, seed=seed)
        self._nats = nats

    def drawn(self, request: DrawRequest) -> Draw:
        """Return a draw; each token of the clone is as much less likely."""
        draw = super().drawn(request)
        if request.cell.policy.name != CLONE:
            return draw
        share = self._nats / len(draw.logprobs)
        return replace(draw, logprobs=tuple(value - share for value in draw.logprobs))


def test_a_clone_that_is_off_by_a_nat_is_a_finding() -> None:
    """The policies differ, though the matrix declares them clones."""
    (found,) = _away_by(1.0, noise=Mixture()).check().weights

    assert found.control_p is not None
    assert found.control_p < 0.001
    assert found.mean_log_ratio == pytest.approx(-1, abs=0.1)
    (problem,) = found.problems
    assert problem == (
        "the A/A control is not centred on 0: the log-ratios are typically 1 nats "
        f"(p = {found.control_p:.2g}), though both policies should be the same"
    )
    assert found.failed


def test_a_clone_that_is_off_by_less_than_the_floor_will_do() -> None:
    """It is certain, and changes no weight by as much as matters."""
    (found,) = _away_by(0.05, noise=Mixture(share=0.0)).check().weights

    assert found.control_p is not None
    assert found.control_p < 0.001
    assert not found.failed


def test_the_control_uses_equally_many_draws_of_every_cell() -> None:
    """A number that depends on the draws would add bias."""
    suite = _suite(BASE, CLONE, items=4)
    generator = np.random.default_rng(3)
    drawn = {cell.id: generator.normal(-42, 1, 15).tolist() for cell in suite.cells}
    few, many = (
        importance_weights(suite, {name: draws[:last] for name, draws in drawn.items()}, fixed=5)
        for last in (6, 15)
    )

    assert few[0].mean_log_ratio != many[0].mean_log_ratio
    assert few[0].control_p == many[0].control_p


def test_weights_of_another_model_are_reported_as_unusable() -> None:
    """For information only, unless the matrix requires them."""
    (found,) = recorded_scene(NoisyScorer(), _suite(BASE, UNHELPFUL)).check().weights

    assert (found.is_control, found.control_p) == (False, None)
    assert found.largest_share > 0.5
    assert found.problems
    assert not found.failed


def test_weights_that_are_needed_have_to_be_usable() -> None:
    """Those of another model are not."""
    plan = WeightPlan(base=BASE, must_be_usable=(UNHELPFUL,))
    (found,) = recorded_scene(NoisyScorer(), _suite(BASE, UNHELPFUL, plan=plan)).check().weights

    assert found.must_be_usable
    assert found.failed


def test_every_other_policy_is_compared_with_the_base() -> None:
    """In the order of the matrix."""
    scene = recorded_scene(NoisyScorer(), _suite(CLONE, BASE, UNHELPFUL))

    assert [found.target for found in scene.check().weights] == [CLONE, UNHELPFUL]


def test_unmeasured_items_are_left_out() -> None:
    """Their cells show why; the weights come from the rest."""
    scene = recorded_scene(NoisyScorer(), _suite(BASE, CLONE))
    away = MissedDraw(reason="503 from the service")
    scene.scorer.script = {
        ("base--item-0", "first_look", 1): away,
        ("clone--item-1", "first_look", 1): away,
    }
    (found,) = scene.check().weights

    assert found.items == 6
    assert not found.failed


def test_missing_weights_are_not_bad_weights() -> None:
    """When nothing could be measured, there is nothing to report."""
    scene = recorded_scene(NoisyScorer(), _suite(BASE, CLONE))
    scene.scorer.missing = {CLONE: "CLONE_API_KEY is not set"}

    assert scene.check().weights == ()


def _weighed(
    ratios: Sequence[float], *, clones: tuple[str, ...] = (CLONE,), draws: int = 5
) -> tuple[WeightReport, ...]:
    """Return the weights of clones whose draws are a log-ratio off the base's, item by item."""
    plan = WeightPlan(base=BASE, clones=clones, must_be_usable=clones)
    suite = _suite(BASE, *clones, items=len(ratios), plan=plan)
    away = {f"item-{place}": ratio for place, ratio in enumerate(ratios)}
    totals = {
        cell.id: [
            -42 + 0.1 * step + (0.0 if cell.policy.name == BASE else away[cell.item.name])
            for step in range(draws)
        ]
        for cell in suite.cells
    }
    return importance_weights(suite, totals, fixed=draws)


def test_each_of_several_clones_has_its_share_of_the_error_rate() -> None:
    """Two controls may alarm by chance no more often than one."""
    # As far apart as hardly ever by chance: enough for one control, and not for one of two.
    one, two = (_weighed([-0.26] * 3, clones=clones) for clones in ((CLONE,), (CLONE, "twin")))

    p_values = {found.control_p for found in (*one, *two)}
    assert len(p_values) == 1
    assert 0.0005 < min(p for p in p_values if p is not None) < 0.001
    assert [[found.failed for found in some] for some in (one, two)] == [[True], [False, False]]


@pytest.mark.parametrize(
    ("items", "usability", "is_unknown"),
    [
        (1, Usability.UNDETERMINED, True),
        (2, Usability.UNDETERMINED, True),
        (3, Usability.USABLE, False),
    ],
)
def test_a_control_that_cannot_fail_proves_nothing(
    items: int, usability: Usability, *, is_unknown: bool
) -> None:
    """A clone that agrees on a single item has not passed."""
    (found,) = _weighed([0.0] * items)

    assert (found.usability, found.inconclusive) == (usability, is_unknown)
    assert (found.control_doubt is None) is (usability is Usability.USABLE)


def test_a_control_of_too_few_draws_shows_nothing() -> None:
    """Two draws of each of three items can never differ significantly."""
    (found,) = _weighed([-3.0] * 3, draws=2)

    assert found.inconclusive
    (doubt,) = found.doubts
    assert doubt == (
        "the A/A control cannot fail: with 3 items its smallest p-value is 0.037, not at most "
        "0.001; take more draws or more items"
    )


def test_a_clone_of_great_noise_needs_more_items() -> None:
    """Its log-ratios may be noise, and then only many items show whether the weights are usable."""
    few, many = (
        recorded_scene(NoisyScorer(noise=gaussian(0.7), seed=5), suite).check().weights[0]
        for suite in (_suite(BASE, CLONE, items=items) for items in (5, MIN_WEIGHTS))
    )

    assert (few.usability, few.control_doubt) == (Usability.UNDETERMINED, None)
    assert few.doubts[0].endswith("5 items are too few, at least 51 are needed")
    assert many.usability is Usability.USABLE


@pytest.mark.parametrize(
    ("ratios", "usability"),
    [
        ([3.0, 0.0, 0.0], Usability.UNDETERMINED),
        ([0.0] * 50, Usability.UNDETERMINED),
        ([0.0] * 51, Usability.USABLE),
        ([0.0] * 200 + [8.0], Usability.UNUSABLE),
        ([116.2] * 150, Usability.UNUSABLE),
        ([116.2], Usability.UNUSABLE),
        ([-65.2] * 150, Usability.UNUSABLE),
        ([-65.2] * 5, Usability.UNDETERMINED),
    ],
    ids=str,
)
def test_other_policies_need_enough_items(ratios: list[float], usability: Usability) -> None:
    """A share of three items means little, and a mean weight of exp(116.2) is a problem."""
    plan = WeightPlan(base=BASE, must_be_usable=(UNHELPFUL,))
    suite = _suite(BASE, UNHELPFUL, items=len(ratios), plan=plan)
    away = {f"item-{place}": ratio for place, ratio in enumerate(ratios)}
    totals = {
        cell.id: [-42.0 + (0 if cell.policy.name == BASE else away[cell.item.name])] * 2
        for cell in suite.cells
    }
    (found,) = importance_weights(suite, totals, fixed=5)

    assert found.usability is usability
    assert found.failed is (usability is Usability.UNUSABLE)
    assert found.inconclusive is (usability is Usability.UNDETERMINED)


@pytest.mark.parametrize("seed", range(3))
def test_a_clone_with_the_noise_of_a_real_service_is_seldom_anything_but_usable(seed: int) -> None:
    """In 50 suites of 5 items whose draws are off in a tenth: at most two by chance."""
    generator = np.random.default_rng(seed)
    plan = WeightPlan(base=BASE, clones=(CLONE,), must_be_usable=(CLONE,))
    suite = _suite(BASE, CLONE, items=5, plan=plan)
    found = []
    for _ in range(50):
        off = generator.random((10, 5)) < 0.1
        drawn = np.where(off, generator.normal(-42, 1.56, (10, 5)), -42.0)
        totals = {cell.id: draws for cell, draws in zip(suite.cells, drawn.tolist(), strict=True)}
        (report,) = importance_weights(suite, totals, fixed=5)
        found.append(report.usability)

    assert Usability.UNUSABLE not in found
    assert found.count(Usability.UNDETERMINED) <= 2


@pytest.mark.parametrize(
    ("ratios", "usability"),
    [
        ([0.0] * 80 + [-3.0] * 70, Usability.UNUSABLE),
        ([0.0] * 30 + [-8.0, 3.0] * 10, Usability.UNUSABLE),
        ([0.0, 0.0, 0.0, 5.0, -5.0], Usability.UNUSABLE),
        ([0.0, 0.0, 0.0, 0.0, 8.0], Usability.UNDETERMINED),
        ([0.0, 0.0, -65.0], Usability.UNDETERMINED),
        ([0.0] * 39 + [8.0], Usability.UNDETERMINED),
        ([0.0] * 149 + [8.0], Usability.UNUSABLE),
        ([0.0, 0.0, 0.0, 1.0, -1.5], Usability.USABLE),
    ],
    ids=str,
)
def test_a_clone_of_which_some_items_are_far_off_is_not_the_base(
    ratios: list[float], usability: Usability
) -> None:
    """However many others are not: the typical log-ratio is 0 in each of these."""
    (found,) = _weighed(ratios)

    assert found.usability is usability


@pytest.mark.parametrize(("items", "worst"), [(3, 4), (5, 4), (51, 1), (150, 1)])
def test_a_clone_is_usable_though_noise_lasts_as_long_as_a_session(items: int, worst: int) -> None:
    """In a tenth of the sessions all draws of a cell are off together, and no median removes that.

    Two of three items are off at once in 8 % of the suites, which no test can detect.
    """
    generator = np.random.default_rng(items)

    def off() -> Floats:
        away = generator.random(items) < 0.1
        return np.where(away, generator.normal(0, 1.56, items), 0.0)

    found = [_weighed((off() - off()).tolist())[0].usability for _ in range(20)]

    assert len(found) - found.count(Usability.USABLE) <= worst


@pytest.mark.parametrize(("items", "rate"), [(3, 0.08), (5, 0.05), (10, 0.02), (51, 0.004)])
def test_how_often_noise_of_a_session_is_too_far_from_0(items: int, rate: float) -> None:
    """The documentation quotes these figures; a control needs two such items to fail."""
    generator = np.random.default_rng(1)

    def off() -> Floats:
        away = generator.random((5000, items)) < 0.1
        return np.where(away, generator.normal(0, 1.56, (5000, items)), 0.0)

    ratios = off() - off()
    typical, square = np.median(np.abs(ratios), axis=1), np.sqrt(np.square(ratios).mean(axis=1))
    is_far = (typical > 0.1) | (square > max_noise(items))

    assert (is_far & ((ratios != 0).sum(axis=1) > 1)).mean() == pytest.approx(rate, abs=0.01)


def test_a_base_that_drifted_is_no_longer_its_clone() -> None:
    """The draws of this check are compared, not the recorded ones."""
    scene = recorded_scene(NoisyScorer(), _suite(BASE, CLONE, items=5))
    scene.scorer.shift = lambda one: -2.0 if one.cell.policy.name == BASE else 0.0
    (found,) = scene.check().weights

    assert found.mean_log_ratio == pytest.approx(2.0, abs=1e-3)
    assert found.failed


def test_the_looks_at_base_and_clone_are_not_cut_short() -> None:
    """The control needs as many draws of each cell; those of others end when they are decided."""
    scene = recorded_scene(NoisyScorer(), _suite(BASE, CLONE, UNHELPFUL, items=3))
    scene.check()

    assert [
        scene.scorer.asked_of(f"{name}--item-0", Purpose.FIRST_LOOK)
        for name in (BASE, CLONE, UNHELPFUL)
    ] == [5, 5, 2]


@pytest.mark.parametrize(
    ("items", "draws", "doubted"),
    [(5, 5, [UNHELPFUL]), (5, 2, [CLONE, UNHELPFUL]), (51, 5, [])],
)
def test_undeterminable_weights_are_known_before_any_draw(
    items: int, draws: int, doubted: list[str]
) -> None:
    """From the numbers of items and draws in the matrix."""
    plan = WeightPlan(base=BASE, clones=(CLONE,), must_be_usable=(UNHELPFUL, CLONE))
    suite = replace(
        _suite(BASE, CLONE, UNHELPFUL, items=items, plan=plan), tolerance=Tolerance(draws=draws)
    )

    assert [target for target, _ in expected_doubts(suite)] == doubted
    assert expected_doubts(replace(suite, weights=None)) == ()
