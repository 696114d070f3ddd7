"""Record baselines: which cells get one, which are refused, and which are removed."""

from dataclasses import replace

import pytest

from repro_gate.checks.logprobs.record import (
    Calibrated,
    Candidate,
    Refused,
    candidates,
    local_models,
    plan_recordings,
    write_baselines,
)
from repro_gate.checks.tokens.record import ChangeKind, orphans_of
from repro_gate.core.logprobs.baseline import Baseline, fit_noise
from repro_gate.core.logprobs.draw import Draw, DrawFacts, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import LogprobCell, Tolerance, WeightPlan
from repro_gate.core.tokens.golden import FactChange
from repro_gate.errors import InputInvalid
from tests.fakes.gating import LogprobScene, recorded_scene
from tests.fakes.scoring import (
    MODEL,
    NOW,
    SOURCE,
    NoisyScorer,
    baseline_of,
    encoding_of,
    gaussian,
    plan_of,
    policy_of,
    suite_of_logprobs,
)
from tests.fakes.values import model_spec_of

CELL = "base--item-0"
CONTROL = (CELL, "control", 1)
FACTS = DrawFacts(at=NOW, model=MODEL)
AWAY = MissedDraw(reason="503 from the service", remedy="try again later")


def _unrecorded(items: int = 2, **totals: tuple[float, ...]) -> LogprobScene:
    """Return a suite without baselines; `item_0=(...)` sets the draws of a cell."""
    script = {
        (f"base--{item.replace('_', '-')}", "calibration", number): Draw(
            logprobs=(total,), facts=FACTS
        )
        for item, drawn in totals.items()
        for number, total in enumerate(drawn, start=1)
    }
    suite = suite_of_logprobs(items=items, tolerance=Tolerance(calibration_draws=6))
    return LogprobScene(scorer=NoisyScorer(tokens=1, script=script), suite=suite)


def _states(scene: LogprobScene, *, again: bool = False) -> dict[str, ChangeKind]:
    found, _ = _candidates(scene, again=again)
    return {one.cell.id: one.kind for one in found}


def _candidates(
    scene: LogprobScene, *, again: bool = False
) -> tuple[list[Candidate], list[Refused]]:
    return candidates(scene.plan, scorer=scene.scorer, baselines=scene.baselines, again=again)


def test_a_baseline_is_its_calibration_draws_rounded() -> None:
    """With their provenance; to six decimals, as finer ones depend on the machine."""
    drawn = (-1.23456789, -1.0, -1.5, -1.25, -1.0, -1.75)
    scene = _unrecorded(1, item_0=drawn)
    (cell,) = scene.suite.cells
    rounded = tuple((total,) for total in (-1.234568, *drawn[1:]))

    assert scene.calibrate() == Calibrated(
        baselines=(
            Baseline(
                id=CELL,
                source=SOURCE,
                definition=cell.definition,
                encoding=encoding_of(cell, 1),
                draws=rounded,
                facts=(FACTS,) * 6,
                noise=fit_noise(rounded),
                answered_as=MODEL,
                provenance={"provider": SOURCE, "model": MODEL},
                recorded_at=NOW,
            ),
        ),
        refused=(),
    )


def test_calibration_is_drawn_once() -> None:
    """As many draws as the tolerance requires, and one control of the policy."""
    scene = _unrecorded()
    scene.calibrate()

    assert scene.scorer.asked == [
        *(
            (f"base--item-{item}", "calibration", number)
            for item in range(2)
            for number in range(1, 7)
        ),
        CONTROL,
    ]
    assert [*scene.log.noted] == scene.scorer.asked


def test_logged_draws_are_not_repeated() -> None:
    """After an interruption they come from the log."""
    first = _unrecorded(1)
    first.scorer.script = {(CELL, "calibration", 4): KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        first.calibrate()
    again = _unrecorded(1)
    again.log.kept = first.log.noted

    assert len(again.calibrate().baselines) == 1
    assert again.scorer.asked == [
        *((CELL, "calibration", number) for number in (4, 5, 6)),
        CONTROL,
    ]


def test_the_floor_comes_from_the_other_cells_of_the_policy() -> None:
    """What is usual there is not an outlier here; another policy is another service."""
    calm, wild = (-1.0,) * 6, (-1.0, -6.0, -11.0, -1.0, -6.0, -11.0)
    scene = _unrecorded(2, item_0=calm, item_1=wild)
    other = policy_of("other", model="quiet")
    scene.suite = replace(
        scene.suite,
        cells=(
            *scene.suite.cells,
            LogprobCell(policy=other, item=scene.suite.cells[0].item),
        ),
    )
    floors = {one.id: one.noise.floor for one in scene.calibrate().baselines}

    assert floors == {
        CELL: fit_noise([(-1.0,)], others=[5.0] * 6).floor,
        "base--item-1": fit_noise([(-1.0,)]).floor,
        "other--item-0": fit_noise([(-1.0,)]).floor,
    }
    assert floors[CELL] == 4 * 5.0


def test_outliers_are_refused_and_shown() -> None:
    """With all draws and which are outliers; the other cells get baselines."""
    drawn = (-42.0, -42.5, -156.5, -41.5, -42.0, -42.25)
    scene = _unrecorded(2, item_0=drawn, item_1=(-1.0,) * 6)
    made = scene.calibrate()
    (refused,) = made.refused
    noise = fit_noise([(total,) for total in drawn], others=[0.0] * 6)

    assert [one.id for one in made.baselines] == ["base--item-1"]
    assert refused == Refused(
        cell=scene.suite.cells[0],
        reason=(
            "1 of 6 calibration draws are outliers, further than "
            f"{noise.outlier_bound(20):.3g} nats from the median -42.125"
        ),
        is_finding=True,
        totals=drawn,
        outlying=(-156.5,),
    )


def test_an_invalid_answer_is_refused() -> None:
    """It is a finding, and the valid draws are shown."""
    scene = _unrecorded(1, item_0=(-1.0,))
    nan = InvalidDraw(reason="the log-probability nan", position=0)
    scene.scorer.script = {**scene.scorer.script, (CELL, "calibration", 2): nan}
    (refused,) = scene.calibrate().refused

    assert (refused.reason, refused.is_finding) == ("the log-probability nan", True)
    assert len(refused.totals) == 5


def test_a_missed_draw_is_not_a_finding() -> None:
    """The cell has no baseline, and a remedy."""
    scene = _unrecorded(1)
    scene.scorer.script = {(CELL, "calibration", 6): AWAY}
    (refused,) = scene.calibrate().refused

    assert (refused.reason, refused.is_finding) == ("503 from the service", False)
    assert refused.remedy == "try again later"
    assert len(refused.totals) == 5


def test_a_cell_without_answers_does_not_affect_the_others() -> None:
    """Their noise floor comes from the cells with answers."""
    scene = _unrecorded(2, item_1=(-1.0,) * 6)
    scene.scorer.script = {
        **scene.scorer.script,
        **{(CELL, "calibration", number): AWAY for number in range(1, 7)},
    }
    made = scene.calibrate()

    assert [(one.cell.id, one.totals) for one in made.refused] == [(CELL, ())]
    assert [one.noise for one in made.baselines] == [fit_noise([(-1.0,)] * 6)]


def test_answers_of_two_models_are_refused() -> None:
    """Draws of two models calibrate neither."""
    scene = _unrecorded(1, item_0=(-1.0,) * 6)
    other = Draw(logprobs=(-1.0,), facts=DrawFacts(model="another"))
    scene.scorer.script = {**scene.scorer.script, (CELL, "calibration", 3): other}
    (refused,) = scene.calibrate().refused

    assert refused == Refused(
        cell=scene.suite.cells[0],
        reason=f"two models answered: '{MODEL}' and 'another'",
        is_finding=True,
        totals=(-1.0,) * 6,
    )


def test_a_cell_that_cannot_be_encoded_is_not_drawn() -> None:
    """A refused prompt is a finding; an unavailable encoder is not."""
    scene = _unrecorded(3)
    scene.scorer.encodings = {
        CELL: InvalidDraw(reason="the response is empty"),
        "base--item-1": AWAY,
    }
    made = scene.calibrate()

    assert [(one.cell.id, one.reason, one.is_finding, one.remedy) for one in made.refused] == [
        (CELL, "the response is empty", True, None),
        ("base--item-1", "503 from the service", False, "try again later"),
    ]
    assert [one.id for one in made.baselines] == ["base--item-2"]
    assert scene.scorer.asked_of(CELL) == scene.scorer.asked_of("base--item-1") == 0


def test_a_policy_with_an_unknown_source_is_refused() -> None:
    """Each of its cells, with the reason; the others are candidates."""
    suite = suite_of_logprobs(policies=[policy_of("gone"), policy_of("here")], items=1)
    scene = LogprobScene(
        scorer=NoisyScorer(missing={"gone": "FIREWORKS_API_KEY is not set"}), suite=suite
    )
    found, refused = _candidates(scene)

    assert refused == [
        Refused(
            cell=suite.cells[0],
            reason="FIREWORKS_API_KEY is not set",
            is_finding=False,
            remedy="set it",
        )
    ]
    assert [one.cell for one in found] == [suite.cells[1]]


def test_a_cell_without_a_baseline_is_a_candidate() -> None:
    """And one that has a sound one is not."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    scene.baselines.remove(SOURCE, CELL)

    assert _states(scene) == {CELL: ChangeKind.NEW}


def test_with_again_every_cell_is_a_candidate() -> None:
    """For use after the provider has changed its model."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))

    assert _states(scene) == {}
    assert _states(scene, again=True) == dict.fromkeys((CELL, "base--item-1"), ChangeKind.UPDATED)


def test_a_baseline_of_another_definition_is_a_candidate() -> None:
    """With the changes in the matrix and the old baseline."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    before = scene.baselines.kept[SOURCE, CELL]
    scene.suite = suite_of_logprobs(policies=[policy_of(temperature=0.0)], items=1)

    assert _candidates(scene) == (
        [
            Candidate(
                cell=scene.suite.cells[0],
                source=SOURCE,
                kind=ChangeKind.REDEFINED,
                changes=(FactChange(name="temperature", before="0.7", after="0.0"),),
                before=before,
            )
        ],
        [],
    )


def test_a_baseline_of_too_few_draws_is_a_candidate() -> None:
    """The check would not compare with it either."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    scene.suite = replace(scene.suite, tolerance=Tolerance(calibration_draws=12))
    (found,), _ = _candidates(scene)

    assert found.kind is ChangeKind.REDEFINED
    assert found.changes == (FactChange(name="calibration_draws", before="10", after="12"),)


def test_a_broken_baseline_is_a_candidate() -> None:
    """Recording repairs it."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    scene.baselines.broken = {(SOURCE, CELL)}

    assert _states(scene) == {CELL: ChangeKind.REPAIRED}


def test_orphans_are_those_that_no_cell_of_the_matrix_claims() -> None:
    """Of the sources that are named, each once, and of the selected ids."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=3))
    scene.suite = suite_of_logprobs(items=1)
    sources = [SOURCE, SOURCE, "elsewhere"]
    every, selected, none = (
        orphans_of(scene.baselines.recorded, sources, claimed=scene.plan.claimed, only=only)
        for only in (None, "*-2", "base--item-0")
    )

    assert every == [(SOURCE, "base--item-1"), (SOURCE, "base--item-2")]
    assert (selected, none) == ([(SOURCE, "base--item-2")], [])


def test_applying_writes_and_removes() -> None:
    """What was accepted is there afterwards, and orphans are not."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=2))
    changed = baseline_of(scene.suite.cells[0], [(-1.0,)] * 10)
    write_baselines([changed], [(SOURCE, "base--item-1")], store=scene.baselines)

    assert scene.baselines.kept == {(SOURCE, CELL): changed}


def test_applying_repairs_what_was_broken() -> None:
    """A file that could not be read is replaced by one that can."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=1))
    scene.baselines.broken = {(SOURCE, CELL)}
    with pytest.raises(InputInvalid):
        scene.baselines.read(SOURCE, CELL)
    write_baselines(scene.calibrate().baselines, [], store=scene.baselines)

    assert scene.baselines.read(SOURCE, CELL).id == CELL


def test_a_noisy_service_gets_a_baseline() -> None:
    """Noise is what calibration is there to know."""
    scene = LogprobScene(scorer=NoisyScorer(noise=gaussian(3.0), seed=1))
    made = scene.calibrate()

    assert (len(made.baselines), made.refused) == (3, ())
    assert all(one.noise.deviation > 1 for one in made.baselines)
    assert {key[1] for key in scene.log.noted} == {"calibration", "control"}


def test_a_service_that_ignores_the_prompt_is_not_recorded() -> None:
    """No check of it could fail."""
    made = LogprobScene(scorer=NoisyScorer(heeds_prompt=False)).calibrate()

    assert made.baselines == ()
    assert {(one.reason, one.is_finding) for one in made.refused} == {
        ("another prompt gave the same log-probabilities, so no check of it could fail", True)
    }
    assert len(made.refused) == 3


def test_a_service_without_a_control_is_not_recorded() -> None:
    """Nor is any other policy of the suite: its parts would be of different times."""
    suite = suite_of_logprobs(policies=[policy_of("gone"), policy_of("here")], items=1)
    script = {("gone--item-0", "control", 1): AWAY}
    made = LogprobScene(scorer=NoisyScorer(script=script), suite=suite).calibrate()

    assert made.baselines == ()
    assert {one.cell.id: one.reason for one in made.refused} == {
        "gone--item-0": "its control could not be measured, so nothing shows that its "
        f"log-probabilities depend on the prompt: {AWAY.reason}",
        "here--item-0": "not recorded, because gone could not be",
    }
    assert not any(one.is_finding for one in made.refused)
    assert all(len(one.totals) == 10 for one in made.refused)


@pytest.mark.parametrize("items", [1, 5])
def test_a_clone_that_is_another_model_is_not_recorded(items: int) -> None:
    """The A/A control of a check, with the calibration draws; and one item is enough to see it."""
    policies = [policy_of("base"), policy_of("clone", model="another")]
    weights = WeightPlan(base="base", clones=("clone",))
    suite = suite_of_logprobs(policies=policies, items=items, weights=weights)
    made = LogprobScene(scorer=NoisyScorer(), suite=suite).calibrate()
    reasons = {one.cell.policy.name: (one.reason, one.is_finding) for one in made.refused}

    assert made.baselines == ()
    assert reasons["clone"][0].startswith("weights of clone: the A/A control is not centred on 0")
    assert reasons["clone"][1]
    assert reasons["base"] == ("not recorded, because clone could not be", False)


def test_what_no_check_could_determine_is_known_when_recording() -> None:
    """The baselines are sound, and the weights that the matrix asks for have too few items."""
    policies = [policy_of("base"), policy_of("clone", system="the same")]
    weights = WeightPlan(base="base", must_be_usable=("clone",))
    suite = suite_of_logprobs(policies=policies, items=3, weights=weights)
    scorer = NoisyScorer(tokens=2)
    scorer.script = {
        (cell.id, "calibration", number): Draw(logprobs=(-1.0, -2.0), facts=FACTS)
        for cell in suite.cells
        for number in range(1, 11)
    }
    made = LogprobScene(scorer=scorer, suite=suite).calibrate()

    assert len(made.baselines) == 6
    assert made.doubts == ("weights of clone: 3 items are too few, at least 51 are needed",)


def test_a_cell_of_two_suites_is_planned_once() -> None:
    """It belongs to the suite with the most draws; a cell with a baseline is unchanged."""
    scene = recorded_scene(NoisyScorer(), suite_of_logprobs(items=3))
    scene.baselines.remove(SOURCE, CELL)
    scene.baselines.remove(SOURCE, "base--item-1")
    few, many = (
        plan_of(suite_of_logprobs(items=items, tolerance=Tolerance(calibration_draws=draws)))
        for items, draws in ((3, 6), (1, 9))
    )

    planned = plan_recordings(
        [(few, scene.scorer), (many, scene.scorer)], baselines=scene.baselines, again=False
    )

    assert [[one.cell.id for one in each.wanted] for each in planned] == [["base--item-1"], [CELL]]
    assert [(each.draws, each.unchanged) for each in planned] == [(6, 1), (9, 0)]


def test_a_recording_keeps_the_result_of_its_calibration() -> None:
    """Baselines and refusals are those of `calibrate`, and the progress knows the total."""
    scene = _unrecorded(2)
    scene.scorer.script = {("base--item-1", "calibration", 1): AWAY}
    (one,) = plan_recordings([(scene.plan, scene.scorer)], baselines=scene.baselines, again=False)

    one.run(scene.collector, now=lambda: NOW)

    assert [baseline.id for baseline in one.baselines] == [CELL]
    assert [(refused.cell.id, refused.reason) for refused in one.refused] == [
        ("base--item-1", AWAY.reason)
    ]
    assert local_models([one]) == {}


def test_local_models_are_those_with_a_new_baseline() -> None:
    """Their facts come from the baseline; hosted policies have no model file."""
    scene = _unrecorded(1)
    (one,) = plan_recordings([(scene.plan, scene.scorer)], baselines=scene.baselines, again=False)
    one.run(scene.collector, now=lambda: NOW)
    local = replace(one.wanted[0].cell.policy, local_model=model_spec_of("tiny"))
    one.wanted = [replace(each, cell=replace(each.cell, policy=local)) for each in one.wanted]

    assert local_models([one]) == {"tiny": one.baselines[0].provenance}
