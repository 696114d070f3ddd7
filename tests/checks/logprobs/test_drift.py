"""A service that has changed: significant shifts are findings, and small ones are notes."""

from dataclasses import replace

import pytest

from repro_gate.core.logprobs.error_rates import EXACT_REPEATS_WEIGHT, smallest_p
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.logprobs.report import LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Effect,
    Equivalence,
    Evidence,
    Shifted,
)
from repro_gate.core.tokens.golden import FactChange
from repro_gate.ports import DrawRequest, Purpose
from repro_gate.statistics.permutation import Floats
from tests.fakes.gating import LogprobScene, logprob_verdicts_of, recorded_scene
from tests.fakes.scoring import (
    SOURCE,
    Mixture,
    Noise,
    NoisyScorer,
    Shift,
    everywhere,
    exact,
    gaussian,
    moved,
    suite_of_logprobs,
    tokens_moved,
    truth_of,
)

MOVED = "base--item-1"
IDENTICAL = Agrees(equivalence=Equivalence.IDENTICAL)
LEAST = smallest_p(10, 10) / EXACT_REPEATS_WEIGHT
"""Of ten draws that are all new against ten, with the share that exact repeats have."""


def _scene(shift: Shift, *, noise: Noise = exact, items: int = 3, seed: int = 1) -> LogprobScene:
    """Return a scene whose service has changed since the baselines were recorded."""
    scene = recorded_scene(NoisyScorer(noise=noise, seed=seed), suite_of_logprobs(items=items))
    scene.scorer.shift = shift
    return scene


def _shifted(report: LogprobReport) -> dict[str, Effect]:
    """Return the effects of the cells that drifted."""
    verdicts = logprob_verdicts_of(report).items()
    return {name: found.effect for name, found in verdicts if isinstance(found, Shifted)}


def test_an_exact_service_that_shifted_has_drifted() -> None:
    """Every digit differs; the other cells are unchanged."""
    scene = _scene(moved({MOVED: -0.3}))
    report = scene.check()
    effect = _shifted(report)[MOVED]

    assert {**logprob_verdicts_of(report), MOVED: None} == {
        "base--item-0": IDENTICAL,
        MOVED: None,
        "base--item-2": IDENTICAL,
    }
    assert (effect.evidence, effect.band) == (Evidence.EXACT_REPEATS, 0.1)
    assert effect.shift == pytest.approx(-0.3, abs=1e-4)
    assert effect.p_value == pytest.approx(3 * LEAST)
    assert [token.shift for token in effect.tokens] == pytest.approx([-0.3 / 40] * 5, abs=1e-5)
    assert len(report.cells[1].totals) == 10
    assert report.suite_test.verdict is not SuiteVerdict.DRIFT


def test_a_noisy_cell_that_shifted_shows_in_its_sum() -> None:
    """Far beyond the noise, spread over all of its tokens."""
    report = _scene(moved({MOVED: -3.0}), noise=gaussian(0.3)).check()
    effect = _shifted(report)[MOVED]

    assert effect.evidence is Evidence.SUM
    assert effect.shift == pytest.approx(-3, abs=0.5)
    assert report.cells[1].band == effect.band
    assert 0.1 < effect.band < 1.5


def test_opposite_shifts_of_tokens_are_found() -> None:
    """The sum is unchanged; the tokens are listed by the size of their shift."""
    away = tokens_moved({7: -1.5, 20: 1.0, 33: 0.5})
    effect = _shifted(_scene(moved({MOVED: away}), noise=gaussian(0.3)).check())[MOVED]

    assert effect.evidence is Evidence.TOKENS
    assert abs(effect.shift) < effect.band
    assert [token.position for token in effect.tokens[:3]] == [7, 20, 33]
    assert effect.tokens[0].shift == pytest.approx(-1.5, abs=0.2)
    assert str(effect.tokens[0].piece) == '7 " item-1"'


def test_drift_comes_with_the_changed_facts() -> None:
    """The recorded provenance against the present one: the first suspects."""
    scene = _scene(moved({MOVED: -0.3}))
    scene.scorer.now = {"revision": "2"}
    verdict = logprob_verdicts_of(scene.check())[MOVED]

    assert isinstance(verdict, Shifted)
    assert verdict.provenance == (FactChange(name="revision", before=None, after="2"),)


def test_a_change_below_the_floor_is_a_note() -> None:
    """A hundredth of a nat on every item is significant, but not drift."""
    report = _scene(everywhere(-0.01), items=6).check()

    assert report.suite_test.verdict is SuiteVerdict.CHANGED
    assert report.suite_test.typical_shift == pytest.approx(0.01, abs=1e-4)
    assert report.suite_test.second_look
    for verdict in logprob_verdicts_of(report).values():
        assert isinstance(verdict, Agrees)
        assert verdict.equivalence is Equivalence.EQUIVALENT
        assert verdict.changed is not None
        assert verdict.changed.evidence is Evidence.EXACT_REPEATS
        assert verdict.changed.shift == pytest.approx(-0.01, abs=1e-4)


def test_the_floor_is_set_in_the_matrix() -> None:
    """A suite may be as strict as a hundredth of a nat."""
    suite = suite_of_logprobs(items=2, tolerance=Tolerance(floor_nats=0.005))
    scene = recorded_scene(NoisyScorer(), suite)
    scene.scorer.shift = everywhere(-0.01)

    assert len(_shifted(scene.check())) == 2


def test_a_small_shift_of_every_item_is_drift_of_the_suite() -> None:
    """The noise hides it in each single cell."""
    report = _scene(everywhere(-0.3), noise=gaussian(0.4), items=40).check()

    assert _shifted(report) == {}
    assert report.suite_test.verdict is SuiteVerdict.DRIFT
    assert report.suite_test.cells == 40
    assert report.suite_test.mean_shift == pytest.approx(-0.3, abs=0.15)
    assert report.suite_test.second_look


def test_a_suspicious_suite_has_a_second_look_at_every_cell() -> None:
    """With new draws."""
    scene = _scene(everywhere(-0.01), items=6)
    scene.check()

    for cell in scene.suite.cells:
        assert scene.scorer.asked_of(cell.id, Purpose.SECOND_LOOK) == 5


def test_only_suspicious_cells_have_a_second_look() -> None:
    """One cell has shifted and the suite has not."""
    tolerance = Tolerance(calibration_draws=6, draws=4, false_alarm_rate=0.05)
    suite = suite_of_logprobs(items=24, tolerance=tolerance)
    scene = recorded_scene(NoisyScorer(noise=gaussian(0.3), seed=1), suite)
    scene.scorer.shift = moved({MOVED: -3.0})
    report = scene.check()
    looked = {name for name, purpose, _ in scene.scorer.asked if purpose == Purpose.SECOND_LOOK}

    assert (looked, report.suite_test.second_look) == ({MOVED}, False)
    assert list(_shifted(report)) == [MOVED]


def _moved_in_first_look(request: DrawRequest) -> Floats | float:
    return -0.3 if (request.cell.id, request.purpose) == (MOVED, Purpose.FIRST_LOOK) else 0.0


def test_a_suspicion_that_does_not_persist_agrees() -> None:
    """The second look is clean; an exact repeat is not claimed."""
    report = _scene(_moved_in_first_look).check()

    assert logprob_verdicts_of(report)[MOVED] == Agrees(equivalence=Equivalence.NOT_SHOWN)
    assert len(report.cells[1].totals) == 10
    assert report.cells[1].band == 0.1


def test_a_suspicion_about_the_suite_that_does_not_persist_agrees() -> None:
    """The last look decides."""

    def in_first_look(request: DrawRequest) -> Floats | float:
        return -0.3 if request.purpose is Purpose.FIRST_LOOK else 0.0

    report = _scene(in_first_look, items=6).check()

    assert _shifted(report) == {}
    assert report.suite_test.verdict is SuiteVerdict.AGREES
    assert (report.suite_test.second_look, report.suite_test.p_value) == (True, 1.0)


def test_draws_saved_in_the_first_look_stay_saved() -> None:
    """The draws of a second look are counted separately."""

    def first_two(request: DrawRequest) -> Floats | float:
        looked = request.purpose is Purpose.FIRST_LOOK
        return -0.3 if looked and request.cell.item.name != "item-0" else 0.0

    report = _scene(first_two, items=6).check()

    assert report.suite_test.second_look
    assert [len(cell.totals) for cell in report.cells] == [7, 10, 10, 10, 10, 10]
    assert report.spending.saved == 3


def test_p_values_are_corrected_for_the_number_of_cells() -> None:
    """Also when the other cells agree."""
    few, many = (
        _shifted(_scene(moved({MOVED: -0.3}), items=items).check())[MOVED] for items in (3, 12)
    )

    assert few.p_value == pytest.approx(3 * LEAST)
    assert many.p_value == pytest.approx(12 * LEAST)


def test_a_cell_that_is_not_significant_agrees() -> None:
    """At a stricter rate the same draws are not enough."""
    suite = suite_of_logprobs(items=3, tolerance=Tolerance(false_alarm_rate=1e-4))
    scene = recorded_scene(NoisyScorer(), suite)
    scene.scorer.shift = moved({MOVED: -0.3})

    assert logprob_verdicts_of(scene.check())[MOVED] == Agrees(equivalence=Equivalence.NOT_SHOWN)


def test_opposite_shifts_of_tokens_are_drift_of_an_exact_service() -> None:
    """The sum is unchanged, except for rounding."""
    away = tokens_moved({place: (-1.0) ** place for place in range(0, 40, 3)})
    effect = _shifted(_scene(moved({MOVED: away}), noise=Mixture()).check())[MOVED]

    assert effect.evidence in {Evidence.EXACT_REPEATS, Evidence.TOKENS}
    assert abs(effect.shift) < 1e-4
    assert {abs(round(token.shift, 3)) for token in effect.tokens} == {1.0}


def test_a_swapped_model_is_drift_of_every_cell_and_of_the_suite() -> None:
    """None of its values are as before."""
    scene = _scene(everywhere(0.0))
    scene.scorer.shift = lambda one: truth_of(replace_model(one)) - truth_of(one)
    report = scene.check()

    assert len(_shifted(report)) == 3
    assert report.cells[0].source == SOURCE


def replace_model(request: DrawRequest) -> DrawRequest:
    """Return the same request to another model."""
    policy = replace(request.cell.policy, model="another")
    return replace(request, cell=replace(request.cell, policy=policy))


@pytest.mark.parametrize("noise", [gaussian(0.3), Mixture(share=0.5)])
def test_one_cell_that_shifted_far_is_not_drift_of_the_suite(noise: Mixture) -> None:
    """The others are judged without it, though noise alone exceeds the floor."""
    report = _scene(moved({MOVED: -114.0}), noise=noise, items=4).check()

    assert list(_shifted(report)) == [MOVED]
    assert report.suite_test.verdict is SuiteVerdict.AGREES
    assert (report.suite_test.cells, report.suite_test.left_out) == (3, 1)
    assert abs(report.suite_test.mean_shift) < 1


def test_drift_of_the_suite_does_not_rest_on_the_drifted_cells() -> None:
    """The others have shifted too, though none shows it by itself."""
    report = _scene(
        lambda one: -114.0 if one.cell.id == MOVED else -0.35, noise=gaussian(0.25), items=30
    ).check()

    assert MOVED in _shifted(report)
    assert report.suite_test.verdict is SuiteVerdict.DRIFT
    assert report.suite_test.left_out == len(_shifted(report))
    assert report.suite_test.cells == 30 - report.suite_test.left_out


def test_the_deciding_token_is_in_the_effect() -> None:
    """Not the sum, which is within its band."""
    away = tokens_moved({7: -0.3467, 20: 0.33})
    effect = _shifted(_scene(moved({MOVED: away}), noise=Mixture()).check())[MOVED]

    assert abs(effect.shift) < effect.band
    assert effect.deciding.token is not None
    assert effect.deciding.token.position == 7
    assert abs(effect.deciding.shift) > effect.deciding.band
