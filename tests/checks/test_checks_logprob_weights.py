"""Importance weights between policies, and the control that they are 1 where they should be."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from repro_gate.checks.comparison import Comparison
from repro_gate.checks.weighing import weigh
from repro_gate.core.draws import Draw, MissedDraw
from repro_gate.core.policies import LogprobSuite, WeightPlan
from repro_gate.ports import DrawRequest
from tests.fakes.gating import LogprobScene, recorded_scene
from tests.fakes.scoring import (
    SOURCE,
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
    """Nobody asked for them."""
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
    """The policies are not the same, whatever the matrix says."""
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


def _seen(suite: LogprobSuite, draws: Mapping[str, Sequence[float]]) -> dict[str, Comparison]:
    """Return what is known of cells whose first ten draws are their calibration."""
    return {
        cell.id: Comparison(
            cell=cell,
            source=SOURCE,
            center=-42.0,
            calibration_totals=tuple(draws[cell.id][:10]),
            totals=list(draws[cell.id][10:]),
        )
        for cell in suite.cells
    }


def test_the_control_takes_as_many_draws_of_every_cell() -> None:
    """More draws of some, because of what they were, would make it say more than it knows."""
    suite = _suite(BASE, CLONE, items=4)
    generator = np.random.default_rng(3)
    drawn = {cell.id: generator.normal(-42, 1, 15).tolist() for cell in suite.cells}
    few, many = (
        weigh(suite, _seen(suite, {name: draws[:last] for name, draws in drawn.items()}))
        for last in (12, 15)
    )

    assert few[0].mean_log_ratio != many[0].mean_log_ratio
    assert few[0].control_p == many[0].control_p


def test_weights_of_another_model_are_told_as_useless() -> None:
    """For information, when nobody needs them."""
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


def test_items_that_could_not_be_measured_are_left_out() -> None:
    """Their cells say so; of the rest the weights are told."""
    scene = recorded_scene(NoisyScorer(), _suite(BASE, CLONE))
    away = MissedDraw(reason="503 from the service")
    scene.scorer.script = {
        ("base--item-0", "first_look", 1): away,
        ("clone--item-1", "first_look", 1): away,
    }
    (found,) = scene.check().weights

    assert found.items == 6
    assert not found.failed


def test_no_weights_are_no_bad_weights() -> None:
    """Where nothing could be measured there is nothing to be told."""
    scene = recorded_scene(NoisyScorer(), _suite(BASE, CLONE))
    scene.scorer.missing = {CLONE: "CLONE_API_KEY is not set"}

    assert scene.check().weights == ()


def test_each_of_several_clones_has_its_share_of_the_error_rate() -> None:
    """Two controls may alarm by chance no more often than one."""
    found = []
    for clones in ((CLONE,), (CLONE, "twin")):
        plan = WeightPlan(base=BASE, clones=clones)
        suite = _suite(BASE, *clones, items=1, plan=plan)
        # As far apart as hardly ever by chance: enough for one control, and not for one of two.
        shifts = {cell.id: 0.0 if cell.policy.name == BASE else -0.62 for cell in suite.cells}
        draws = {
            name: [-42 + 0.1 * step + away for step in range(12)] for name, away in shifts.items()
        }
        found.append(weigh(suite, _seen(suite, draws)))

    p_values = {one.control_p for reports in found for one in reports}
    assert len(p_values) == 1
    assert 0.0005 < min(p for p in p_values if p is not None) < 0.001
    assert [[one.failed for one in reports] for reports in found] == [[True], [False, False]]
